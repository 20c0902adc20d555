package leaf

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrEnded is the error of work that panicked, or ended its goroutine. The
// value of the panic is dropped: it may hold anything.
var ErrEnded = errors.New("it ended without an answer")

// Detached runs work in a goroutine of its own and leaves it when ctx ends,
// with the cause of ctx. It is for SDKs and other foreign code that may ignore
// its context. The goroutine ends with the work.
func Detached[T any](ctx context.Context, work func(context.Context) (T, error)) (T, error) {
	f := newFlight[T](time.Time{})
	go f.run(ctx, work)
	return f.wait(ctx)
}

// A Group runs one piece of work at a time, for all who ask for it meanwhile.
// The work belongs to none of them: each leaves by its own context. The zero
// value is ready to use.
type Group[T any] struct {
	mu  sync.Mutex
	cur *flight[T]
}

// Do joins the work that is under way, or starts work with that limit. It
// returns the result, or the cause of ctx when that ends first. now is the wall
// clock: work that is past its limit, because the process was frozen or the
// work ignores its context, is not joined.
func (g *Group[T]) Do(ctx context.Context, now time.Time, limit time.Duration, work func(context.Context) (T, error)) (T, error) {
	g.mu.Lock()
	f := g.cur
	if f == nil || f.over(now) {
		f = newFlight[T](now.Add(limit + time.Second))
		g.cur = f
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
			defer cancel()
			f.run(ctx, work)
		}()
	}
	g.mu.Unlock()
	return f.wait(ctx)
}

// A flight is work under way.
type flight[T any] struct {
	done  chan struct{}
	until time.Time // wall time
	val   T         // set before done closes
	err   error
}

func newFlight[T any](until time.Time) *flight[T] {
	return &flight[T]{done: make(chan struct{}), until: until, err: ErrEnded}
}

func (f *flight[T]) over(now time.Time) bool {
	select {
	case <-f.done:
		return true
	default:
		return now.After(f.until)
	}
}

func (f *flight[T]) run(ctx context.Context, work func(context.Context) (T, error)) {
	defer close(f.done)
	defer func() { _ = recover() }() // f.err tells
	f.val, f.err = work(ctx)
}

func (f *flight[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-f.done:
		return f.val, f.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
