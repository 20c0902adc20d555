package credential

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"
)

const (
	// coldGrace bounds the grace of a value that no service ever accepted.
	coldGrace = 2 * time.Second
	// firstPoll doubles to maxPoll: how often a store is read in the grace.
	firstPoll = 50 * time.Millisecond
	maxPoll   = time.Second
	// A new value that was refused is tried again after the first trial, after
	// the second, and at the end of the grace. A call has four sends, of which a
	// rotation takes two, so that the second has to reach far.
	firstTrial  = 400 * time.Millisecond
	secondTrial = 2 * time.Second
)

// Replace tells that a service rejected r.Value, and returns what to send
// instead. It compares first: if another value is current by now, that one is
// returned and nothing is read. Otherwise one read serves all callers; it never
// joins a read that began before the rejection. If the store still has the
// rejected value, the standby is next (see [Standby]), and then the store is
// read again until the grace is over.
//
// The result may be the rejected value itself, when no service has ever
// accepted it and it may have been refused for being too new; the caller may
// send it once more.
//
// The error wraps [ErrRejected] if there is nothing else to send; during the
// cool-down that follows (1 s doubling to 60 s) it comes at once and without
// I/O. A caller with a deadline gets it early, by max(100 ms, 10 %) of the time
// left, so that it can still use the service's own answer. A ctx that is done
// is returned as its cause.
func (c *Cache) Replace(ctx context.Context, r Rejection) (Value, error) {
	if r.Value.Secret.IsZero() {
		return Value{}, errNoValue
	}
	if ctx.Err() != nil {
		return Value{}, context.Cause(ctx)
	}
	if c.src == nil {
		return Value{}, errZeroCache
	}
	id := c.id(r.Value)
	now := c.set.time().UnixNano()
	c.mu.Lock()
	cur := c.cur.Load()
	if cur != nil && !cur.rejected && (cur.id != id || r.stale()) {
		c.mu.Unlock()
		return c.Retrieve(ctx)
	}
	first := cur != nil && !cur.rejected
	if first {
		cur = cur.buried()
		c.cur.Store(cur)
	}
	if cur != nil {
		id = cur.id // a late rejection of an older value waits for the same cure
	}
	grave := c.graves.mark(id, now, cur != nil && cur.accepted.Load())
	f, mine := c.recovery, false
	if f.over(now) || f.grave != grave {
		f = nil
		// A value that was accepted again and is refused now may be rotated,
		// whatever its cool-down says: the call waits for its end.
		if rest := grave.rest(now); rest == 0 || first && rest <= c.set.grace {
			f, mine = c.startRecovery(ctx, now, grave, cur, r, first), true
		}
	}
	c.mu.Unlock()
	if first && !mine {
		c.emit("rejected", cur, nil)
	}
	if f == nil {
		return Value{}, c.rejected(nil)
	}
	early, cancel := leaveEarly(ctx, forever)
	defer cancel()
	v, err := f.wait(early)
	if err != nil && ctx.Err() == nil && early.Err() != nil && !errors.Is(err, ErrRejected) {
		return Value{}, c.rejected(errors.New("the deadline is too near to wait for a new one"))
	}
	return v, err
}

// stale reports that the value was sent before it was last accepted again.
func (r *Rejection) stale() bool { return r.Value.ref != nil && r.Value.ref().rejected }

func (c *Cache) rejected(err error) error {
	if err == nil {
		return fmt.Errorf("%w: %s has no other value; publish a valid one", ErrRejected, sourceName(c.src()))
	}
	text := fmt.Sprintf("%v: %s gave no other value: %s", ErrRejected, sourceName(c.src()), bare(err))
	return &joined{text, []error{ErrRejected, err}}
}

// A recovery looks for a value to send in place of a rejected one.
type recovery struct {
	c     *Cache
	f     *flight
	grave *tombstone
	cur   *entry // the rejected entry; nil if the value came from elsewhere
	r     Rejection
	first bool  // it is the first rejection of cur
	end   int64 // of the grace, by the wall clock
	// left is the grace on the monotonic clock: without it a wall clock that
	// is set back would prolong the recovery.
	left  time.Duration
	began time.Time
	delay time.Duration // the rest of a cool-down, before the first read
	trial bool          // the rejected value may be offered again
	fresh bool          // another value was accepted before: it may just be too new
}

// startRecovery starts a forced read. c.mu is held.
func (c *Cache) startRecovery(ctx context.Context, now int64, grave *tombstone, cur *entry, r Rejection, first bool) *flight {
	rec := &recovery{c: c, grave: grave, cur: cur, r: r, first: first, end: now, delay: grave.rest(now)}
	if !grave.spent {
		rec.trial = !grave.was && cur != nil
		rec.fresh = rec.trial && c.trusted
		grace := c.set.grace
		if !grave.was && !rec.fresh {
			grace = min(grace, coldGrace)
		}
		rec.end = grave.at + int64(grace)
		rec.left = min(grace, max(0, time.Duration(rec.end-now)))
	}
	bound := c.set.grace + c.set.timeout*time.Duration(leaves(c.src())+1) + time.Second
	c.recovery.nudge()
	c.recovery = c.launch(ctx, now, bound, func(ctx context.Context, f *flight) (Value, error) {
		rec.f, rec.began = f, time.Now()
		if rec.first {
			c.emit("rejected", rec.cur, nil)
		}
		return rec.run(ctx)
	})
	c.recovery.grave = grave
	return c.recovery
}

