package credential

import "time"

// What a Cache does is decided here, and nowhere else, by functions that do no
// I/O, take no lock and look at no clock.
//
// A Cache holds one value. Two things are known about it. Its age:
//
//	fresh   used as it is
//	due     past its soft limit: used, while one read is under way
//	old     past its hard limit: used only to bridge an outage
//	gone    past its stale limit, or expired: never used
//
// And whether it is rejected: a service has refused it, and has accepted no
// later send of it. While it is, a recovery is open, which reads the source
// again. There are three kinds:
//
//	steady    the value was accepted before. It was revoked, or the refusal has
//	          nothing to do with it. The source is polled until the grace is over.
//	cold      no service has ever accepted anything of this Cache. The process
//	          may have started in the middle of a rotation. The source is polled
//	          for a short grace, and then the value is offered for one more send.
//	newcomer  the value has just replaced another one. It may not be valid
//	          everywhere yet. It is offered for another send three times.
//
// A recovery ends when a read brings another value or when the service accepts
// a later send. When its grace is over it is spent: from then on the source is
// read once per cool-down. An acceptance shows that the rejection was a false
// alarm. The reads of false alarms are a debt that is paid back slowly, and
// while there is debt a call first waits for an acceptance before it reads.
//
// Values may also be refused one after the other: by a service that refuses
// all, when the source mints a new token at each read. Only the first two in a
// row have a grace of their own; the next ones share the cool-down.
//
// A call of Retrieve or Replace has a verdict: it wants a value, or its send was
// refused, for example. Decide is given the state and the verdict and returns
// what the call does. What becomes of a recovery is up to its methods: refused,
// began, concluded, replaced, accepted.

// An age is how old the value in use is. The order matters.
type age uint8

const (
	fresh age = iota
	due
	old
	gone
	absent // there is no value
)

func (e *entry) age(now int64) age {
	switch {
	case e == nil:
		return absent
	case e.fresh(now):
		return fresh
	case now >= e.floor && now < e.hard:
		return due
	case now < e.stale:
		return old
	}
	return gone
}

// A state is what a decision depends on.
type state struct {
	age      age
	rejected bool
	reading  bool     // an ordinary read is under way
	forced   bool     // a read that began after the rejection is under way
	failing  coolDown // of ordinary reads
	outage   bool     // the last ordinary read failed for a passing reason
	recovery recovery
	tick     int64 // the time that the recovery goes by

	then          recovery // as it was when the call was refused
	known         bool     // the value had been accepted before the call was refused
	again         bool     // the call was refused before, and others were accepted since
	untried       bool     // the call was refused with the value before this one
	grace, inline time.Duration
}

// A verdict is what a call has to tell.
type verdict uint8

const (
	wanted     verdict = iota // it wants the value
	unanswered                // the read has not ended in the time that the call had for it
	unread                    // the read has failed for a passing reason
	unreadable                // the read has failed, and reading again cannot help
	refused                   // its send was refused
	refuted                   // its send was refused, and a later one with the same value was accepted
)

// An action is what a call does.
type action struct {
	do   do
	read reading       // what to start first
	wait time.Duration // how long to wait at most; 0 is until the end
}

type do uint8

const (
	serve       do = iota // return the value in use
	bridge                // return it although it is old
	again                 // return it: it works on other calls
	fail                  // return the error of the last read
	stand                 // give up: the refusal stands
	awaitRead             // wait for the ordinary read
	awaitChange           // wait for a forced read, an acceptance, another value
)

type reading uint8

const (
	none reading = iota
	ordinary
	forced
)

