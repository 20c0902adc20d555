// Storm rotates a key while 200 goroutines call, and prints for each mode of
// rotation and each client what that cost. See the README.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/bench/storm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

// deadRun is long enough to see what follows the grace.
const deadRun = 9 * time.Second

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("storm", flag.ContinueOnError)
	only := flags.String("run", ".", "regular expression over the `clients` to run")
	modes := flags.String("modes", "", "comma-separated `modes`; empty means all")
	callers := flags.Int("clients", 200, "goroutines that call without a pause")
	duration := flags.Duration("duration", 4*time.Second, "of each run; the mode dead takes at least 9s")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return fmt.Errorf("storm: %w", err)
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("storm: -run: %w", err)
	}
	selected, err := pick(*modes)
	if err != nil {
		return err
	}
	for _, m := range selected {
		plan := storm.Plan{Mode: m, Callers: *callers, Duration: *duration, Times: storm.DefaultTimes()}
		if m.Name == "dead" {
			plan.Duration = max(plan.Duration, deadRun)
		}
		if err := table(ctx, plan, pattern, out); err != nil {
			return err
		}
	}
	return nil
}

func pick(names string) ([]storm.Mode, error) {
	if names == "" {
		return storm.Modes(), nil
	}
	var out []storm.Mode
	for name := range strings.SplitSeq(names, ",") {
		n := len(out)
		for _, m := range storm.Modes() {
			if m.Name == name {
				out = append(out, m)
			}
		}
		if len(out) == n {
			return nil, fmt.Errorf("storm: -modes: no mode %q", name)
		}
	}
	return out, nil
}

func table(ctx context.Context, plan storm.Plan, only *regexp.Regexp, out io.Writer) error {
	var rows []storm.Row
	for _, c := range storm.Contenders() {
		if !only.MatchString(c.Name) {
			continue
		}
		plan.Contender = c
		r, err := storm.Run(ctx, plan)
		if err != nil {
			return err //nolint:wrapcheck // says where
		}
		if ctx.Err() != nil {
			return fmt.Errorf("storm: %w", context.Cause(ctx))
		}
		rows = append(rows, storm.Row{Contender: c.Name, Result: r})
	}
	return storm.WriteTable(out, plan.Mode, rows) //nolint:wrapcheck // says where
}
