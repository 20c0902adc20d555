package hashivault

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A group runs one piece of work at a time, for all who ask for it meanwhile.
// The work belongs to none of them: each leaves by its own context.
type group struct {
	mu  sync.Mutex
	cur *flight
}

type flight struct {
	done  chan struct{}
	until time.Time // wall time; past it a frozen process has left it behind
	err   error     // set before done closes
}

func (f *flight) over(now time.Time) bool {
	select {
	case <-f.done:
		return true
	default:
		return now.After(f.until)
	}
}

var errNoAnswer = errors.New("the work ended without an answer")

// do joins the work that is under way, or starts work.
func (g *group) do(ctx context.Context, now func() time.Time, work func(context.Context) error) error {
	g.mu.Lock()
	f := g.cur
	if t := now(); f == nil || f.over(t) {
		f = &flight{done: make(chan struct{}), until: t.Add(workTimeout + time.Second), err: errNoAnswer}
		g.cur = f
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), workTimeout)
		go func() {
			defer close(f.done)
			defer cancel()
			// A login is foreign code. What it panics with may be a secret.
			defer func() {
				if recover() != nil {
					f.err = failed(detached, "log in", final("the login panicked"), "report it to the author of Options.Auth")
				}
			}()
			f.err = work(detached)
		}()
	}
	g.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return failed(ctx, "wait for Vault", ctx.Err(), "")
	}
}
