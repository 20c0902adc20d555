package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/rotation"
)

// statusCommand shows what the store and the issuer hold.
func statusCommand(ctx context.Context, args []string, out, errs io.Writer) int {
	var p place
	flags := flag.NewFlagSet("rotation status", flag.ContinueOnError)
	p.flags(flags)
	if !parse(flags, args, errs) {
		return misused
	}
	e, code := p.open(errs)
	if code != done {
		return code
	}
	if err := status(ctx, out, e, &p.opts, time.Now()); err != nil {
		_, _ = fmt.Fprintln(errs, "rotation:", err)
		return failed
	}
	return done
}

// A row is a version in the store, a key at the issuer, or both.
type row struct {
	role, token string
	version     *rotation.Version // nil: the store does not know the key
	key         *rotation.Key     // nil: the issuer does not have it
}

func status(ctx context.Context, out io.Writer, e *ends, opts *rotation.Options, now time.Time) error {
	state, err := e.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	keys, err := e.issuer.Keys(ctx)
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	rows, others := sideBySide(state, keys, opts.Name)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "\tversion\tkey\tin the store since\tat the issuer\tage\tlast used\texpires in")
	for _, r := range rows {
		_, _ = fmt.Fprintln(w, strings.Join(r.cells(now), "\t"))
	}
	if err := w.Flush(); err != nil {
		return err //nolint:wrapcheck // of the terminal
	}
	if others > 0 {
		_, _ = fmt.Fprintf(out, "%d other keys at the issuer, which are left alone\n", others)
	}
	r, err := rotation.New(e.issuer, e.store, opts)
	if err != nil {
		return err //nolint:wrapcheck // it names itself
	}
	step, at, err := r.Plan(ctx)
	if err != nil {
		return err //nolint:wrapcheck // it names itself
	}
	_, _ = fmt.Fprintln(out, "the next run:", due(step, at))
	return nil
}

// sideBySide pairs versions with keys, and counts the keys that are none of ours.
func sideBySide(s rotation.State, keys []rotation.Key, name string) (rows []row, others int) {
	known := make([]bool, len(keys))
	for _, r := range []row{{role: "current", version: s.Current}, {role: "pending", version: s.Pending}, {role: "previous", version: s.Previous}} {
		if r.version == nil {
			continue
		}
		r.token = r.version.Token
		for i := range keys {
			if k := &keys[i]; k.ID == r.version.KeyID && k.ID != "" || k.Name == r.token {
				known[i], r.key = true, k
			}
		}
		rows = append(rows, r)
	}
	for i := range keys {
		switch {
		case known[i]:
		case strings.HasPrefix(keys[i].Name, name+"/"):
			rows = append(rows, row{role: "orphan", token: keys[i].Name, key: &keys[i]})
		default:
			others++
		}
	}
	return rows, others
}

func (r *row) cells(now time.Time) []string {
	c := []string{r.role, r.token, "-", "-", "no", "-", "-", "-"}
	if v := r.version; v != nil {
		since := slices.MaxFunc([]time.Time{v.Prepared, v.Issued, v.Promoted}, time.Time.Compare)
		c[2], c[3], c[7] = dash(v.KeyID), stamp(since), left(v.Expires, now)
		if v.KeyID == "" && v.Secret.IsZero() {
			c[4] = "not issued yet"
		} else if v.KeyID == "" {
			c[4] = "not known"
		}
	}
	if k := r.key; k != nil {
		c[2], c[4] = k.ID, "yes"
		if !k.Created.IsZero() {
			c[5] = round(now.Sub(k.Created))
		}
		if !k.LastUsed.IsZero() {
			c[6] = round(now.Sub(k.LastUsed)) + " ago"
		}
		if !k.Expires.IsZero() {
			c[7] = left(k.Expires, now)
		}
	}
	return c
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func left(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return round(t.Sub(now))
}

func round(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	}
	return max(0, d).Round(time.Second).String()
}
