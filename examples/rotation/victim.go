package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/rotation"
)

// victimVariable is how the rehearsal tells a process of its own when to die.
const victimVariable = "LATCHKEY_REHEARSAL_VICTIM"

// An order is what is in it.
type order struct {
	At     int
	Answer bool
	Aged   bool
	Jumps  []jump
}

const killedAt = "killed at "

// victimCommand is one run of a rotator that kills its own process, as the rehearsal
// orders. It prints the steps that it has done.
func victimCommand(ctx context.Context, args []string, out, errs io.Writer) int {
	var p place
	flags := flag.NewFlagSet("rotation victim", flag.ContinueOnError)
	p.flags(flags)
	if !parse(flags, args, errs) {
		return misused
	}
	var o order
	if json.Unmarshal([]byte(os.Getenv(victimVariable)), &o) != nil {
		_, _ = fmt.Fprintln(errs, "rotation: victim is for -rehearse only")
		return misused
	}
	e, code := p.open(errs)
	if code != done {
		return code
	}
	c := &clock{jumps: o.Jumps}
	if o.Aged {
		e.issuer = aged{e.issuer, c}
	}
	t := &tap{at: o.At, answer: o.Answer, kill: func(call string) {
		_, _ = fmt.Fprintln(out, killedAt+call)
		if p, err := os.FindProcess(os.Getpid()); err == nil {
			_ = p.Kill()
		}
		select {} // until the system has done it
	}}
	e = t.on(e)
	p.opts.Now = c.now
	p.opts.OnEvent = func(ev rotation.Event) {
		if ev.Err == nil && ev.Step != rotation.End {
			_, _ = fmt.Fprintln(out, ev.Step)
		}
	}
	r, err := rotation.New(e.issuer, e.store, &p.opts)
	if err != nil {
		_, _ = fmt.Fprintln(errs, err)
		return misused
	}
	if _, err = r.Run(ctx); err != nil {
		_, _ = fmt.Fprintln(errs, err)
		return failed
	}
	return done
}

// A killing is how a victim dies.
type killing struct {
	order
	after time.Duration // from outside, so long after its start; 0 is by itself
}

// victim runs a rotator in a process of its own, which is killed.
func (w *world) victim(ctx context.Context, k killing) (*rotation.Report, error) {
	k.Jumps, k.Aged = w.clock.all(), w.service == nil
	text, err := json.Marshal(k.order)
	if err != nil {
		return nil, err //nolint:wrapcheck // it cannot fail
	}
	program, err := os.Executable()
	if err != nil {
		return nil, &brokenError{err}
	}
	args := []string{"victim", "-store", w.storeRef, "-issuer", w.issuerRef, "-name", w.opts.Name, "-readers-ttl", w.opts.ReadersTTL.String()}
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // this program
	cmd.Env = append(append(os.Environ(), w.env...), victimVariable+"="+string(text))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		return nil, &brokenError{err}
	}
	if k.after > 0 {
		timer := time.AfterFunc(k.after, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	err = cmd.Wait()
	report := &rotation.Report{}
	died := false
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, killedAt) {
			died = true
		} else {
			report.Steps = append(report.Steps, rotation.Step(line))
		}
	}
	switch {
	case err == nil, k.after > 0:
		return report, errDead
	case !died:
		return report, &brokenError{fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))}
	}
	w.kills++
	return report, errDead
}

// A brokenError says that the rehearsal itself does not work.
type brokenError struct{ err error }

func (b *brokenError) Error() string { return "the rehearsal cannot go on: " + b.err.Error() }
func (b *brokenError) Unwrap() error { return b.err }

func broken(err error) bool { return errors.As(err, new(*brokenError)) }
