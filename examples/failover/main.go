// Failover shows calls that go to another endpoint, and come back, while the
// endpoints are throttled, die and recover.
//
//	go run ./examples/failover
//	go run ./examples/failover -svg chart.svg
//
// It needs nothing but Go: it starts two services that imitate Azure OpenAI in
// two regions and one that imitates OpenAI, and calls through the official
// openai-go client 60 times a second while a script puts faults into them. Once a
// second it prints a line for each endpoint. With -svg it also draws what it has
// seen as a chart. It exits with status 1 if a call failed, and with 2 if it was
// given an argument that it does not know.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	flags := flag.NewFlagSet("failover", flag.ContinueOnError)
	svg := flags.String("svg", "", "also write the chart to this `file`")
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2) // Parse has said why
	case flags.NArg() > 0:
		fmt.Fprintln(os.Stderr, "failover: unknown argument; it takes -svg FILE only")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, terminal(os.Stdout), *svg)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, live bool, svg string) error {
	s, err := newLoopback()
	if err != nil {
		return err
	}
	defer s.close()
	s.account = newAccount(out, live, s.places)
	s.account.say("%d calls a second through one client: chat, streams and embeddings", rate)
	if err := s.play(ctx, nil); err != nil {
		return err
	}
	s.account.table()
	if svg != "" {
		if err := os.WriteFile(svg, []byte(s.account.chart(script())), 0o600); err != nil {
			return err
		}
	}
	return s.account.verdict()
}

// terminal reports whether the account can be rewritten in place.
func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
}

// seconds is n seconds.
func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
