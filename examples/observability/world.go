package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/audit/anomaly"
	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

// A tenant is a customer, with so many calls a second.
type tenant struct {
	name string
	rate float64
}

// The tenants of the show; the last one has a small budget.
func tenants() []tenant {
	return []tenant{{"acme", 12}, {"globex", 6}, {"initech", 3}}
}

// A world is the services, the store with their key, and the load.
type world struct {
	second    time.Duration // how long a second of the script takes
	east      *clienttest.Server
	west      *clienttest.Server
	key       atomic.Int64 // the number of the key that the store has
	forgotten atomic.Bool  // the first key is dead
	client    *client.Client
	stray     *client.Client // of a job that nobody remembers: it keeps the first key
	account   *account
}

func newWorld(second time.Duration) (*world, error) {
	w := &world{second: second, account: newAccount()}
	w.key.Store(1)
	w.east, w.west = clienttest.NewServer(keyNumber(1)), clienttest.NewServer(keyNumber(1))
	for _, s := range []*clienttest.Server{w.east, w.west} {
		if s.Err != nil {
			w.close()
			return nil, s.Err
		}
		s.SetLatency(second / 50)
	}
	if err := w.connect(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// connect makes the client, as a program does that wants to be seen.
func (w *world) connect() error {
	sight, err := telemetry.New(&telemetry.Options{MeterProvider: w.account.metrics})
	if err != nil {
		return err
	}
	watch, err := anomaly.New(&anomaly.Options{OnAlert: w.account.odd, Process: "this program", Overlap: 3 * w.second, RateFloor: 1e9})
	if err != nil {
		return err
	}
	limits, err := limit.New([]limit.Limit{
		{Name: "daily budget", Tenant: "initech", Per: limit.Day, Cost: 0.0006},
		{Name: "calls in flight", InFlight: 200},
	}, &limit.Options{
		Prices: map[string]limit.Price{"*": prices}, WorstInput: 1000, WorstOutput: 200, OnEvent: func(e limit.Event) { w.account.limited(e); sight.OnLimit(e) },
	})
	if err != nil {
		return err
	}
	src := credential.SourceFunc(w.read)
	cache, err := credential.NewCache(src, &credential.CacheOptions{TTL: 5 * time.Minute, OnEvent: func(e credential.Event) {
		w.account.credential(e)
		watch.OnEvent(e)
		sight.OnEvent(e)
	}})
	if err != nil {
		return err
	}
	w.client, err = client.New(client.Config{
		Name: "east", BaseURL: w.east.URL, Source: cache,
		Fallbacks:    []client.Endpoint{{Name: "west", BaseURL: w.west.URL, Source: cache}},
		IncludeUsage: true, HoldBack: true, Limits: limits,
		Observe: func(ctx context.Context, s *middleware.Send) {
			w.account.sent(ctx, s)
			watch.Observe(ctx, s)
			sight.Observe(ctx, s)
		},
		OnRoute:    func(e middleware.RouteEvent) { w.account.routed(e); sight.OnRoute(e) },
		Middleware: []middleware.Middleware{sight.Middleware(), w.account.calls},
	})
	if err != nil {
		return err
	}
	w.stray, err = client.New(client.Config{
		BaseURL: w.west.URL, Source: credential.SourceFunc(first), Retry: &middleware.RetryOptions{MaxRetries: -1},
		Observe: func(ctx context.Context, s *middleware.Send) {
			w.account.sent(ctx, s)
			watch.Observe(ctx, s)
		},
	})
	return err
}

// first is the key that the stray job has in its configuration.
func first(context.Context) (credential.Value, error) {
	return credential.Value{Secret: credential.NewSecret(keyNumber(1)), Source: "store:openai", Version: "v1", Fixed: true}, nil
}

// prices are for a million tokens.
var prices = limit.Price{Input: 0.25, CachedInput: 0.025, Output: 2}

func keyNumber(n int64) string { return fmt.Sprintf("key-%d", n) }

// read is the store.
func (w *world) read(context.Context) (credential.Value, error) {
	n := w.key.Load()
	return credential.Value{Secret: credential.NewSecret(keyNumber(n)), Source: "store:openai", Version: fmt.Sprintf("v%d", n)}, nil
}

func (w *world) close() {
	for _, s := range []*clienttest.Server{w.east, w.west} {
		if s != nil {
			s.Close()
		}
	}
}

// play makes calls and lets things happen until ctx ends.
func (w *world) play(ctx context.Context) error {
	var crew sync.WaitGroup
	for _, t := range tenants() {
		crew.Go(func() { w.load(ctx, t) })
	}
	crew.Go(func() { w.script(ctx) })
	crew.Go(func() { w.forget(ctx) })
	crew.Go(func() { w.account.watch(ctx, w.second) })
	crew.Wait()
	return nil
}

// load makes the calls of a tenant, and waits for the last ones.
func (w *world) load(ctx context.Context, t tenant) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for n := 0; ; n++ {
		gap := time.Duration(rand.ExpFloat64() * float64(w.second) / t.rate) //nolint:gosec // the times of calls
		select {
		case <-time.After(gap):
		case <-ctx.Done():
			return
		}
		calls.Go(func() { w.call(credential.WithTenant(context.WithoutCancel(ctx), t.name), n) })
	}
}

// call makes one call, of several kinds in turn.
func (w *world) call(ctx context.Context, n int) {
	question := map[string]any{"model": "gpt-5-mini", "max_tokens": 64, "messages": []map[string]string{{"role": "user", "content": "what happened today?"}}}
	switch n % 3 {
	case 0:
		_, _ = w.client.Post(ctx, "chat/completions", question, nil) // the account knows
	case 1:
		question["stream"] = true
		for _, err := range w.client.Stream(ctx, "chat/completions", question) {
			if err != nil {
				return
			}
		}
	default:
		_, _ = w.client.Post(ctx, "embeddings", map[string]any{"model": "text-embedding-3-small", "input": "what happened today?"}, nil)
	}
}

// script rotates the key every 12 seconds, and between the rotations one of the
// services is throttled, dead or slow.
func (w *world) script(ctx context.Context) {
	acts := []struct {
		say string
		do  func()
	}{
		{"a new key, and the old one is dead at once", w.rotate},
		{"east takes 8 calls a second", func() { w.east.SetCapacity(&clienttest.Capacity{PerSecond: 8, Burst: 2}) }},
		{"east is itself again", func() { w.east.SetCapacity(nil) }},
		{"a new key, and the old one is dead at once", w.rotate},
		{"east resets each connection", func() { w.east.Inject(clienttest.Fault{Reset: true, Times: -1}) }},
		{"east is itself again", w.east.ClearFaults},
	}
	for i := 0; ; i++ {
		select {
		case <-time.After(4 * w.second):
		case <-ctx.Done():
			return
		}
		act := acts[i%len(acts)]
		w.account.say("script", act.say)
		act.do()
	}
}

func (w *world) rotate() {
	n := w.key.Add(1)
	w.east.Rotate(keyNumber(n))
	w.west.Rotate(keyNumber(n))
	w.forgotten.Store(true)
}

// forget makes a call of the stray job now and then, once its key is dead.
func (w *world) forget(ctx context.Context) {
	for {
		select {
		case <-time.After(3 * w.second / 2):
		case <-ctx.Done():
			return
		}
		if w.forgotten.Load() {
			_, _ = w.stray.Do(credential.WithTenant(context.WithoutCancel(ctx), "a forgotten job"), "GET", "models", nil, nil) // refused, as it should be
		}
	}
}