func (rec *recovery) run(ctx context.Context) (Value, error) {
	rec.pause(rec.delay)
	wait, last := rec.nextPoll(), false
	if rec.fresh {
		wait, last = rec.trialWait()
	}
	rec.pause(wait)
	for {
		if next := rec.successor(); next != nil {
			return next.wait(ctx)
		}
		if v, ok := rec.cured(); ok {
			return v, nil
		}
		e, number, err := rec.read(ctx)
		if e != nil {
			return rec.c.publish(number, e), nil
		}
		if v, ok := rec.cured(); ok {
			return v, nil
		}
		wait, hopeless := rec.nextPoll(), err != nil && permanent(err)
		over := hopeless || wait > rec.rest()
		switch {
		case rec.fresh:
			return rec.offer(last || hopeless)
		case rec.trial && over:
			return rec.offer(true)
		case over:
			return rec.giveUp(err)
		}
		rec.pause(wait)
	}
}

func (rec *recovery) nextPoll() time.Duration {
	now := rec.now()
	rec.c.mu.Lock()
	defer rec.c.mu.Unlock()
	return rec.grave.nextPoll(now)
}

// trialWait is how long to wait before the value is tried again, and whether
// that is the last time.
func (rec *recovery) trialWait() (wait time.Duration, last bool) {
	rec.c.mu.Lock()
	trials := rec.grave.trials
	rec.c.mu.Unlock()
	rest := rec.rest()
	switch {
	case trials == 0 && firstTrial < rest:
		return firstTrial, false
	case trials == 1 && secondTrial < rest:
		return secondTrial, false
	}
	return rest, true
}

// rest is what is left of the grace.
func (rec *recovery) rest() time.Duration {
	return max(0, min(time.Duration(rec.end-rec.now()), rec.left-time.Since(rec.began)))
}

// pause ends early when another value has come into use, or this one has been
// accepted. It is called with a part of the grace at most.
func (rec *recovery) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-rec.f.wake:
	}
}

// successor is the recovery that took over, because another value has come
// into use and was rejected as well, or because the process was frozen.
func (rec *recovery) successor() *flight {
	rec.c.mu.Lock()
	defer rec.c.mu.Unlock()
	if rec.c.recovery == rec.f {
		return nil
	}
	return rec.c.recovery
}

// read returns an entry that is worth a try and the number of its read, or why
// the primary gave none: a standby that has nothing is the rule, not a failure.
func (rec *recovery) read(ctx context.Context) (*entry, uint64, error) {
	c := rec.c
	// A poll is younger than the refreshes that began before it.
	now := rec.now()
	c.mu.Lock()
	c.started++
	number := c.started
	rec.grave.polled = now
	c.mu.Unlock()
	var primaryErr error
	for i, src := range c.candidates(c.src()) {
		var r *Rejection
		if rec.cur != nil && same(src, rec.cur.src()) {
			r = &rec.r
		}
		v, leaf, err := c.loadOrRenew(ctx, src, r)
		if err != nil {
			if i == 0 {
				primaryErr = err
			}
			continue
		}
		e := c.newEntry(v, leaf, i > 0)
		if rec.untried(e.id) {
			return e, number, nil
		}
		if rec.cur != nil && e.id == rec.cur.id {
			c.publish(number, e) // the same again; it need not be read before its TTL is over
		}
	}
	return nil, number, primaryErr
}

func (rec *recovery) untried(id identity) bool {
	if id == rec.grave.id {
		return false
	}
	rec.c.mu.Lock()
	defer rec.c.mu.Unlock()
	if !rec.c.graves.dead(id) {
		return true
	}
	if rec.c.graves.find(id).recent(rec.now()) {
		return false
	}
	rec.c.graves.remove(id)
	return true
}

// cured reports that the service has accepted the value meanwhile, or another
// read brought a new one.
func (rec *recovery) cured() (Value, bool) {
	if e := rec.c.cur.Load(); e != nil && !e.rejected {
		return e.val, true
	}
	return Value{}, false
}

// offer hands out the rejected value for one more send.
func (rec *recovery) offer(last bool) (Value, error) {
	c := rec.c
	now := rec.now()
	c.mu.Lock()
	rec.grave.trials++
	if last {
		rec.grave.spent = true
		rec.grave.extend(now, 0)
	}
	c.mu.Unlock()
	return rec.cur.val, nil
}

func (rec *recovery) giveUp(err error) (Value, error) {
	c := rec.c
	least := time.Duration(0)
	if errors.Is(err, ErrNotFound) {
		least = notFoundCoolDown
	}
	now := rec.now()
	c.mu.Lock()
	rec.grave.spent = true
	rec.grave.extend(now, least)
	c.mu.Unlock()
	err = c.rejected(err)
	c.emit("failed", rec.cur, err)
	return Value{}, err
}

func (rec *recovery) now() int64 { return rec.c.set.time().UnixNano() }

// candidates lists the sources that may hold another credential for the same
// service: the primary, and then the standbys.
func (c *Cache) candidates(src Source) []Source {
	switch s := src.(type) {
	case *pair:
		return append(c.candidates(s.primary()), c.candidates(s.standby())...)
	case *Chain:
		c.mu.Lock()
		winner := c.winners[s]
		c.mu.Unlock()
		if winner != nil {
			return c.candidates(winner())
		}
	case standbyer:
		if other := s.Standby(); other != nil {
			return append([]Source{src}, c.candidates(other)...)
		}
	}
	return []Source{src}
}

func (c *Cache) loadOrRenew(ctx context.Context, src Source, r *Rejection) (Value, Source, error) {
	if _, ok := src.(Renewer); ok && r != nil {
		v, err := c.ask(ctx, src, r)
		return v, src, err
	}
	return c.load(ctx, src)
}

// same compares sources, which may hold what cannot be compared.
func same(a, b Source) bool {
	if reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() {
		return a == b
	}
	return reflect.TypeOf(a) == reflect.TypeOf(b) && sourceName(a) == sourceName(b)
}

func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/10+1)) //nolint:gosec // jitter, not a secret
}
