// Budget is a small web service with several tenants, each with a ceiling in
// money for a day.
//
//	go run ./examples/budget
//
// It needs nothing but Go: it starts a service that imitates OpenAI, plays a
// day in which one tenant stays below its ceiling, one runs into it, and one
// leaves before its answers have ended, and prints an account for each. It exits
// with status 1 if a tenant was billed more than its ceiling.
//
// With OPENAI_API_KEY set it serves real tenants instead, and has to be told what
// the model costs for a million tokens:
//
//	export TENANTS="acme:5.00:its-password globex:0.50:another-one"
//	go run ./examples/budget -model gpt-5-mini -input 0.25 -output 2
//
//	curl -u acme:its-password -d "What is a latchkey?" localhost:8080/ask
//	curl -u acme:its-password localhost:8080/account
//
// With REDIS_URL set the ceilings hold for all processes that share the Redis,
// in both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2) // run has said why
	default:
		fmt.Fprintln(os.Stderr, "budget:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("wrong flags")

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("budget", flag.ContinueOnError)
	addr := flags.String("addr", "localhost:8080", "where to listen")
	model := flags.String("model", "gpt-5-mini", "the model that answers")
	var price limit.Price
	flags.Float64Var(&price.Input, "input", 0, "what a million tokens of input cost")
	flags.Float64Var(&price.Output, "output", 0, "what a million tokens of output cost")
	newUntil := flags.String("new-until", "", "a Redis without counts is a new one until this `time`, as in 2026-12-01T12:00:00Z")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return errUsage
	case flags.NArg() > 0:
		fmt.Fprintln(os.Stderr, "budget: unknown argument; it takes flags only: see -help")
		return errUsage
	}
	store := os.Getenv("REDIS_URL")
	if os.Getenv("OPENAI_API_KEY") == "" {
		return show(ctx, out, store)
	}
	if price.Input <= 0 || price.Output <= 0 {
		return fmt.Errorf("say what a million tokens of %s cost, with -input and -output", *model)
	}
	opts := &redislimit.Options{Prefix: "latchkey:budget:"}
	if *newUntil != "" {
		var err error
		if opts.NewUntil, err = time.Parse(time.RFC3339, *newUntil); err != nil {
			return errors.New("-new-until is not a time such as 2026-12-01T12:00:00Z")
		}
	}
	counter, done, err := shared(store, opts)
	if err != nil {
		return err
	}
	defer done()
	list, err := tenants(os.Getenv("TENANTS"))
	if err != nil {
		return err
	}
	s, err := newService(config{tenants: list, model: *model, price: price, counter: counter}, client.Config{})
	if err != nil {
		return err
	}
	err = serve(ctx, *addr, s.handler(), func(addr string) { fmt.Fprintln(out, "listening on", addr) })
	s.account(out)
	return err
}

// serve serves until ctx ends.
func serve(ctx context.Context, addr string, h http.Handler, ready func(addr string)) error {
	l, err := listen(ctx, addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = server.Shutdown(context.Background()) // waits for the answers that are under way
	})
	ready(l.Addr().String())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	<-ended
	return nil
}

// shared returns a counter on the Redis with an address, or none. done sends what
// was settled and is not yet known there.
func shared(address string, opts *redislimit.Options) (counter limit.Counter, done func(), err error) {
	if address == "" {
		return nil, func() {}, nil
	}
	o, err := redis.ParseURL(address)
	if err != nil { // it quotes the address, which holds the password
		return nil, nil, errors.New("REDIS_URL is not the address of a Redis; want redis://USER:PASSWORD@HOST:PORT/DB or rediss://")
	}
	rdb := redis.NewClient(o)
	c, err := redislimit.New(rdb, opts)
	if err != nil {
		_ = rdb.Close()
		return nil, nil, err
	}
	return c, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Flush(ctx) // else it stays reserved, which is the safe side
		_ = rdb.Close()
	}, nil
}

// tenants parses TENANTS.
func tenants(text string) ([]tenant, error) {
	var list []tenant
	for i, word := range strings.Fields(text) {
		name, rest, _ := strings.Cut(word, ":")
		ceiling, password, _ := strings.Cut(rest, ":")
		daily, err := strconv.ParseFloat(ceiling, 64)
		if name == "" || password == "" || err != nil || daily <= 0 {
			// The text itself stays out of the error: it holds a password.
			return nil, fmt.Errorf("TENANTS: number %d is not NAME:CEILING:PASSWORD, such as acme:5.00:its-password", i+1)
		}
		list = append(list, newTenant(name, password, daily))
	}
	if len(list) == 0 {
		return nil, errors.New("TENANTS is empty: name at least one, such as acme:5.00:its-password")
	}
	return list, nil
}
