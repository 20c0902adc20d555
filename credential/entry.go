package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const forever = 1 << 62 // nanoseconds; the year 2116

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

	id       identity
	src      func() Source // the very source that gave it
	standby  bool
	rejected bool
	accepted atomic.Bool
}

func (c *Cache) newEntry(v Value, src Source, standby bool) *entry {
	now := c.set.time().UnixNano()
	e := &entry{id: c.id(v), src: func() Source { return src }, standby: standby, loaded: now, stale: forever}
	life := int64(forever)
	if c.set.ttl > 0 {
		life = int64(c.set.ttl)
	}
	soft := int64(forever)
	if life < forever {
		soft = now + int64(float64(life)*0.8*(0.9+0.1*rand.Float64())) //nolint:gosec // jitter, not a secret
	}
	e.hard = min(now+life, forever)
	if !v.Expires.IsZero() {
		end := v.Expires.UnixNano()
		e.stale = end
		left := end - now
		ahead := end - min(int64(5*time.Minute), left/2)
		if v.Scheme == BearerToken {
			e.hard, soft, life = end, ahead, left
		} else {
			e.hard, soft = min(e.hard, end), min(soft, ahead)
		}
	}
	if !v.RefreshAfter.IsZero() {
		soft = v.RefreshAfter.UnixNano()
	}
	// An issuer that hints at the past must not cause a read per call.
	soft = min(max(soft, now+int64(firstCoolDown)), e.hard)
	e.stale = min(e.stale, e.hard+int64(c.set.stale))
	e.floor = now - min(life, now)
	e.span = uint64(max(soft, e.floor) - e.floor) //nolint:gosec // not negative
	v.ref = func() *entry { return e }
	e.val = v
	return e
}

func (e *entry) copyWith(rejected bool) *entry {
	n := &entry{
		val: e.val, floor: e.floor, span: e.span, hard: e.hard, stale: e.stale, loaded: e.loaded,
		id: e.id, src: e.src, standby: e.standby, rejected: rejected,
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

// A tombstone remembers a rejected value.
type tombstone struct {
	id identity
	coolDown
	at     int64 // when it was rejected first
	was    bool  // a service had accepted it before
	spent  bool  // its grace is used up
	trials int   // how often it was offered again
}

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

// mark returns the tombstone of id, a new one if need be.
func (t *tombstones) mark(id identity, now int64, was bool) *tombstone {
	if s := t.find(id); s != nil {
		return s
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
