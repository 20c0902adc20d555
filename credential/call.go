package credential

import (
	"context"
	"fmt"
	"math"
	"time"
)

// A call is one call of Retrieve or Replace.
type call struct {
	verdict   verdict
	rejection Rejection
	then      recovery // as it was when the call was refused
	rec       *record  // the rejected credential; nil at first
	turn      uint64   // an acceptance from this turn on is later than the refusal
	known     bool     // the value had been accepted before
	again     bool     // it had been handed out again
	untried   bool     // the call sent another value than the one in use
	err       error    // of the read that the call waited for
}

// settle does for a call what decide says, until that is to return.
func (c *Cache) settle(ctx context.Context, w *call) (Value, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	if ctx.Err() != nil {
		return Value{}, context.Cause(ctx)
	}
	if c.root == nil {
		return Value{}, errZeroCache
	}
	early, cancel := leaveEarly(ctx)
	defer cancel()
	for first := true; ; first = false {
		c.mu.Lock()
		if first {
			w.then = c.recovery
		}
		e, now := c.look(w), c.set.time()
		s := c.state(w, e, now)
		a := decide(&s, w.verdict, now)
		r, changed := c.prepare(ctx, w, a, s.forced, now)
		failure, given := c.failure, c.recoveryErr
		if a.do == again {
			e = e.as(e.rec, true)
		}
		c.mu.Unlock()
		switch {
		case a.do == serve || a.do == again:
			return e.val, nil
		case a.do == bridge:
			return c.bridge(e), nil
		case a.do == fail && w.err != nil:
			return Value{}, w.err
		case a.do == fail:
			return Value{}, failure
		case a.do == stand && given != nil:
			return Value{}, given
		case a.do == stand && early.Err() != nil:
			return Value{}, c.rejectedError(tooNear())
		case a.do == stand:
			return Value{}, c.rejectedError(nil)
		}
		if err := c.await(ctx, early, w, a, r, changed); err != nil {
			return Value{}, err
		}
		if a.do == awaitRead && r.ended() && r.err == nil {
			return r.val, nil
		}
	}
}

// look brings a call up to date, and opens a recovery if it is the first to be
// refused. It returns the value in use. c.mu is held.
func (c *Cache) look(w *call) *entry {
	e := c.cur.Load()
	if w.verdict != refused {
		return e
	}
	if w.rec == nil {
		c.identify(w, e)
	}
	switch {
	case e != nil && e.rec != w.rec && e.rec.rejected == 0:
		w.verdict = wanted // another value is in use: the call wants that one
	case e != nil && e.rec != w.rec: // which is rejected as well
		*w = call{verdict: refused, rejection: w.rejection, then: c.recovery, rec: e.rec, turn: e.rec.rejected, untried: true}
	case w.rec.accepted.Load() > w.turn:
		w.verdict = refuted
	case w.rec.rejected == 0 && !w.again:
		c.open(w, e)
		return c.cur.Load()
	}
	return e
}

// identify finds the record of the value that a call sent. A value from
// elsewhere may be the same credential as the one in use. c.mu is held.
func (c *Cache) identify(w *call, e *entry) {
	if sent := c.entryOf(w.rejection.Value); sent != nil {
		w.rec, w.again = sent.rec, sent.again
	} else if id := c.id(w.rejection.Value); e == nil {
		w.rec = c.record(id)
	} else if w.rec = e.rec; e.rec.id != id {
		w.rec = &record{id: id}
	}
	w.known = w.rec.accepted.Load() > 0
}

// open opens a recovery. c.mu is held.
func (c *Cache) open(w *call, e *entry) {
	k := newcomer
	switch {
	case w.known:
		k = steady
	case !c.trusted:
		k = cold
	}
	c.recovery = c.recovery.refused(c.tick(), k, e != nil && e.val.Fixed, c.set.grace)
	c.refused, c.rejection, c.recoveryErr = w.rec, w.rejection, nil
	c.nextTurn(w, e)
	w.rec.rejected, w.then = w.rec.turn, c.recovery
}

