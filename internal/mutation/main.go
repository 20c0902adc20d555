// Command mutation removes guards one by one and tells which test notices.
//
//	go run ./internal/mutation              all of them
//	go run ./internal/mutation -sample 20   that many, chosen by a seed that is printed
//	go run ./internal/mutation -only TEXT   those whose entry holds TEXT
//
// The guards stand in guards.txt: what each holds, the edit that removes it, and the
// test that has to fail then. A guard survives if that test passes without it, and then
// the command ends with status 1. The files of the repository are not touched: the
// compiler gets the edit as an overlay.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"time"
)

//go:embed guards.txt
var list string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutation", flag.ContinueOnError)
	sample := flags.Int("sample", 0, "remove only so many, chosen at random; 0 is all")
	seed := flags.Uint64("seed", uint64(time.Now().Unix()), "chooses the sample")
	only := flags.String("only", "", "remove only those whose entry holds this text")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w", err)
	}
	guards, err := parse(list)
	if err != nil {
		return err
	}
	guards = chosen(guards, *only, *sample, *seed)
	if *sample > 0 {
		fmt.Fprintf(out, "%d guards by -seed %d\n", len(guards), *seed)
	}
	var survived int
	for i, g := range guards {
		began := time.Now()
		err := g.try(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			survived++
			fmt.Fprintf(out, "%3d SURVIVED  %s: %s: %v\n", i+1, g.file, g.holds, err)
			continue
		}
		fmt.Fprintf(out, "%3d noticed by %s (%.0f s): %s: %s\n", i+1, g.test, time.Since(began).Seconds(), g.file, g.holds)
	}
	fmt.Fprintf(out, "%d guards removed, %d survived\n", len(guards), survived)
	if survived > 0 {
		return errors.New("guards without a test")
	}
	return nil
}

func chosen(guards []guard, only string, sample int, seed uint64) []guard {
	var some []guard
	for _, g := range guards {
		if strings.Contains(g.entry, only) {
			some = append(some, g)
		}
	}
	if sample <= 0 || sample >= len(some) {
		return some
	}
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some[:sample]
}
