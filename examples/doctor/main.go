// Doctor tells which credential a program would use here, and why:
//
//	go run ./examples/doctor          # a table of all sources, and the winner
//	go run ./examples/doctor -call    # and one real request, which costs nothing
//	go run ./examples/doctor -json    # for machines
//
// It reads the secret for real and never shows it. It exits with 0 if a call
// would work, or with -call did work; with 1 if not; with 2 if it was called
// wrongly. With OPENAI_ADMIN_KEY and OPENAI_PROJECT_ID set it also shows the limits
// that OpenAI holds for the project, and changes none. Colors are for terminals only; -no-color and NO_COLOR turn them off.
// The page is as wide as the terminal, or as -width says; a file has no width.
package main

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/latchkey-go/latchkey/internal/azurename"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	info, err := os.Stdout.Stat()
	screen := output{to: os.Stdout, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
	if screen.terminal {
		screen.width = columns(os.Stdout)
	}
	code := run(ctx, os.Args[1:], screen, os.Stderr)
	stop()
	os.Exit(code)
}

// An output is where the page goes. The width is in columns; 0 is any.
type output struct {
	to       io.Writer
	terminal bool
	width    int
}

// A diagnosis is all that the doctor says.
type diagnosis struct {
	OK       bool         `json:"ok"`
	Problem  string       `json:"problem,omitempty"` // why a call would not work
	Do       string       `json:"do,omitempty"`      // what to do about it, where no attempt says that
	Endpoint string       `json:"endpoint,omitempty"`
	Report   *auto.Report `json:"report"`
	Call     *call        `json:"call,omitempty"`
	Quota    *quota       `json:"quota,omitempty"` // with an admin key
}

func run(ctx context.Context, args []string, out output, errs io.Writer) int {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(errs)
	asJSON := flags.Bool("json", false, "print JSON")
	withCall := flags.Bool("call", false, "make one request: GET models, which is not billed")
	plain := flags.Bool("no-color", false, "print without colors")
	width := flags.Int("width", out.width, "print for so many columns, 40 or more; 0 is any number")
	timeout := flags.Duration("timeout", 30*time.Second, "for all of it")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintln(errs, "doctor: unknown argument; it takes flags only: see -help")
		return 2
	case *timeout <= 0 || *width < 0:
		fmt.Fprintln(errs, "doctor: -timeout and -width are positive: see -help")
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	d := diagnose(ctx, *withCall)
	d.Quota = quotas(ctx)
	if *asJSON {
		e := json.NewEncoder(out.to)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(d); err != nil {
			return 1
		}
	} else {
		p := &page{out: out.to, color: out.terminal && !*plain && os.Getenv("NO_COLOR") == ""}
		if *width > 0 {
			p.width = max(*width, narrowest)
		}
		p.print(d)
	}
	if !d.OK {
		return 1
	}
	return 0
}

func diagnose(ctx context.Context, withCall bool) *diagnosis {
	d := &diagnosis{Report: auto.Explain(ctx, nil)}
	src, err := auto.New(nil)
	if err != nil {
		d.Problem = problem(d.Report)
		return d
	}
	t, err := newTrace()
	if err != nil {
		d.Problem = err.Error()
		return d
	}
	cache, err := credential.NewCache(src, nil)
	if err != nil {
		d.Problem = err.Error()
		return d
	}
	c, err := client.New(client.Config{Source: cache, Transport: t, Observe: t.sent})
	if err != nil {
		d.Problem = err.Error()
		return d
	}
	d.Endpoint, _, _ = strings.Cut(strings.TrimPrefix(c.String(), "client("), ", ")
	switch {
	case d.Report.Winner == "":
		d.Problem = problem(d.Report)
	default:
		d.Problem, d.Do = mismatch(d.Report.Winner)
	}
	if d.Problem == "" && withCall {
		d.Call = t.call(ctx, c, cache)
		d.Problem, d.Do = d.Call.Error, d.Call.Do
	}
	d.OK = d.Problem == ""
	return d
}

// problem is why there is no credential. What to do about it stands at the
// attempt that failed.
func problem(r *auto.Report) string {
	var unavailable []string
	for _, a := range r.Attempts {
		switch {
		case a.Result == "unavailable":
			unavailable = append(unavailable, a.Source+": "+a.Why)
		case a.Result != "failed":
		case strings.HasPrefix(a.Why, a.LookedFor): // a reference that is malformed
			return a.Why
		default:
			return a.Source + ": " + a.Why
		}
	}
	switch len(unavailable) {
	case 0:
		return r.Error
	case 1:
		return unavailable[0]
	}
	return r.Error + `: each "do" above is a way out`
}

// mismatch tells of a token that the endpoint does not take, and what to do.
func mismatch(winner string) (problem, do string) {
	azure, name := os.Getenv("AZURE_OPENAI_ENDPOINT") != "", "AZURE_OPENAI_ENDPOINT"
	base, err := azurename.Parse(os.Getenv("OPENAI_BASE_URL"))
	if !azure && err == nil && base.Azure {
		azure, name = true, "OPENAI_BASE_URL"
	}
	switch {
	case strings.HasPrefix(winner, "azureidentity") && !azure && os.Getenv("OPENAI_BASE_URL") == "":
		return "OpenAI's endpoint takes no token of an Azure identity", "set AZURE_OPENAI_ENDPOINT to the resource, https://NAME.openai.azure.com"
	case strings.HasPrefix(winner, "openaiworkload") && azure:
		return "Azure's endpoint takes no token that OpenAI issued", "unset " + name
	}
	return "", ""
}
