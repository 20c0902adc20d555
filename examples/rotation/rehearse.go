package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"
)

// rehearseCommand rehearses rotations.
func rehearseCommand(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("rotation -rehearse", flag.ContinueOnError)
	var r rehearsal
	flags.StringVar(&r.embedded, "embed", directory, "the `kind` of store that the rehearsal has of its own: directory or secretsmanager")
	flags.StringVar(&r.store, "store", "", "a staging store; default is one of its own")
	flags.StringVar(&r.issuer, "issuer", "", "a staging account, whose key is rotated many times; default is an issuer of its own")
	flags.StringVar(&r.audit, "audit", "", "append what is done to this `file`")
	flags.StringVar(&r.name, "name", "latchkey", "the beginning of the names of keys")
	flags.IntVar(&r.readers, "readers", 50, "how many readers make calls")
	flags.BoolVar(&r.quick, "quick", false, "a part of the faults only")
	if !parse(flags, args, errs) {
		return misused
	}
	switch {
	case r.embedded != directory && r.embedded != secretsManager:
		_, _ = fmt.Fprintf(errs, "rotation: -embed %q: want directory or secretsmanager\n", r.embedded)
		return misused
	case (r.store == "") != (r.issuer == "") || r.readers < 1:
		_, _ = fmt.Fprintln(errs, "rotation: -store and -issuer go together, and there has to be a reader")
		return misused
	}
	problems, err := r.play(ctx, out, errs)
	if err != nil {
		_, _ = fmt.Fprintln(errs, "rotation:", err)
		return failed
	}
	if problems > 0 {
		return failed
	}
	return done
}

// A rehearsal is what the flags say.
type rehearsal struct {
	embedded, store, issuer, audit, name string
	readers                              int
	quick                                bool
}

func (r *rehearsal) play(ctx context.Context, out, errs io.Writer) (problems int, err error) {
	begin := time.Now()
	w, err := r.world()
	if err != nil {
		return 0, err
	}
	defer w.end()
	records, err := openAudit(ctx, r.audit, "rotation:"+w.storeRef, errs)
	if err != nil {
		return 0, err
	}
	w.opts.Name, w.opts.OnEvent = r.name, records.event
	if _, err := plain(ctx, w); err != nil { // readers need a key
		return 0, err
	}
	pause := 50 * time.Millisecond
	if w.service == nil {
		pause = time.Second
	}
	if w.load, err = startReaders(ctx, r.readers, w.ends, w.ttl, pause, w.service == nil); err != nil {
		return 0, err
	}
	faults, err := r.faults(ctx, w)
	if err != nil {
		return 0, err
	}
	_, _ = fmt.Fprintf(out, "%-62s %6s %5s %6s %7s %8s %5s %8s\n", "fault", "steps", "runs", "calls", "failed", "refused", "keys", "orphans")
	for i := range faults {
		t := w.trial(ctx, &faults[i])
		_, _ = fmt.Fprintf(out, "%-62s %6d %5d %6d %7d %8d %5d %8d\n", t.fault, len(t.steps), t.runs, t.calls, t.failed, t.refused, t.keys, t.orphans)
		if t.problem != nil {
			problems++
			_, _ = fmt.Fprintf(out, "  FAILED: %v\n", t.problem)
		}
		if ctx.Err() != nil || broken(t.problem) {
			break
		}
	}
	if w.service == nil {
		err = settle(ctx, w)
	}
	w.load.end()
	if closeErr := records.close(ctx); err == nil {
		err = closeErr
	}
	verdict(out, w, len(faults), problems, time.Since(begin))
	return problems, err
}

func (r *rehearsal) world() (*world, error) {
	if r.store == "" {
		return embed(r.embedded)
	}
	return stage(r.store, r.issuer)
}

// faults are what is rehearsed. A staging account has only those that need no
// influence on the issuer.
func (r *rehearsal) faults(ctx context.Context, w *world) ([]fault, error) {
	rotating, retiring, err := w.probe(ctx)
	if err != nil {
		return nil, err
	}
	every := 1
	if r.quick {
		every = 5 // odd, so that there are deaths before and after
	}
	list := slices.Concat(others(), kills(rotating, retiring, every), losses(rotating, retiring, 5))
	if w.service != nil {
		list = slices.Concat(list, random(6/every), issuers())
	}
	return list, nil
}

// settle puts the staging account back to the clock of the machine: the rehearsal has
// left times of its own in the store, by which the next rotation would be late.
func settle(ctx context.Context, w *world) error {
	w.opts.Now = time.Now
	w.issuer = w.plain
	_, err := leaked(ctx, w)
	return err
}

func verdict(out io.Writer, w *world, faults, problems int, took time.Duration) {
	word := "PASS"
	if problems > 0 {
		word = "FAIL"
	}
	_, _ = fmt.Fprintf(out, "\n%s: %d faults, %d of them with a problem; %d processes killed at a call; %d calls of readers, %d failed, %d of them with a key that was refused first; %v\n",
		word, faults, problems, w.kills, w.load.calls.Load(), w.load.failed.Load(), w.load.refused.Load(), took.Round(time.Second))
}
