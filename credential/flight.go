package credential

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"
)

// A flight is one read that any number of callers wait for. It belongs to
// none of them: each leaves by its own context, and the read goes on.
type flight struct {
	done     chan struct{}
	number   uint64
	deadline int64      // wall time; past it the flight is abandoned
	grave    *tombstone // what a recovery is about; nil for a refresh
	wake     chan struct{}
	val      Value // set before done closes
	err      error
}

// over reports that there is nothing to join: no flight, a finished one, or one
// that a freeze of the process has left behind.
func (f *flight) over(now int64) bool {
	return f == nil || now > f.deadline || f.landed()
}

// nudge wakes a recovery that waits for its next poll.
func (f *flight) nudge() {
	if f == nil {
		return
	}
	select {
	case f.wake <- struct{}{}:
	default: // it has yet to wake from the last one, or has ended
	}
}

func (f *flight) landed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (f *flight) wait(ctx context.Context) (Value, error) {
	select {
	case <-f.done:
		return f.val, f.err
	default:
	}
	select {
	case <-f.done:
		return f.val, f.err
	case <-ctx.Done():
		return Value{}, context.Cause(ctx)
	}
}

// leaveEarly bounds ctx by budget and, where ctx has a deadline, by what is
// left of it minus max(100 ms, 10 %): time to use what the caller holds.
func leaveEarly(ctx context.Context, budget time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if ok {
		left := time.Until(deadline)
		budget = min(budget, left-max(100*time.Millisecond, left/10))
	} else if budget >= forever {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, max(0, budget))
}

// launch runs work in a goroutine of its own. c.mu is held.
func (c *Cache) launch(ctx context.Context, now int64, bound time.Duration, work func(context.Context, *flight) (Value, error)) *flight {
	c.started++
	f := &flight{done: make(chan struct{}), wake: make(chan struct{}, 1), number: c.started, deadline: now + int64(bound)}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer close(f.done)
		f.err = errors.New("credential: the read ended without an answer")
		defer func() {
			if p := recover(); p != nil {
				f.err = panicError("cache", p)
			}
		}()
		f.val, f.err = work(ctx, f)
	}()
	return f
}

// startRefresh starts an ordinary read. c.mu is held.
func (c *Cache) startRefresh(ctx context.Context, now int64) *flight {
	bound := c.set.timeout*time.Duration(leaves(c.src())) + time.Second
	c.refresh = c.launch(ctx, now, bound, func(ctx context.Context, f *flight) (Value, error) {
		e, err := c.latest(ctx)
		if err != nil {
			return c.fail(f.number, err)
		}
		return c.publish(f.number, e), nil
	})
	return c.refresh
}

// latest reads the primary and, while a standby is in use and the primary has
// nothing new, that standby: it may be a token that runs out.
func (c *Cache) latest(ctx context.Context) (*entry, error) {
	cur := c.cur.Load()
	v, src, err := c.load(ctx, c.src())
	var e *entry
	if err == nil {
		e = c.newEntry(v, src, false)
	}
	if cur == nil || !cur.standby || e != nil && !c.dead(e.id) {
		return e, err
	}
	if v, err = c.ask(ctx, cur.src(), nil); err != nil {
		return nil, err
	}
	return c.newEntry(v, cur.src(), true), nil
}

func (c *Cache) dead(id identity) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.graves.dead(id)
}

// fail records a failed read, unless a later one has succeeded.
func (c *Cache) fail(number uint64, err error) (Value, error) {
	now := c.set.time().UnixNano()
	least := time.Duration(0)
	if errors.Is(err, ErrNotFound) {
		least = notFoundCoolDown
	}
	c.mu.Lock()
	e := c.cur.Load()
	if e != nil && number < c.shown {
		c.mu.Unlock()
		return e.val, nil
	}
	c.failed.extend(now, least)
	c.failed.err, c.failed.told = err, false
	c.mu.Unlock()
	c.emit("failed", e, err)
	return Value{}, err
}

// publish makes e, from the read of that number, the current entry unless
// something better is, and returns what is current then.
func (c *Cache) publish(number uint64, e *entry) Value {
	c.mu.Lock()
	cur, dead := c.cur.Load(), c.graves.dead(e.id)
	if cur != nil && number < c.shown && (dead || !cur.rejected) {
		c.mu.Unlock() // a later read is out already, and no worse
		return cur.val
	}
	c.failed = failure{}
	kind, again := "rotated", cur != nil && cur.id == e.id
	switch {
	case again:
		kind = "loaded"
		e = e.copyWith(cur.rejected)
		e.accepted.Store(cur.accepted.Load())
	case dead && cur != nil && !cur.rejected && e.loaded < cur.val.end():
		// The store came back to a value that the service refused; the one in
		// use, from a fresher replica, stays for another TTL.
		e, kind = cur.keptLike(e), "loaded"
	case dead:
		e = e.buried()
	}
	if cur == nil {
		kind = "loaded"
	}
	c.shown = max(c.shown, number)
	c.cur.Store(e)
	if !e.rejected {
		c.recovery.nudge()
	}
	c.mu.Unlock()
	if kind == "rotated" && e.standby {
		kind = "promoted"
	}
	if !again || !e.rejected { // the rejected value again is no news
		c.emit(kind, e, nil)
	}
	return e.val
}

