package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/rotation"
)

// fleetCommand simulates many processes over one rotation.
func fleetCommand(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("rotation fleet", flag.ContinueOnError)
	n := flags.Int("n", 1000, "how many processes")
	svg := flags.String("svg", "", "write the curve to this `file`")
	ttl := flags.Duration("ttl", 5*time.Minute, "the TTL of their Cache")
	overlap := flags.Duration("overlap", 0, "how long the old key works on; 0 is twice the TTL")
	gap := flags.Duration("gap", 10*time.Second, "the time between two calls of a process, in whole seconds")
	if !parse(flags, args, errs) {
		return misused
	}
	if *overlap == 0 {
		*overlap = 2 * *ttl
	}
	if *n < 1 || *gap < time.Second || *ttl < time.Minute {
		_, _ = fmt.Fprintln(errs, "rotation: -n is at least 1, -gap a second, -ttl a minute")
		return misused
	}
	c, err := simulate(ctx, *n, *ttl, *overlap, *gap)
	if err == nil && *svg != "" {
		err = os.WriteFile(*svg, c.svg(), 0o644) //nolint:gosec // a picture, for all to see
	}
	if err != nil {
		_, _ = fmt.Fprintln(errs, "rotation:", err)
		return failed
	}
	c.tell(out)
	if c.failed > 0 {
		return failed
	}
	return done
}

// A curve is what the store sees of a fleet.
type curve struct {
	*sim
	end time.Duration
}

// simulate plays a start of all processes, a rotation after 10 minutes, and what comes
// until 10 minutes after the old key has gone.
func simulate(ctx context.Context, n int, ttl, overlap, gap time.Duration) (*curve, error) {
	s, end, err := newSim(ctx, n, ttl, overlap, gap, rotation.Options{Quiet: time.Second})
	if end != nil {
		defer end()
	}
	if err != nil {
		return nil, err
	}
	c := &curve{s, 20*time.Minute + overlap}
	err = s.play(ctx, c.end, func(second time.Duration) error {
		if second%time.Minute != 0 {
			return nil
		}
		return s.rotate(ctx, s.rotator.Run)
	})
	for len(s.reads) < int(c.end/time.Second) {
		s.reads = append(s.reads, 0)
	}
	return c, err
}

// mean is the reads per second after the start.
func (c *curve) mean() float64 {
	sum := 0
	for _, n := range c.reads[1:] {
		sum += n
	}
	return float64(sum) / float64(len(c.reads)-1)
}

// peak is the most reads in one second after the start.
func (c *curve) peak() int { return slices.Max(c.reads[1:]) }

// formula is the mean by what the Cache does: a refresh comes after 72 to 80 % of the
// TTL, and then with the next call.
func (c *curve) formula() float64 {
	return float64(len(c.fleet)) / (0.76*c.ttl.Seconds() + c.gap.Seconds()/2)
}

func (c *curve) tell(out io.Writer) {
	n := float64(len(c.fleet))
	_, _ = fmt.Fprintf(out, "%d processes, TTL %v, overlap %v, a call every %v\n", len(c.fleet), c.ttl, c.overlap, c.gap)
	_, _ = fmt.Fprintf(out, "calls: %d, failed: %d, refused first: %d\n", c.calls, c.failed, c.replays)
	_, _ = fmt.Fprintf(out, "last use of the old key: %v after the new one was there\n", (c.lastOld - c.promoted).Round(time.Second))
	_, _ = fmt.Fprintf(out, "store reads per second: mean %.2f, N/(0.76 TTL + gap/2) is %.2f; peak %d; N/(0.5 overlap) is %.2f\n",
		c.mean(), c.formula(), c.peak(), n/(0.5*c.overlap.Seconds()))
	const million = 1e6
	_, _ = fmt.Fprintf(out, "for 1,000,000 processes: mean %.0f, peak %.0f\n", c.mean()/n*million, float64(c.peak())/n*million)
}
