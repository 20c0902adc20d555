package credential

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A read is one read of the sources that any number of calls wait for. It
// belongs to none of them: each leaves by its own context, and the read goes
// on until its timeout.
type read struct {
	number   uint64
	began    int64   // wall time
	deadline int64   // wall time; past it the read is abandoned
	rec      *record // the rejected credential of a forced read; nil for an ordinary one
	turn     uint64  // of that credential when the read began
	done     chan struct{}
	val      Value // set before done closes
	err      error
}

// over reports that there is nothing to wait for: no read, one that has ended,
// or one that was left behind when the process was frozen.
func (r *read) over(now int64) bool {
	return r == nil || now > r.deadline || r.ended()
}

func (r *read) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// start starts a read in a goroutine of its own. The call that starts it lends
// nothing to it but a trace. c.mu is held.
func (c *Cache) start(call context.Context, kind reading, now int64) *read {
	c.reads++
	r := &read{number: c.reads, began: now, done: make(chan struct{})}
	r.deadline = later(now, c.set.timeout*time.Duration(c.root().leaves())+time.Second)
	work := func(ctx context.Context) (Value, error) { return c.refresh(ctx, r) }
	if kind == forced {
		first := !c.recovery.told
		r.rec, r.turn = c.refused, c.refused.turn
		c.forced, c.recovery = r, c.recovery.began(c.tick())
		work = func(ctx context.Context) (Value, error) { return c.replacement(ctx, r, first) }
	} else {
		c.ordinary = r
	}
	go func() {
		defer func() {
			if p := recover(); p != nil {
				r.err = panicError("cache", p)
			}
			c.mu.Lock()
			if r == c.forced || c.forced.over(c.set.time()) {
				c.notify() // else calls wait for the forced read, which is younger
			}
			c.mu.Unlock()
			close(r.done)
		}()
		r.val, r.err = work(c.set.readContext(call))
	}()
	return r
}

// refresh reads the primary and, while a standby is in use and the primary has
// nothing new, that standby: its value may be a token that runs out.
func (c *Cache) refresh(ctx context.Context, r *read) (Value, error) {
	cur := c.cur.Load()
	f, err := c.load(ctx, c.root())
	c.mu.Lock()
	standby := cur != nil && cur.standby && (err != nil || f.rec.rejected > 0)
	c.mu.Unlock()
	if standby {
		f, err = c.ask(ctx, cur.leaf, nil)
	}
	if err != nil {
		return c.fail(r, err)
	}
	v, _ := c.publish(r, f, standby)
	return v, nil
}

// replacement reads every source that may have another value than the rejected
// one, until one has. It is the source that gave the rejected value that is
// told of the rejection. That a standby has nothing is usual, and no failure.
func (c *Cache) replacement(ctx context.Context, r *read, first bool) (Value, error) {
	c.mu.Lock()
	cur, rejection, list := c.cur.Load(), c.rejection, c.root().candidates()
	c.mu.Unlock()
	if first {
		c.emit(EventRejected, cur, nil)
	}
	var failed error
	fixed := true // nothing can change
	for i, n := range list {
		var f found
		var err error
		if cur != nil && cur.rec == r.rec && n == cur.leaf {
			f, err = c.ask(ctx, n, &rejection)
		} else {
			f, err = c.load(ctx, n)
		}
		if err != nil {
			fixed = fixed && permanent(err)
			if i == 0 {
				failed = err
			}
			continue
		}
		fixed = fixed && f.val.Fixed
		if v, other := c.publish(r, f, i > 0); other {
			return v, nil
		}
	}
	return Value{}, c.conclude(r, failed, fixed)
}

// conclude records that a forced read has brought no other value.
func (c *Cache) conclude(r *read, failed error, fixed bool) error {
	err := c.rejectedError(failed)
	c.mu.Lock()
	cur, before := c.cur.Load(), c.recovery
	if c.refused != r.rec || r.rec.rejected == 0 || r.turn < r.rec.rejected {
		c.mu.Unlock() // an acceptance or another read has ended the recovery
		return err
	}
	offerable := cur != nil && cur.rec == r.rec && !fixed
	c.recovery = before.concluded(c.tick(), c.set.grace, fixed || failed != nil && permanent(failed), offerable, leastCoolDown(failed))
	c.recoveryErr = err
	over := c.recovery.spent && c.recovery.offers == before.offers
	c.mu.Unlock()
	if over {
		c.emitRead(r, EventFailed, cur, err)
	}
	return err
}

