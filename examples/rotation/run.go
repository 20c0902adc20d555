package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/audit"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

// runCommand is one run of a rotator.
func runCommand(ctx context.Context, args []string, out, errs io.Writer) int {
	var p place
	flags := flag.NewFlagSet("rotation run", flag.ContinueOnError)
	p.flags(flags)
	plan := flags.Bool("plan", false, "only say what is due")
	now := flags.Bool("now", false, "the key has leaked: replace it at once")
	wait := flags.Bool("wait", false, "stay until the previous key is revoked")
	log := flags.String("audit", "", "append what is done to this `file`; LATCHKEY_AUDIT_KEY is the key to sign it, see package audit")
	if !parse(flags, args, errs) {
		return misused
	}
	e, code := p.open(errs)
	if code != done {
		return code
	}
	records, err := openAudit(ctx, *log, "rotation:"+p.store, errs)
	if err != nil {
		_, _ = fmt.Fprintln(errs, "rotation:", err)
		return misused
	}
	p.opts.OnEvent = records.event
	r, err := rotation.New(e.issuer, e.store, &p.opts)
	if err != nil {
		_, _ = fmt.Fprintln(errs, err)
		return misused
	}
	if *plan {
		return planned(ctx, r, out, errs)
	}
	code = repeated(ctx, r, *now, *wait, out, errs)
	if err := records.close(ctx); err != nil {
		_, _ = fmt.Fprintln(errs, "rotation:", err)
		return max(code, failed)
	}
	return code
}

func planned(ctx context.Context, r *rotation.Rotator, out, errs io.Writer) int {
	step, at, err := r.Plan(ctx)
	if err != nil {
		_, _ = fmt.Fprintln(errs, err)
		return failed
	}
	_, _ = fmt.Fprintln(out, "next:", due(step, at))
	return done
}

func due(step rotation.Step, at time.Time) string {
	if step == rotation.Wait {
		return "nothing before " + at.Format(time.RFC3339)
	}
	return string(step)
}

// repeated runs the rotator once, or until no previous key is left.
func repeated(ctx context.Context, r *rotation.Rotator, now, wait bool, out, errs io.Writer) int {
	run := r.Run
	if now {
		run = r.Now
	}
	for {
		report, err := run(ctx)
		tell(out, report)
		switch {
		case errors.Is(err, rotation.ErrConflict), err == nil && report.Busy:
			_, _ = fmt.Fprintln(errs, "rotation: another rotator is at work, or has died: run again after", report.Next.Format(time.RFC3339))
			return busy
		case err != nil:
			_, _ = fmt.Fprintln(errs, err)
			return failed
		case !wait || report.Previous == "":
			return done
		}
		select {
		case <-time.After(max(time.Second, time.Until(report.Next))):
			run = r.Run
		case <-ctx.Done():
			_, _ = fmt.Fprintln(errs, "rotation: interrupted; the previous key is revoked by a later run")
			return failed
		}
	}
}

// tell prints a report.
func tell(out io.Writer, r *rotation.Report) {
	steps := make([]string, 0, len(r.Steps))
	for _, s := range r.Steps {
		steps = append(steps, string(s))
	}
	if len(steps) == 0 {
		steps = []string{"nothing"}
	}
	_, _ = fmt.Fprintf(out, "done: %s\ncurrent: %s, pending: %s, previous: %s, orphans revoked: %d\n", strings.Join(steps, ", "), dash(r.Current), dash(r.Pending), dash(r.Previous), r.Orphans)
	if r.Unrevoked != "" {
		_, _ = fmt.Fprintf(out, "the key before, %s, was not made here and is NOT revoked: revoke it by hand\n", r.Unrevoked)
	}
	if !r.Next.IsZero() {
		_, _ = fmt.Fprintln(out, "next:", r.Next.Format(time.RFC3339))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// records writes events of rotations into an audit log, as events of a credential:
// the kind is "rotation-" and the step, the version is the token and the id of the key.
type records struct {
	log    *audit.Log // nil for none
	source string
}

func openAudit(ctx context.Context, path, source string, errs io.Writer) (*records, error) {
	r := &records{source: source}
	if path == "" {
		return r, nil
	}
	f, err := audit.OpenFile(path, nil)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	opts := &audit.Options{Writer: f, OnError: func(err error) { _, _ = fmt.Fprintln(errs, "rotation:", err) }}
	if os.Getenv("LATCHKEY_AUDIT_KEY") != "" {
		opts.SigningKey = credential.Env("LATCHKEY_AUDIT_KEY")
	}
	if r.log, err = audit.New(ctx, opts); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *records) event(e rotation.Event) {
	if r.log == nil {
		return
	}
	version := e.Token
	if e.KeyID != "" {
		version += " " + e.KeyID
	}
	r.log.OnEvent(credential.Event{Kind: credential.EventKind("rotation-" + e.Step), Time: e.Time, Source: r.source, Version: version, Err: e.Err})
}

func (r *records) close(ctx context.Context) error {
	if r.log == nil {
		return nil
	}
	return r.log.Close(ctx) //nolint:wrapcheck // it names itself
}
