// Doctor tells which credential a program would use here, and why:
//
//	go run ./examples/doctor          # a table of all sources, and the winner
//	go run ./examples/doctor -call    # and one real request, which costs nothing
//	go run ./examples/doctor -json    # for machines
//
// It reads the secret for real and never shows it. It exits with 0 if a call
// would work, or with -call did work; with 1 if not; with 2 if it was called
// wrongly. Colors are for terminals only; -no-color and NO_COLOR turn them off.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	info, err := os.Stdout.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, terminal)
	stop()
	os.Exit(code)
}

// A diagnosis is all that the doctor says.
type diagnosis struct {
	OK       bool         `json:"ok"`
	Problem  string       `json:"problem,omitempty"` // why a call would not work
	Endpoint string       `json:"endpoint,omitempty"`
	Report   *auto.Report `json:"report"`
	Call     *call        `json:"call,omitempty"`
}

func run(ctx context.Context, args []string, out, errs io.Writer, terminal bool) int {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(errs)
	asJSON := flags.Bool("json", false, "print JSON")
	withCall := flags.Bool("call", false, "make one request: GET models, which is not billed")
	plain := flags.Bool("no-color", false, "print without colors")
	timeout := flags.Duration("timeout", 30*time.Second, "for all of it")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || *timeout <= 0 {
		if err == nil {
			fmt.Fprintln(errs, "doctor: no arguments but flags, and a positive timeout; see -help")
		}
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	d := diagnose(ctx, *withCall)
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(d); err != nil {
			return 1
		}
	} else {
		(&page{out: out, color: terminal && !*plain && os.Getenv("NO_COLOR") == ""}).print(d)
	}
	if !d.OK {
		return 1
	}
	return 0
}

func diagnose(ctx context.Context, withCall bool) *diagnosis {
	d := &diagnosis{Report: auto.Explain(ctx, nil)}
	t := &trace{}
	src, err := auto.New(ctx, &auto.Options{Cache: &credential.CacheOptions{OnEvent: t.event}})
	if err != nil {
		d.Problem = d.Report.Error
		return d
	}
	c, err := client.New(client.Config{Source: src, Transport: t, Middleware: t.middleware()})
	if err != nil {
		d.Problem = err.Error()
		return d
	}
	d.Endpoint, _, _ = strings.Cut(strings.TrimPrefix(c.String(), "client("), ", ")
	switch {
	case d.Report.Winner == "":
		d.Problem = d.Report.Error
	default:
		d.Problem = mismatch(d.Report.Winner)
	}
	if d.Problem == "" && withCall {
		d.Call = t.call(ctx, c)
		d.Problem = d.Call.Error
	}
	d.OK = d.Problem == ""
	return d
}

// mismatch tells of a token that the endpoint does not take.
func mismatch(winner string) string {
	azure := os.Getenv("AZURE_OPENAI_ENDPOINT") != ""
	switch {
	case strings.HasPrefix(winner, "azureidentity") && !azure && os.Getenv("OPENAI_BASE_URL") == "":
		return "a token of Azure's identity opens no endpoint of OpenAI's: set AZURE_OPENAI_ENDPOINT"
	case strings.HasPrefix(winner, "openaiworkload") && azure:
		return "a token of OpenAI's opens no endpoint of Azure's: unset AZURE_OPENAI_ENDPOINT"
	}
	return ""
}