// publish brings what a read has found into use, unless what is in use is
// better. It returns the value in use then, and whether that is another than
// the one that a forced read is for.
func (c *Cache) publish(r *read, f found, standby bool) (Value, bool) {
	e := c.newEntry(f.val, f.leaf, standby)
	c.mu.Lock()
	cur, rejected := c.cur.Load(), f.rec.rejected > 0
	same := cur != nil && cur.rec == f.rec
	good := cur != nil && cur.rec.rejected == 0
	dead := rejected && (same || f.rec == r.rec || !f.rec.chance)
	switch {
	case r.rec != nil && dead && !same,
		cur != nil && r.number < c.shown && (dead || good): // a later read is out already
		defer c.mu.Unlock()
		if cur == nil {
			return Value{}, false
		}
		return cur.val, good
	}
	kind := EventRotated
	switch {
	case same:
		kind, e = EventLoaded, e.as(f.rec, false)
	case rejected && good && e.loaded < cur.val.end():
		// The store went back to a value that the service refused. The one in
		// use, maybe from a fresher replica, stays for another TTL.
		kind, e = EventLoaded, cur.keptLike(e)
	default:
		if cur == nil {
			kind = EventLoaded
		} else if standby {
			kind = EventPromoted
		}
		if dead {
			c.refused = f.rec
		} else {
			f.rec.rejected, f.rec.chance = 0, false
			c.recovery = c.recovery.replaced()
		}
		e = e.as(f.rec, false)
	}
	rejected = e.rec.rejected > 0
	expires := !e.rec.warned && c.expiresSoon(e, same && cur.age(e.loaded) >= due)
	e.rec.warned = e.rec.warned || expires
	c.failing, c.failure, c.bridging = coolDown{}, nil, false
	c.shown = max(c.shown, r.number)
	c.cur.Store(e)
	c.mu.Unlock()
	if !same || !rejected { // the rejected value again is no news
		c.emitRead(r, kind, e, nil)
	}
	if expires {
		c.emit(EventExpiring, e, nil)
	}
	return e.val, !rejected
}

// expiresSoon reports whether e is about to expire. A token is only if its
// refresh brought the same again.
func (c *Cache) expiresSoon(e *entry, refreshed bool) bool {
	end := e.val.end()
	if end == forever || c.set.warning == 0 {
		return false
	}
	if e.val.Scheme == BearerToken {
		return refreshed
	}
	return end-e.loaded <= int64(c.set.warning)
}

// fail records a failed ordinary read, unless a later read has succeeded.
func (c *Cache) fail(r *read, err error) (Value, error) {
	now := c.set.time()
	c.mu.Lock()
	e := c.cur.Load()
	if e != nil && r.number < c.shown {
		c.mu.Unlock()
		return e.val, nil
	}
	c.failing.extend(now, leastCoolDown(err))
	c.failure, c.bridging = err, false
	c.mu.Unlock()
	c.emitRead(r, EventFailed, e, err)
	return Value{}, err
}

func leastCoolDown(err error) time.Duration {
	if errors.Is(err, ErrNotFound) {
		return notFoundCoolDown
	}
	return 0
}

// A found is what a source gave.
type found struct {
	val  Value
	leaf *node
	rec  *record
}

// ask reads the source n once, or has it renewed, and checks what comes. The
// source runs in a goroutine of its own, because it may ignore its context. One
// that does is not asked again until it has come back.
func (c *Cache) ask(ctx context.Context, n *node, rejection *Rejection) (found, error) {
	c.mu.Lock()
	hung, renewer := n.hung, n.renews()
	c.mu.Unlock()
	if hung > 0 {
		return found{}, &SourceError{Source: n.name, Op: "retrieve", Transient: true,
			Err: errors.New("an earlier read hangs and cannot be canceled"), Hint: "check that the store can be reached from here"}
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, underKey{}, c.under(n)), c.set.timeout)
	defer cancel()
	var v Value
	err := error(&SourceError{Source: n.name, Op: "retrieve", Err: errors.New("the source ended its goroutine"), Transient: true})
	ended, abandoned, done := false, false, make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = panicError(n.name, p)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if ended = true; abandoned {
				n.hung--
			}
		}()
		if renewer != nil && rejection != nil {
			v, err = renewer.Renew(ctx, *rejection)
		} else {
			v, err = n.source.Retrieve(ctx)
		}
	}()
	select {
	case <-done:
	case <-ctx.Done():
		c.mu.Lock()
		if abandoned = !ended; abandoned {
			n.hung++
		}
		c.mu.Unlock()
		return found{}, &SourceError{Source: n.name, Op: "retrieve", Err: context.DeadlineExceeded, Transient: true,
			Hint: fmt.Sprintf("no answer within %v; check that the store can be reached from here", c.set.timeout)}
	}
	return c.admit(n, v, err)
}

// admit checks what the source n has answered, and finds its record.
func (c *Cache) admit(n *node, v Value, err error) (found, error) {
	c.mu.Lock()
	before := n.last
	c.mu.Unlock()
	if v, err = checkAnswer(n.name, before != nil, v, err, c.set.time()); err != nil {
		return found{}, err
	}
	id := c.id(v)
	c.mu.Lock()
	defer c.mu.Unlock()
	rec := c.record(id)
	if n.last != nil && n.last != rec && rec.rejected > 0 {
		rec.chance = true // the source has gone back to it
	}
	n.last = rec
	return found{v, n, rec}, nil
}