// nextTurn makes what is handed out from now on tell from what was before the
// call was refused. c.mu is held.
func (c *Cache) nextTurn(w *call, e *entry) {
	w.rec.turn++
	w.turn = min(w.turn, w.rec.turn)
	if e != nil {
		c.cur.Store(e.as(w.rec, false))
	}
}

// state is what a decision for the call depends on. c.mu is held.
func (c *Cache) state(w *call, e *entry, now int64) state {
	return state{
		age:      e.age(now),
		rejected: e != nil && e.rec.rejected > 0,
		reading:  !c.ordinary.over(now),
		// A forced read that began before the rejection is not worth waiting for.
		forced:  !c.forced.over(now) && c.forced.rec == c.refused && c.forced.turn >= c.refused.rejected,
		failing: c.failing, outage: c.failure != nil && !permanent(c.failure),
		recovery: c.recovery, tick: c.tick(),
		then: w.then, known: w.known, again: w.again, untried: w.untried,
		grace: c.set.grace, inline: c.set.inline,
	}
}

// prepare starts the read of an action. It returns the read that the call has
// to wait for, and the signal of a change. c.mu is held.
func (c *Cache) prepare(ctx context.Context, w *call, a action, isForced bool, now int64) (r *read, changed chan struct{}) {
	switch {
	case a.read != none:
		r = c.start(ctx, a.read, now)
	case a.do == awaitRead:
		r = c.ordinary
	case isForced:
		r = c.forced
	}
	if a.do != awaitChange {
		return r, nil
	}
	if w.verdict == refused && w.turn == math.MaxUint64 {
		c.nextTurn(w, c.cur.Load())
	}
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return r, c.changed
}

// notify wakes the calls that wait for a change. c.mu is held.
func (c *Cache) notify() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// await waits for what the action says: the read r, a change, or the time. It
// returns why the call has to leave.
func (c *Cache) await(ctx, early context.Context, w *call, a action, r *read, changed chan struct{}) error {
	toTheEnd := a.do == awaitRead && a.wait == 0
	if toTheEnd {
		early = ctx // the call has nothing else to use
	}
	var done chan struct{}
	if r != nil {
		done = r.done
	}
	var timer <-chan time.Time
	if a.wait > 0 {
		t := time.NewTimer(a.wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-done:
	case <-changed:
	case <-timer:
	case <-early.Done():
	}
	switch {
	case a.do == awaitRead && r.ended():
		if w.verdict, w.err = unread, r.err; permanent(r.err) {
			w.verdict = unreadable
		}
	case toTheEnd:
		return fmt.Errorf("credential: waiting for %s: %w", c.name, context.Cause(ctx))
	case a.do == awaitRead:
		w.verdict = unanswered
	case ctx.Err() != nil:
		return context.Cause(ctx) //nolint:wrapcheck // the cause itself, as documented
	case early.Err() != nil:
		return c.rejectedError(tooNear())
	}
	return nil
}

// leaveEarly ends before the deadline of ctx, by 10 % of the time left and at
// least 100 ms: time to use what the caller holds.
func leaveEarly(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	left := time.Until(deadline)
	return context.WithTimeout(ctx, max(0, left-max(100*time.Millisecond, left/10)))
}

// tick is the time by a clock that always advances. A wall clock may be set back,
// and a grace must end all the same. tick jumps ahead with the wall clock, so
// that a process that was frozen notices. c.mu is held.
func (c *Cache) tick() int64 {
	wall, mono := c.set.time(), time.Now()
	if c.lastMono.IsZero() {
		c.elapsed = wall
	} else {
		c.elapsed += max(0, wall-c.lastWall, int64(mono.Sub(c.lastMono)))
	}
	c.lastWall, c.lastMono = wall, mono
	return c.elapsed
}

// bridge returns a value that bridges an outage.
func (c *Cache) bridge(e *entry) Value {
	c.mu.Lock()
	first, err := !c.bridging, c.failure
	c.bridging = true
	c.mu.Unlock()
	if first {
		c.emit(EventStaleServed, e, err)
	}
	return e.val
}
