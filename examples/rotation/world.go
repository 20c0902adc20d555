package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/openaitest"
	"github.com/latchkey-go/latchkey/rotation"
)

// A world is where a rehearsal takes place.
type world struct {
	*ends
	storeRef, issuerRef string
	clock               *clock
	opts                rotation.Options
	ttl                 time.Duration       // of the readers, by the clock of the machine
	service             *openaitest.Service // nil for a staging account
	plain               rotation.Issuer     // of a staging account, by the clock of the machine
	env                 []string            // of victims
	load                *readers
	kills               int // victims that died where they should
	close               []func()
}

// stage opens a staging account.
func stage(storeRef, issuerRef string) (*world, error) {
	e, err := openEnds(storeRef, issuerRef)
	if err != nil {
		return nil, err
	}
	w := &world{ends: e, storeRef: storeRef, issuerRef: issuerRef, clock: &clock{}, ttl: 5 * time.Second}
	w.plain, w.issuer = w.issuer, aged{w.issuer, w.clock}
	w.opts.Now = w.clock.now
	return w, nil
}

func (w *world) end() {
	if w.load != nil {
		w.load.end()
	}
	for i := len(w.close) - 1; i >= 0; i-- {
		w.close[i]()
	}
}

// A runner is one run of a rotator, in one way or another.
type runner func(ctx context.Context, w *world) (*rotation.Report, error)

// rotator returns one at the ends e.
func (w *world) rotator(e *ends) (*rotation.Rotator, error) {
	r, err := rotation.New(e.issuer, e.store, &w.opts)
	if err != nil {
		return nil, &brokenError{err}
	}
	return r, nil
}

func plain(ctx context.Context, w *world) (*rotation.Report, error) {
	return tapped(&tap{})(ctx, w)
}

func tapped(t *tap) runner {
	return func(ctx context.Context, w *world) (*rotation.Report, error) {
		r, err := w.rotator(t.on(w.ends))
		if err != nil {
			return nil, err
		}
		return r.Run(ctx) //nolint:wrapcheck // it names itself
	}
}

func killed(k killing) runner {
	return func(ctx context.Context, w *world) (*rotation.Report, error) { return w.victim(ctx, k) }
}

func leaked(ctx context.Context, w *world) (*rotation.Report, error) {
	r, err := w.rotator(w.ends)
	if err != nil {
		return nil, err
	}
	return r.Now(ctx) //nolint:wrapcheck // it names itself
}

// crowd starts n rotators at once.
func crowd(n int) runner {
	return func(ctx context.Context, w *world) (*rotation.Report, error) {
		var crew sync.WaitGroup
		reports, errs := make([]*rotation.Report, n), make([]error, n)
		for i := range n {
			crew.Go(func() { reports[i], errs[i] = plain(ctx, w) })
		}
		crew.Wait()
		sum := &rotation.Report{}
		for i, r := range reports {
			if errors.Is(errs[i], rotation.ErrConflict) {
				errs[i] = nil
			}
			if r != nil {
				sum.Steps, sum.Orphans = append(sum.Steps, r.Steps...), sum.Orphans+r.Orphans
			}
		}
		return sum, errors.Join(errs...)
	}
}

// wait waits by the clock of the machine.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
}
