package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const forever = 1 << 62 // nanoseconds; the year 2116

// nanos is t in nanoseconds of wall time, within [0, forever]: an issuer that
// writes 9999 for "never" must not overflow into the past.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, 0)):
		return 0
	case t.After(time.Unix(0, forever)):
		return forever
	}
	return t.UnixNano()
}

// later is t+d, at most forever.
func later(t int64, d time.Duration) int64 {
	if int64(d) >= forever-t {
		return forever
	}
	return t + int64(d)
}

// An identity says whether two values are the same credential. It is keyed,
// so that it tells nothing about the secret.
type identity [16]byte

func identify(key *[32]byte, v Value) (id identity) {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte{byte(v.Scheme)})
	h.Write([]byte(v.Secret.Reveal()))
	copy(id[:], h.Sum(nil))
	return id
}

// An entry is a value and its times, in nanoseconds of wall time. It is
// immutable but for accepted: a rejected value is another entry.
type entry struct {
	val Value
	// [floor, floor+span) is when the value is fresh. Below the floor the
	// clock has jumped back by more than the value's life.
	floor int64
	span  uint64
	// hard is when the value must be read again, stale when it is not served
	// even then.
	hard, stale, loaded int64

	owner    *Cache
	id       identity
	src      func() Source // the very source that gave it
	standby  bool
	rejected bool
	accepted atomic.Bool
}

func (c *Cache) newEntry(v Value, src Source, standby bool) *entry {
	now := c.set.time().UnixNano()
	e := &entry{owner: c, id: c.id(v), src: func() Source { return src }, standby: standby, loaded: now}
	life, soft := int64(forever), int64(forever)
	if c.set.ttl > 0 {
		life = int64(c.set.ttl)
		soft = later(now, time.Duration(float64(life)*0.8*(0.9+0.1*rand.Float64()))) //nolint:gosec // jitter, not a secret
	}
	e.hard = later(now, time.Duration(life))
	end := v.end()
	token := v.Scheme == BearerToken && end < forever
	if end < forever {
		left := end - now
		ahead := end - min(int64(5*time.Minute), left/2)
		if token {
			e.hard, soft, life = end, ahead, left
		} else {
			e.hard, soft = min(e.hard, end), min(soft, ahead)
		}
	}
	if hint := nanos(v.RefreshAfter); !v.RefreshAfter.IsZero() {
		if !token || hint >= end {
			hint = min(hint, soft) // it can only ask for more than we do anyway
		}
		soft = hint
	}
	// An issuer that hints at the past must not cause a read per call.
	soft = min(max(soft, later(now, firstCoolDown)), e.hard)
	e.stale = min(end, later(e.hard, c.set.stale))
	e.floor = now - min(life, max(now, 0))
	e.freshUntil(soft)
	v.ref = func() *entry { return e }
	e.val = v
	return e
}

// end is when the value stops being valid.
func (v *Value) end() int64 {
	if v.Expires.IsZero() {
		return forever
	}
	return nanos(v.Expires)
}

func (e *entry) freshUntil(soft int64) {
	e.span = uint64(max(soft, e.floor) - e.floor) //nolint:gosec // not negative
}

// keptLike is e with the times of o, which it is preferred to, but not past
// its own expiry.
func (e *entry) keptLike(o *entry) *entry {
	n, end := e.copyWith(false), e.val.end()
	n.floor, n.hard, n.stale = o.floor, min(o.hard, end), min(o.stale, end)
	n.freshUntil(min(o.floor+int64(o.span), n.hard)) //nolint:gosec // a time
	return n
}

func (e *entry) copyWith(rejected bool) *entry {
	n := &entry{
		val: e.val, floor: e.floor, span: e.span, hard: e.hard, stale: e.stale, loaded: e.loaded,
		owner: e.owner, id: e.id, src: e.src, standby: e.standby, rejected: rejected,
	}
	n.accepted.Store(e.accepted.Load())
	n.val.ref = func() *entry { return n }
	return n
}

