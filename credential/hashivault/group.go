package hashivault

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A group runs one piece of work at a time, for all who ask for it meanwhile.
// The work belongs to none of them: each leaves by its own context.
type group[T any] struct {
	mu  sync.Mutex
	cur *flight[T]
}

type flight[T any] struct {
	done  chan struct{}
	until time.Time // wall time; past it a frozen process has left it behind
	val   T         // set before done closes
	err   error
}

func (f *flight[T]) over(now time.Time) bool {
	select {
	case <-f.done:
		return true
	default:
		return now.After(f.until)
	}
}

var errNoAnswer = errors.New("the work ended without an answer")

// do joins the work that is under way, or starts work. now is the wall clock.
func (g *group[T]) do(ctx context.Context, now time.Time, work func(context.Context) (T, error)) (T, error) {
	g.mu.Lock()
	f := g.cur
	if f == nil || f.over(now) {
		f = &flight[T]{done: make(chan struct{}), until: now.Add(workTimeout + time.Second), err: errNoAnswer}
		g.cur = f
		go f.run(context.WithoutCancel(ctx), work)
	}
	g.mu.Unlock()
	select {
	case <-f.done:
		return f.val, f.err
	case <-ctx.Done():
		var none T
		return none, failed(ctx, "wait for Vault", ctx.Err(), "")
	}
}

func (f *flight[T]) run(ctx context.Context, work func(context.Context) (T, error)) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer close(f.done)
	defer cancel()
	defer func() {
		// A login may be foreign code. What it panics with may be a secret.
		if recover() != nil {
			f.err = failed(ctx, "log in", final("the login panicked"), "report it to the author of Options.Auth")
		}
	}()
	f.val, f.err = work(ctx)
}
