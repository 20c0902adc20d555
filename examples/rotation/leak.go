package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/rotation"
)

// leakCommand tells how long it takes until a leaked key is replaced.
func leakCommand(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("rotation leak", flag.ContinueOnError)
	n := flags.Int("n", 1000, "how many processes")
	if !parse(flags, args, errs) {
		return misused
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "TTL\treaders learn by\tlast reader on the new key after\tleaked key revoked after\treads in the busiest second\trefused first\tcalls\tfailed")
	code := done
	for _, ttl := range []time.Duration{time.Minute, 5 * time.Minute} {
		for _, how := range []string{"TTL", "event", "refusal"} {
			l, err := leakOf(ctx, *n, ttl, how)
			if err != nil {
				_, _ = fmt.Fprintln(errs, "rotation:", err)
				return failed
			}
			_, _ = fmt.Fprintf(w, "%v\t%s\t%v\t%v\t%d\t%d\t%d\t%d\n", ttl, how, l.last, l.revoked, l.busiest, l.replays, l.calls, l.failed)
			if l.failed > 0 {
				code = failed
			}
		}
	}
	_ = w.Flush()
	return code
}

// A leak is what came of one, in times since the call of Now.
type leak struct {
	last, revoked                   time.Duration
	busiest, replays, calls, failed int
}

// leakOf plays one leak. Each process makes a call each second. How they learn of the
// new key: when the TTL is over, by an event that arrives a second after the promotion,
// or by a 401, because the leaked key is revoked without regard to the TTL.
func leakOf(ctx context.Context, n int, ttl time.Duration, how string) (*leak, error) {
	opts := rotation.Options{}
	if how == "refusal" {
		opts.ReadersTTL = time.Second
	}
	s, end, err := newSim(ctx, n, ttl, 2*ttl, time.Second, opts)
	if end != nil {
		defer end()
	}
	if err != nil {
		return nil, err
	}
	at := 2 * ttl // the leak is noticed
	l := &leak{revoked: -1}
	err = s.play(ctx, at+2*ttl+time.Minute, func(second time.Duration) error {
		switch {
		case second == at:
			return s.rotate(ctx, s.rotator.Now)
		case second < at || l.revoked >= 0:
			return nil
		case second == at+time.Second && how == "event":
			s.push(ctx)
		}
		report, err := s.rotator.Run(ctx) // as run -wait does, when it is time
		if err == nil && report.Previous == "" {
			l.revoked = second - at
		}
		return err
	})
	l.last = max(0, s.lastOld-at).Round(time.Second)
	for _, reads := range s.reads[int(at/time.Second):] {
		l.busiest = max(l.busiest, reads)
	}
	l.replays, l.calls, l.failed = s.replays, s.calls, s.failed
	return l, err
}

// push tells each process of the new key.
func (s *sim) push(ctx context.Context) {
	for _, p := range s.fleet {
		_, _ = p.cache.Refresh(ctx)
	}
}