func (e *entry) buried() *entry { return e.copyWith(true) }
func (e *entry) healed() *entry { return e.copyWith(false) }

// bridges reports whether e may be served although it is too old.
func (e *entry) bridges(now int64) bool { return e != nil && !e.rejected && now < e.stale }

// A failure is the cool-down after reads that failed.
type failure struct {
	coolDown
	err  error
	told bool // a stale-served event went out for it
}

const (
	firstCoolDown    = time.Second
	maxCoolDown      = 60 * time.Second
	notFoundCoolDown = 30 * time.Second
)

// A coolDown grows from one failure to the next: 1 s doubling to 60 s, times
// U[1, 1.2].
type coolDown struct {
	until int64
	n     int
}

func (d *coolDown) extend(now int64, least time.Duration) {
	wait := min(firstCoolDown<<min(d.n, 6), maxCoolDown)
	wait = max(wait, least)
	d.n++
	d.until = now + int64(float64(wait)*(1+0.2*rand.Float64())) //nolint:gosec // jitter, not a secret
}

// cooling is false also when the clock jumped back before the cool-down began.
func (d *coolDown) cooling(now int64) bool {
	return now < d.until && d.until-now <= int64(maxCoolDown+maxCoolDown/5)
}

// rest is what is left of the cool-down.
func (d *coolDown) rest(now int64) time.Duration {
	if !d.cooling(now) {
		return 0
	}
	return time.Duration(d.until - now)
}

// A tombstone remembers a rejected value.
type tombstone struct {
	id identity
	coolDown
	at     int64 // when it was rejected first
	was    bool  // a service had accepted it before
	healed bool  // a service has accepted it since
	spent  bool  // its grace is used up
	trials int   // how often it was offered again
	polled int64 // when a source was last read for it
	wait   time.Duration
}

// nextPoll returns how long to wait for the next read, and doubles that from
// one read to the next: also where a value that was accepted again in between
// starts another recovery.
func (s *tombstone) nextPoll(now int64) time.Duration {
	if s.wait == 0 {
		s.wait = firstPoll
		return 0
	}
	wait := jitter(s.wait)
	s.wait = min(2*s.wait, maxPoll)
	return min(wait, max(0, time.Duration(s.polled+int64(wait)-now)))
}

// reburied is when a rejected value that turns up again counts as a new one: an
// operator may have gone back to it. It is also for how long the tombstone of
// a value that was accepted again keeps its grace and cool-down, so that
// replicas that disagree about a key do not cost a read per answer.
const reburied = time.Minute

// recent is false also when the clock jumped back.
func (s *tombstone) recent(now int64) bool { return now >= s.at && now-s.at < int64(reburied) }

// tombstones holds the most recently rejected values, oldest first.
type tombstones []*tombstone

const maxTombstones = 256

func (t *tombstones) find(id identity) *tombstone {
	for _, s := range *t {
		if s.id == id {
			return s
		}
	}
	return nil
}

// dead reports that the service refused the value and has not taken it since.
func (t *tombstones) dead(id identity) bool {
	s := t.find(id)
	return s != nil && !s.healed
}

// mark returns the tombstone of id, a new one if need be.
func (t *tombstones) mark(id identity, now int64, was bool) *tombstone {
	if s := t.find(id); s != nil {
		if !s.healed || s.recent(now) {
			s.healed = false
			return s
		}
		t.remove(id)
	}
	s := &tombstone{id: id, at: now, was: was}
	if len(*t) >= maxTombstones {
		*t = append((*t)[:0], (*t)[1:]...)
	}
	*t = append(*t, s)
	return s
}

func (t *tombstones) remove(id identity) {
	for i, s := range *t {
		if s.id == id {
			*t = append((*t)[:i], (*t)[i+1:]...)
			return
		}
	}
}