// load asks src, or the winner of a chain, and returns the very source that
// answered.
func (c *Cache) load(ctx context.Context, src Source) (Value, Source, error) {
	switch s := src.(type) {
	case *pair:
		return c.load(ctx, s.primary())
	case *Chain:
		c.mu.Lock()
		winner := c.winners[s]
		c.mu.Unlock()
		if winner != nil {
			return c.load(ctx, winner())
		}
		var leaf Source
		v, first, err := s.first(ctx, func(ctx context.Context, src Source) (Value, error) {
			v, from, err := c.load(ctx, src)
			leaf = from
			return v, err
		})
		if err == nil {
			c.mu.Lock()
			c.winners[s] = func() Source { return first }
			c.mu.Unlock()
		}
		return v, leaf, err
	}
	v, err := c.ask(ctx, src, nil)
	return v, src, err
}

// ask reads src once, in a goroutine of its own because a source may ignore
// its context, and checks what comes.
func (c *Cache) ask(ctx context.Context, src Source, r *Rejection) (Value, error) {
	name := sourceName(src)
	ctx, cancel := context.WithTimeout(ctx, c.set.timeout)
	defer cancel()
	type answer struct {
		v   Value
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		a := answer{err: &SourceError{Source: name, Op: "retrieve", Err: errors.New("the source ended its goroutine"), Transient: true}}
		defer func() {
			if p := recover(); p != nil {
				a = answer{err: panicError(name, p)}
			}
			answers <- a
		}()
		if renewer, ok := src.(Renewer); ok && r != nil {
			a.v, a.err = renewer.Renew(ctx, *r)
		} else {
			a.v, a.err = src.Retrieve(ctx)
		}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return Value{}, c.lasting(name, a.err)
		}
		return c.admit(name, a.v)
	case <-ctx.Done():
		return Value{}, &SourceError{Source: name, Op: "retrieve", Err: context.DeadlineExceeded, Transient: true,
			Hint: fmt.Sprintf("no answer within %v; check that the store can be reached from here", c.set.timeout)}
	}
}

// lasting makes "unavailable" a passing fault once the source has given a
// value: a file that is missing for the moment of its replacement, say.
func (c *Cache) lasting(name string, err error) error {
	if e := c.cur.Load(); e != nil && errors.Is(err, ErrUnavailable) && sourceName(e.src()) == name {
		return &SourceError{Source: name, Op: "retrieve", Err: errors.New("gone, after it was there: " + bare(err)), Transient: true}
	}
	return err
}

func (c *Cache) admit(name string, v Value) (Value, error) {
	if v.Source == "" {
		v.Source = name
	}
	if now := c.set.time(); !v.Expires.IsZero() && !v.Expires.After(now) {
		return Value{}, &SourceError{Source: v.Source, Op: "check the value", Transient: true,
			Err:  fmt.Errorf("it expired at %s", v.Expires.UTC().Format(time.RFC3339)),
			Hint: "check the clock here and at the issuer"}
	}
	return checked(v)
}

// panicError does not show the panic's value, which may hold anything, unless
// the runtime made it.
func panicError(name string, p any) error {
	what := fmt.Sprintf("panic with a %T", p)
	if re, ok := p.(runtime.Error); ok && madeByRuntime(p) {
		what = "panic: " + re.Error()
	}
	return &SourceError{Source: name, Op: "retrieve", Err: errors.New(what), Hint: "a bug in the source", Transient: true}
}

// madeByRuntime tells the runtime's own errors, whose text is about types and
// indexes, from what else has the method RuntimeError.
func madeByRuntime(p any) bool {
	t := reflect.TypeOf(p)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == "runtime"
}

// leaves counts the sources below src, each of which may take a timeout.
func leaves(src Source) int {
	switch s := src.(type) {
	case *pair:
		return leaves(s.primary()) + leaves(s.standby())
	case *Chain:
		n := 0
		for _, child := range s.list() {
			n += leaves(child)
		}
		return n
	case standbyer:
		if other := s.Standby(); other != nil {
			return 1 + leaves(other)
		}
	}
	return 1
}
