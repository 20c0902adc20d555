package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/openaitest"
	"github.com/latchkey-go/latchkey/rotation"
)

const (
	month   = 30 * 24 * time.Hour
	overlap = 24 * time.Hour
	// mostRuns is more than a rotation needs after any fault here.
	mostRuns = 40
)

// A fault is what is done to one rotation.
type fault struct {
	name string
	// is how the issuer is during it.
	is openaitest.Behavior
	// failing is for how many runs it is so, at the most; 0 is for all of them.
	failing int
	// rotating and retiring are the first run for the new key, and the first one that
	// revokes the old key; nil is a plain one.
	rotating, retiring runner
}

// A result is what came of it.
type result struct {
	fault                  string
	steps                  []rotation.Step
	runs, orphans          int
	calls, failed, refused int64
	keys                   int
	problem                error
}

// trial is one rotation with a fault, from the due date until no old key is left.
func (w *world) trial(ctx context.Context, f *fault) *result {
	r := &result{fault: f.name}
	calls, failed, refused := w.load.calls.Load(), w.load.failed.Load(), w.load.refused.Load()
	r.problem = w.rotate(ctx, f, r)
	if w.service != nil {
		w.service.Behave(openaitest.Behavior{})
	}
	if r.problem == nil {
		r.problem = w.rest(ctx, r)
	}
	r.calls, r.failed, r.refused = w.load.calls.Load()-calls, w.load.failed.Load()-failed, w.load.refused.Load()-refused
	if first := w.load.first.Load(); r.problem == nil && r.failed > 0 && first != nil {
		r.problem = *first
	}
	return r
}

func (w *world) rotate(ctx context.Context, f *fault, r *result) error {
	before, err := w.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if before.Current != nil {
		w.passUntil(before.Current.Promoted.Add(month))
	}
	if w.service != nil {
		w.service.Behave(f.is)
	}
	rotated := func(s rotation.State) bool {
		return s.Current != nil && s.Pending == nil && (before.Current == nil || s.Current.Token != before.Current.Token)
	}
	if err := w.until(ctx, f, f.rotating, r, "a new key", rotated); err != nil {
		return err
	}
	if err := w.works(ctx, before.Current); err != nil {
		return err
	}
	// By the clock of the machine, readers have had the time that Overlap has to give.
	if err := wait(ctx, 2*w.ttl); err != nil {
		return err
	}
	w.pass(overlap + time.Hour)
	return w.until(ctx, f, f.retiring, r, "an end of the old key", func(s rotation.State) bool { return s.Previous == nil })
}

// works checks that the previous key works for readers that have not read again.
func (w *world) works(ctx context.Context, v *rotation.Version) error {
	switch {
	case v == nil:
	case w.service == nil:
		if err := w.issuer.Prove(ctx, v.Secret); err != nil {
			return fmt.Errorf("the previous key does not work any more: %w", err)
		}
	case !w.service.Accepts(v.Secret.Reveal()):
		return errors.New("the previous key does not work any more, and readers may have it still")
	}
	return nil
}

// until lets runs follow each other until the store is as it should be, and one has
// found nothing wrong.
func (w *world) until(ctx context.Context, f *fault, first runner, r *result, what string, is func(rotation.State) bool) error {
	run := first
	var last error
	for n := range mostRuns {
		if run == nil {
			run = plain
		}
		if f.failing > 0 && n == f.failing && w.service != nil {
			w.service.Behave(openaitest.Behavior{})
		}
		report, err := run(ctx, w)
		r.runs++
		if broken(err) || ctx.Err() != nil {
			return err
		}
		if report != nil {
			r.steps, r.orphans = append(r.steps, report.Steps...), r.orphans+report.Orphans
		}
		if err != nil && !errors.Is(err, errDead) {
			last = err
		}
		s, loadErr := w.store.Load(ctx)
		if loadErr != nil {
			return fmt.Errorf("store: %w", loadErr)
		}
		if is(s) && err == nil {
			return nil
		}
		w.pass(6 * time.Minute)          // the next one by the timer, when a dead one has had its time
		if report != nil && err == nil { // else Next may be the end of the overlap
			w.passUntil(report.Next)
		}
		run = nil
	}
	return fmt.Errorf("%d runs have not brought %s: %w", mostRuns, what, last)
}

// rest looks for orphans, and at what is left.
func (w *world) rest(ctx context.Context, r *result) error {
	w.pass(2 * time.Hour)
	report, err := plain(ctx, w)
	r.runs++
	if err != nil {
		return err
	}
	r.orphans += report.Orphans
	s, err := w.store.Load(ctx)
	if err != nil || s.Current == nil || s.Pending != nil || s.Previous != nil {
		return errors.Join(err, errors.New("the store is not at rest"))
	}
	if err := w.issuer.Prove(ctx, s.Current.Secret); err != nil {
		return fmt.Errorf("the current key does not work: %w", err)
	}
	keys, err := w.issuer.Keys(ctx)
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	current := false
	for _, k := range keys {
		if current = current || k.ID == s.Current.KeyID; strings.HasPrefix(k.Name, w.opts.Name+"/") || k.ID == s.Current.KeyID {
			r.keys++
		}
	}
	if r.keys != 1 || !current {
		return fmt.Errorf("the issuer has %d keys of this rotation, want the current one", r.keys)
	}
	return nil
}

func (w *world) pass(d time.Duration) {
	if w.service == nil { // an issuer that tells whole seconds
		<-time.After(1100 * time.Millisecond)
	}
	w.clock.pass(d)
}

func (w *world) passUntil(t time.Time) {
	if d := t.Sub(w.clock.now()); d > 0 && !t.IsZero() {
		w.pass(d + time.Second)
	}
}
