// Figures runs the benchmarks, and writes what they say as tables and charts:
//
//	go run ./cmd/figures                        # in internal/bench; into docs/figures
//	go run ./cmd/figures -from turns.txt        # out of what go test -bench has printed
//	go run ./cmd/figures -bench Stream -count 10
//
// All clients are measured in one process, one after the other, and the medians of the
// runs are compared. It takes about ten minutes.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, progress io.Writer) error {
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	from := flags.String("from", "", "a `file` with the output of go test -bench; empty runs the benchmarks")
	dir := flags.String("dir", filepath.FromSlash("../../docs/figures"), "where the tables and charts go")
	which := flags.String("bench", "401|CachedRead|Failover|Limit|Stack|Stream|Telemetry", "regular expression over the benchmarks; Benchmark429 waits as long as a service asks for, and counts bytes")
	count := flags.Int("count", 6, "runs of each, for the median")
	length := flags.String("benchtime", "100ms", "of each run")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w", err)
	}
	var output []byte
	var err error
	if *from != "" {
		output, err = os.ReadFile(*from)
	} else {
		output, err = measure(ctx, progress, *which, *length, *count)
	}
	if err != nil {
		return err
	}
	r := parse(bytes.NewReader(output))
	if len(r.groups) == 0 {
		return errors.New("no benchmark was run")
	}
	r.modules = modules(ctx)
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return fmt.Errorf("%w", err)
	}
	var page bytes.Buffer
	r.markdown(&page)
	for _, g := range r.groups {
		var picture bytes.Buffer
		g.chart(&picture)
		if err := os.WriteFile(filepath.Join(*dir, g.file()+".svg"), picture.Bytes(), 0o644); err != nil {
			return fmt.Errorf("%w", err)
		}
	}
	return os.WriteFile(filepath.Join(*dir, "README.md"), page.Bytes(), 0o644)
}

func measure(ctx context.Context, progress io.Writer, which, length string, count int) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", which, "-benchtime", length,
		"-count", strconv.Itoa(count), "-timeout", "60m", ".")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, progress), progress
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go test -bench: %w", err)
	}
	return out.Bytes(), nil
}
