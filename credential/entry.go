package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/hidden"
)

const forever = 1 << 62 // nanoseconds since 1970: the year 2116

// nanos is t in nanoseconds of wall time, within [0, forever]. An issuer that
// writes the year 9999 for "never" must not overflow into the past.
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

// An identity tells whether two values are the same credential. It is a keyed
// hash, so that it says nothing about the secret.
type identity [16]byte

func identify(key *[32]byte, v Value) (id identity) {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte{byte(v.Scheme)})
	h.Write([]byte(v.Secret.Reveal()))
	copy(id[:], h.Sum(nil))
	return id
}

// A record is what a Cache remembers of one credential. Cache.mu guards it,
// except for accepted, which Accept reads without a lock.
//
// Turns order sends and answers. The turn grows with each rejection, and each
// value carries the turn in which it was handed out. So an acceptance is later
// than a rejection if the accepted value was handed out after the rejection
// had been reported, whatever the order in which the answers arrived.
type record struct {
	id       identity
	accepted atomic.Uint64 // 1 + the latest turn of an accepted send; 0 is never
	turn     uint64
	rejected uint64 // the turn of the first rejection that no acceptance has followed; 0 is none
	chance   bool   // rejected, but a source has gone back to it: worth one send
	warned   bool   // the event for its expiry has gone out
}

// maxRecords bounds how many credentials a Cache remembers.
const maxRecords = 256

// record returns the record of a credential, a new one if need be. The least
// recently used one makes room. c.mu is held.
func (c *Cache) record(id identity) *record {
	for i, r := range c.records {
		if r.id == id {
			copy(c.records[i:], c.records[i+1:])
			c.records[len(c.records)-1] = r
			return r
		}
	}
	if len(c.records) >= maxRecords {
		c.records = append(c.records[:0], c.records[1:]...)
	}
	r := &record{id: id}
	c.records = append(c.records, r)
	return r
}

// An entry is a value and its times, in nanoseconds of wall time. It is
// immutable.
type entry struct {
	val Value
	// The value is fresh in [floor, floor+span). Below the floor the clock has
	// been set back by more than the value's life.
	floor int64
	span  uint64
	// Past hard the value has to be read again. Past stale it is not even
	// served in an outage.
	hard, stale, loaded int64

	owner   *Cache
	rec     *record
	turn    uint64
	again   bool  // handed out to a call that was refused, because others were accepted since
	leaf    *node // the source that gave the value
	standby bool
}

// newEntry is a value that leaf has just given.
func (c *Cache) newEntry(v Value, leaf *node, standby bool) *entry {
	now := c.set.time()
	v.Tenant = c.tenant
	e := &entry{val: v, owner: c, leaf: leaf, standby: standby, loaded: now}
	life, soft := int64(forever), int64(forever)
	if c.set.ttl > 0 {
		life = int64(c.set.ttl)
		from := 0.72
		if c.cur.Load() == nil {
			from = 0.1 // processes that have started together do not read together
		}
		soft = later(now, time.Duration(float64(life)*(from+(0.8-from)*rand.Float64()))) //nolint:gosec // jitter, not a secret
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
			if warn := end - int64(c.set.warning); warn > now {
				soft = min(soft, warn) // the read in which the event goes out
			}
		}
	}
	if hint := nanos(v.RefreshAfter); !v.RefreshAfter.IsZero() {
		if !token || hint >= end {
			hint = min(hint, soft) // it can only ask for more reads than there are anyway
		}
		soft = hint
	}
	// An issuer that hints at the past must not cause a read per call.
	soft = min(max(soft, later(now, firstCoolDown)), e.hard)
	e.stale = min(end, later(e.hard, c.set.stale))
	e.floor = now - min(life, max(now, 0))
	e.freshUntil(soft)
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

func (e *entry) fresh(now int64) bool {
	// One unsigned comparison: below the floor the difference wraps.
	return uint64(now-e.floor) < e.span //nolint:gosec // wraps, as said
}

// as returns a copy of e that belongs to rec, in its present turn.
func (e *entry) as(rec *record, again bool) *entry {
	n := *e
	n.rec, n.turn, n.again = rec, rec.turn, again
	n.val.ref = hidden.Of(&n)
	return &n
}

// keptLike returns e with the times of o, which it is preferred to, but not
// past its own expiry.
func (e *entry) keptLike(o *entry) *entry {
	n, end := *e, e.val.end()
	n.floor, n.hard, n.stale = o.floor, min(o.hard, end), min(o.stale, end)
	n.freshUntil(min(o.floor+int64(o.span), n.hard)) //nolint:gosec // a time
	return n.as(e.rec, false)
}

// entryOf is the entry of this Cache that v was served from; nil if v is from
// elsewhere.
func (c *Cache) entryOf(v Value) *entry {
	if v.ref == nil {
		return nil
	}
	if e := v.ref(); e.owner == c {
		return e
	}
	return nil
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
	wait := max(least, min(firstCoolDown<<min(d.n, 6), maxCoolDown))
	d.n++
	d.until = now + int64(float64(wait)*(1+0.2*rand.Float64())) //nolint:gosec // jitter, not a secret
}

// cooling is false also when the clock was set back to before the cool-down.
func (d *coolDown) cooling(now int64) bool {
	return now < d.until && d.until-now <= int64(maxCoolDown+maxCoolDown/5)
}
