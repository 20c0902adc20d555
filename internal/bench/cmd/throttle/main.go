// Throttle runs clients against a service that limits its rate, and prints for
// each scenario what that cost each client. All clients run at the same time,
// each against a limit of its own. See the README.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/latchkey-go/latchkey/internal/bench/throttle"
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

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("throttle", flag.ContinueOnError)
	flags.SetOutput(out)
	const list = "comma-separated `names`; empty means all: "
	scenarios := flags.String("scenario", "", list+strings.Join(names(throttle.Scenarios(), scenarioName), ", "))
	clients := flags.String("clients", "", list+strings.Join(names(throttle.Contenders(), clientName), ", "))
	svg := flags.String("svg", "", "`file` for the chart")
	md := flags.String("md", "", "`file` for the tables; empty means standard output alone")
	summary := flags.String("summary", "", "`file` for a table with one row for each scenario")
	quick := flags.Bool("quick", false, "a third of the calls and of the time")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return fmt.Errorf("throttle: %w", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("throttle: unknown argument %q; see -help", flags.Arg(0))
	}
	chosen, err := pick("-scenario", *scenarios, throttle.Scenarios(), scenarioName)
	if err != nil {
		return err
	}
	contenders, err := pick("-clients", *clients, throttle.Contenders(), clientName)
	if err != nil {
		return err
	}
	if *quick {
		for i, s := range chosen {
			chosen[i] = s.Quick()
		}
	}
	return report(ctx, chosen, contenders, out, files{*md, *svg, *summary})
}

// files are where a report goes; empty names are for none.
type files struct{ md, svg, summary string }

func scenarioName(s throttle.Scenario) string { return s.Name }

func clientName(c throttle.Contender) string { return c.Name }

func names[T any](all []T, name func(T) string) []string {
	var out []string
	for _, x := range all {
		out = append(out, name(x))
	}
	return out
}

// pick returns those of all that a flag names, in the flag's order.
func pick[T any](flag, list string, all []T, name func(T) string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	known := names(all, name)
	var out []T
	for one := range strings.SplitSeq(list, ",") {
		i := slices.Index(known, one)
		if i < 0 {
			return nil, fmt.Errorf("throttle: %s: there is no %q; there are %s", flag, one, strings.Join(known, ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}

// report runs everything, prints each table when it is there, and writes the
// files at the end.
func report(ctx context.Context, scenarios []throttle.Scenario, contenders []throttle.Contender, out io.Writer, to files) error {
	var page bytes.Buffer
	both := io.MultiWriter(out, &page)
	if err := throttle.WriteHead(both, contenders, link(to.md, to.svg)); err != nil {
		return err //nolint:wrapcheck // says where
	}
	var sheets []throttle.Sheet
	for _, s := range scenarios {
		results, err := together(ctx, s, contenders)
		if err != nil {
			return err
		}
		sheets = append(sheets, throttle.Sheet{Scenario: s, Results: results})
		if err := throttle.WriteTable(both, s, results); err != nil {
			return err //nolint:wrapcheck // says where
		}
	}
	write := func(name string, fill func(w io.Writer) error) error {
		var text bytes.Buffer
		if name == "" {
			return nil
		}
		if err := fill(&text); err != nil {
			return err
		}
		if err := os.WriteFile(name, text.Bytes(), 0o644); err != nil {
			return fmt.Errorf("throttle: %w", err)
		}
		return nil
	}
	return errors.Join(
		write(to.md, func(w io.Writer) error { _, err := page.WriteTo(w); return err }), //nolint:wrapcheck // of a buffer
		write(to.svg, func(w io.Writer) error { return throttle.WriteChart(w, sheets) }),
		write(to.summary, func(w io.Writer) error { return throttle.WriteSummary(w, sheets) }),
	)
}

// link returns the path of the chart from the page: its name if they are side by
// side.
func link(md, svg string) string {
	if md == "" || svg == "" {
		return ""
	}
	if path, err := filepath.Rel(filepath.Dir(md), svg); err == nil {
		return filepath.ToSlash(path)
	}
	return svg
}

// together runs all contenders at the same time.
func together(ctx context.Context, s throttle.Scenario, contenders []throttle.Contender) ([]throttle.Result, error) {
	results, errs := make([]throttle.Result, len(contenders)), make([]error, len(contenders))
	var running sync.WaitGroup
	for i, c := range contenders {
		running.Go(func() {
			if results[i], errs[i] = throttle.Run(ctx, s, c, throttle.Loopback()); errs[i] != nil {
				errs[i] = fmt.Errorf("%s, %s: %w", s.Name, c.Name, errs[i])
			}
		})
	}
	running.Wait()
	return results, errors.Join(errs...)
}
