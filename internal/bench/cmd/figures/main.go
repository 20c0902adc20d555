// Figures measures latchkey beside other libraries, and writes what came out as
// tables and charts:
//
//	go run ./cmd/figures                        # in internal/bench; into docs/figures
//	go run ./cmd/figures -only read,sizes       # these parts, and the page keeps the others
//	go run ./cmd/figures -from turns.txt        # out of what go test -bench has printed
//	go run ./cmd/figures -quick -dir DIR        # to see whether all of it works
//
// All clients of a table are measured in one process, one after the other, and the
// medians of the runs are compared. A part is written when it is there; all of them take
// about 20 minutes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, golang, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		stop()
		os.Exit(1)
	}
}

// A command runs the go command, and returns what it has printed.
type command func(ctx context.Context, progress io.Writer, args ...string) ([]byte, error)

func golang(ctx context.Context, progress io.Writer, args ...string) ([]byte, error) {
	var out strings.Builder
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, progress), progress
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s: %w", strings.Join(args[:2], " "), err)
	}
	return []byte(out.String()), nil
}

type options struct {
	from, dir, length string
	count             int
	quick             bool
	parts             []part
}

func parseFlags(args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	only := flags.String("only", "", "comma-separated `parts`; empty means all: "+strings.Join(names(parts()), ", "))
	flags.StringVar(&o.from, "from", "", "a `file` with the output of go test -bench; nothing is run")
	flags.StringVar(&o.dir, "dir", filepath.FromSlash("../../docs/figures"), "where the page and the charts go")
	flags.IntVar(&o.count, "count", 6, "runs of each benchmark, for the median")
	flags.StringVar(&o.length, "benchtime", "100ms", "of each run")
	flags.BoolVar(&o.quick, "quick", false, "small runs of everything, whose figures say nothing")
	if err := flags.Parse(args); err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	var err error
	o.parts, err = pick(*only)
	return o, err
}

func run(ctx context.Context, goes command, args []string, progress io.Writer) error {
	o, err := parseFlags(args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return fmt.Errorf("%w", err)
	}
	var given []byte
	if o.from != "" {
		if given, err = os.ReadFile(o.from); err != nil {
			return fmt.Errorf("-from: %w", err)
		}
	}
	stamp, made := takeStamp(ctx, goes), 0
	for _, p := range o.parts {
		s, err := p.make(ctx, goes, o, given, progress)
		if errors.Is(err, errNothing) && o.from != "" {
			continue
		}
		if err == nil {
			s.stamp = stamp
			if s.machine != "" { // of the benchmarks that were read
				s.stamp.machine = s.machine
			}
			err = write(o.dir, map[string]section{p.name: s})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		made++
	}
	if made == 0 {
		return errNothing
	}
	return nil
}

var errNothing = errors.New("no benchmark was run")

// write puts the sections into the page, which keeps the others that it has.
func write(dir string, made map[string]section) error {
	name := filepath.Join(dir, "README.md")
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w", err)
	}
	for _, s := range made {
		for file, text := range s.charts {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				return fmt.Errorf("%w", err)
			}
		}
	}
	if err := os.WriteFile(name, []byte(page(string(old), made)), 0o644); err != nil {
		return fmt.Errorf("%w", err)
	}
	return nil
}