// decide returns what a call does.
func decide(s *state, v verdict, now int64) action {
	switch v {
	case refused:
		return s.replace()
	case refuted:
		if s.known {
			return action{do: again}
		}
		return action{do: serve}
	}
	live := s.rejected && !s.recovery.spent
	switch {
	case s.rejected && s.age <= due, live && s.age == old:
		return action{do: serve} // the recovery is at work, and the next send decides
	case live && s.age == gone:
		return s.replace()
	case v == wanted:
		return s.want(now)
	case s.age <= due:
		return action{do: serve}
	case s.age == old && v != unreadable:
		return action{do: bridge}
	case v == unanswered:
		return action{do: awaitRead}
	}
	return action{do: fail}
}

// want decides for a call that wants a value which is not rejected, or which
// nothing more is tried about.
func (s *state) want(now int64) action {
	start := none
	if !s.reading && !s.failing.cooling(now) {
		start = ordinary
	}
	switch {
	case s.age == fresh:
		return action{do: serve}
	case s.age == due && start == ordinary && s.inline > 0:
		return action{do: awaitRead, read: start, wait: s.inline}
	case s.age == due:
		return action{do: serve, read: start}
	case s.age == old && s.outage && start == none:
		return action{do: bridge} // one call waits for the end of the outage
	case start == none && !s.reading:
		return action{do: fail}
	case s.age == old:
		return action{do: awaitRead, read: start, wait: staleWait}
	}
	return action{do: awaitRead, read: start}
}

// replace decides for a call whose send was refused.
func (s *state) replace() action {
	r, now := &s.recovery, s.tick
	next := r.next(s.grace)
	switch {
	case s.again:
		return action{do: stand}
	case r.offers > s.then.offers && s.age <= old, s.untried && !s.forced && !r.spent && s.age <= old:
		return action{do: serve}
	case r.ended > s.then.ended, r.spent && r.cool.cooling(now) && !s.forced:
		return action{do: stand}
	case s.forced:
		return action{do: awaitChange}
	case r.spent:
		return action{do: awaitChange, read: forced}
	case next > now:
		return action{do: awaitChange, wait: time.Duration(next - now)}
	case r.reads == 0 && r.kind == steady && r.patience == 0 && r.debt > later(now, credit):
		return action{do: stand} // it cannot change, and was read often enough
	}
	return action{do: awaitChange, read: forced}
}

const (
	// coldGrace bounds the grace of a value that no service ever accepted. With
	// the last read a call waits 2 seconds.
	coldGrace = 1900 * time.Millisecond
	// firstPoll doubles to maxPoll: how often the source is read in the grace.
	firstPoll = 50 * time.Millisecond
	maxPoll   = time.Second
	// A newcomer is offered again after firstTrial, after secondTrial, and at
	// the end of the grace. A call has four sends, of which the rotation takes
	// two, so the second trial has to reach far.
	firstTrial  = 400 * time.Millisecond
	secondTrial = 2400 * time.Millisecond
	// patience is how long a call waits for an acceptance before it reads, if
	// there is debt. If there is more debt than credit, it waits for the whole
	// grace.
	patience = time.Second
	// payback is how long the read of a false alarm is a debt. A cool-down is as
	// long at most, so that false alarms cost no more reads than a wrong key.
	payback = maxCoolDown + maxCoolDown/5
	credit  = 10 * payback
	// forgotten is how long after a forced read the next refusal has nothing to
	// do with it. Not every program tells a Cache what was accepted.
	forgotten = 5 * time.Minute
)

type kind uint8

const (
	steady kind = iota
	cold
	newcomer
)

// A recovery is what was tried about a rejected value. It is a value: its
// methods return what it becomes. Its times are those of Cache.tick.
type recovery struct {
	kind   kind
	since  int64 // when the grace began
	row    int   // how many credentials were refused in a row, none of them accepted
	reads  int   // forced reads in the grace
	polled int64 // when the latest forced read began
	offers int   // how often the refused value was offered for another send
	spent  bool  // the grace is over
	ended  int   // how often a read has ended a grace or a cool-down in vain
	told   bool  // the event of the rejection has gone out
	cool   coolDown
	debt   int64 // when all reads of false alarms are paid back
	before int64 // debt when the recovery began
	// patience is how long the first read waits for an acceptance.
	patience time.Duration
}

// refused is r after the service has refused a value that was not rejected. A
// value that cannot change is never worth a wait.
func (r recovery) refused(now int64, k kind, fixed bool, grace time.Duration) recovery {
	if now > later(r.polled, forgotten) {
		r = r.accepted() // not in a row with what was refused long ago
	}
	r.row++
	if r.row > 2 { // the value itself was one more trial
		r.kind, r.told = k, false
		r.offers++
		if r.spent || now >= r.end(grace) {
			r.spent = true
			r.cool.extend(now, 0)
		}
		return r
	}
	n := recovery{kind: k, since: now, row: r.row, debt: r.debt, before: r.debt, ended: r.ended}
	switch {
	case k != steady || fixed || r.debt <= now:
	case r.debt > later(now, credit):
		n.patience = grace
	default:
		n.patience = patience
	}
	return n
}

// accepted is r after the service has accepted the value in use.
func (r recovery) accepted() recovery { return recovery{debt: r.debt, before: r.debt, ended: r.ended} }

// replaced is r after a forced read has brought another value. What was read
// for it was no false alarm.
func (r recovery) replaced() recovery {
	r.debt = r.before
	return r
}

// mistaken is r after the service has accepted a value that another one has
// replaced: the read that brought that one was a false alarm.
func (r recovery) mistaken(now int64) recovery {
	r = r.owes(now)
	r.before = r.debt
	return r
}

// owes is r with the debt of one more read. There is a bound to it, so that a
// time of false alarms is forgotten soon after it is over.
func (r recovery) owes(now int64) recovery {
	r.debt = min(later(max(r.debt, now), payback), later(now, credit+payback))
	return r
}

// began is r after a forced read has begun.
func (r recovery) began(now int64) recovery {
	r.polled, r.told = now, true
	if !r.spent {
		r.reads++
		return r.owes(now)
	}
	return r
}

// concluded is r after a forced read has brought no other value. It is
// hopeless if reading again cannot help. A value that is not offerable is gone
// or cannot change.
func (r recovery) concluded(now int64, grace time.Duration, hopeless, offerable bool, least time.Duration) recovery {
	end := r.end(grace)
	last := hopeless || r.polled >= end || now >= later(end, grace)
	if !r.spent && offerable && (r.kind == newcomer || r.kind == cold && last) {
		r.offers++
	}
	if r.spent || last {
		r.spent = true
		r.ended++
		r.cool.extend(now, least)
	}
	return r
}

// end is when the grace is over.
func (r recovery) end(grace time.Duration) int64 {
	return later(r.since, r.length(grace))
}

func (r recovery) length(grace time.Duration) time.Duration {
	if r.kind == cold {
		return min(grace, coldGrace)
	}
	return grace
}

// next is when the next forced read is due. The last one is at the end of the
// grace, so that a store that is back a moment before is not missed.
func (r recovery) next(grace time.Duration) int64 {
	end, at := r.end(grace), int64(0)
	switch {
	case r.kind == newcomer && r.offers == 0:
		at = later(r.since, firstTrial)
	case r.kind == newcomer && r.offers == 1:
		at = later(r.since, secondTrial)
	case r.kind == newcomer:
		at = end
	case r.reads > 0:
		wait := min(firstPoll<<min(r.reads-1, 5), maxPoll)
		at = later(r.polled, time.Duration(float64(wait)*stretch(r.length(grace))))
	default:
		at = later(r.since, r.patience)
	}
	return min(at, end)
}

// stretch is the factor that makes polls end with the grace.
func stretch(grace time.Duration) float64 {
	var last time.Duration
	for wait := firstPoll; last+wait <= grace && last < time.Minute; wait = min(2*wait, maxPoll) {
		last += wait
	}
	if last == 0 || last >= time.Minute {
		return 1
	}
	return float64(grace)/float64(last) + 1e-6
}
