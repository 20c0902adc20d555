package chaos_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// A sink holds what is written to P6.
type sink struct{ w *world }

func (s sink) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("CANARY")) {
		s.w.breaks("P6", "a secret was written: %s", p)
	}
	return len(p), nil
}

func (w *world) show(what any) { fmt.Fprintf(sink{w}, "%v %+v %#v", what, what, what) }

// config is what all programs have in common.
func (w *world) config(to *wire) client.Config {
	return client.Config{
		Transport: to, Logger: slog.New(slog.NewTextHandler(sink{w}, nil)),
		Cache:   &credential.CacheOptions{TTL: time.Minute, OnEvent: func(e credential.Event) { w.show(e) }},
		Observe: func(_ context.Context, s *middleware.Send) { w.show(*s) },
		OnRoute: func(e middleware.RouteEvent) { w.show(e) },
	}
}

func (w *world) client(cfg client.Config) *client.Client {
	c, err := client.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.show(c)
	return c
}

// A program calls from several goroutines.
type program struct {
	client  *client.Client
	homes   []*home // that its calls may reach
	callers int
	pause   time.Duration
	tenants []string
	// allowed reports whether a call may end so; nil allows none.
	allowed func(error) bool
}

// programs starts all of them; they call until ended is closed.
func (w *world) programs(callers *sync.WaitGroup, ended <-chan struct{}) {
	all := []*program{w.regions(callers), w.bounded(), w.wrongKey(), w.tenants(callers)}
	for _, h := range w.all {
		cfg := w.config(w.wire())
		cfg.BaseURL, cfg.Source = h.server.URL, h.source
		all = append(all, &program{client: w.client(cfg), homes: []*home{h}, callers: 3, pause: 25 * time.Millisecond})
	}
	for _, p := range all {
		w.call(p, rand.New(rand.NewPCG(1, 1))) // an outage is survived with the last good credential
		for i := range p.callers {
			r := rand.New(rand.NewPCG(*seed, uint64(i)))
			callers.Go(func() {
				for {
					w.call(p, r)
					select {
					case <-time.After(p.pause):
					case <-ended:
						return
					}
				}
			})
		}
	}
}

// regions is a program with three endpoints, of which one at a time cannot be reached.
func (w *world) regions(callers *sync.WaitGroup) *program {
	to := w.wire()
	cfg := w.config(to)
	cfg.BaseURL, cfg.Source, cfg.HoldBack = w.all[0].server.URL, w.all[0].source, true
	alone := &sync.Mutex{}
	for _, h := range w.all[:3] {
		h.alone = alone
	}
	for _, h := range w.all[1:3] {
		cfg.Fallbacks = append(cfg.Fallbacks, client.Endpoint{BaseURL: h.server.URL, Source: h.source})
	}
	r := rand.New(rand.NewPCG(*seed, 7))
	callers.Go(func() {
		for w.pause(between(r, 100*time.Millisecond, time.Second)) {
			w.exclusively(alone, func() {
				host := strings.TrimPrefix(w.all[r.IntN(3)].server.Origin, "https://")
				to.down.Store(&host)
				w.pause(between(r, 100*time.Millisecond, 2*time.Second))
				to.down.Store(nil)
			})
		}
	})
	return &program{client: w.client(cfg), homes: w.all[:3], callers: 4, pause: 25 * time.Millisecond}
}

// bounded is a program with a ceiling of its calls in flight.
func (w *world) bounded() *program {
	to := w.wire()
	to.bound = maxInFlight
	limits, err := limit.New([]limit.Limit{{Name: "flight", InFlight: maxInFlight}}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	h := w.all[4]
	cfg := w.config(to)
	cfg.BaseURL, cfg.Source, cfg.Limits = h.server.URL, h.source, limits
	return &program{client: w.client(cfg), homes: []*home{h}, callers: 8, pause: 10 * time.Millisecond, allowed: func(err error) bool {
		var refused *limit.Error
		if errors.As(err, &refused) {
			w.refused.Add(1)
			return true
		}
		return false
	}}
}

// wrongKey is a program whose store has a key that no service accepts.
func (w *world) wrongKey() *program {
	store := credentialtest.NewStore("sk-CANARY-wrong-key-of-nobody")
	to := w.wire()
	to.wrong = true
	cfg := w.config(to)
	cfg.BaseURL, cfg.Source = w.all[5].server.URL, store
	w.t.Cleanup(func() {
		// 1, 2, 4, 8, 16, 32 s and then 60 s apart, each with the polls of a grace of 5 s.
		if most := 10 * (7 + int(time.Since(w.began)/time.Minute)); store.Reads() > most {
			w.t.Errorf("P3 was broken: a wrong key was read %d times", store.Reads())
		}
	})
	return &program{client: w.client(cfg), callers: 2, pause: 50 * time.Millisecond, allowed: func(err error) bool {
		return err != nil && err.Error() == "status 401"
	}}
}

// tenants is a program of two tenants, at the same home, whose keys are rotated.
func (w *world) tenants(callers *sync.WaitGroup) *program {
	h := w.all[len(w.all)-1]
	stores := map[string]*credentialtest.Store{}
	add := func(tenant string, n int) string {
		key := fmt.Sprintf("sk-CANARY-%s-%d-of-a-tenant", tenant, n)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.keys = append(h.keys, key)
		h.tenants = append(h.tenants, key)
		h.server.Accept(key)
		return key
	}
	for _, tenant := range []string{"alice", "bob"} {
		stores[tenant] = credentialtest.NewStore(add(tenant, 0))
	}
	source, err := credential.NewTenants(func(_ context.Context, tenant string) (credential.Source, error) { return stores[tenant], nil }, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	callers.Go(func() {
		for n := 1; w.pause(time.Second); n++ {
			tenant := []string{"alice", "bob"}[n%2]
			stores[tenant].Rotate(add(tenant, n))
		}
	})
	cfg := w.config(w.wire())
	cfg.BaseURL, cfg.Source, cfg.Cache = h.server.URL, source, nil
	return &program{client: w.client(cfg), homes: []*home{h}, callers: 4, pause: 25 * time.Millisecond, tenants: []string{"alice", "bob"}}
}

// call makes one call: one in two is a stream, one in twenty is impatient.
func (w *world) call(p *program, r *rand.Rand) {
	for _, h := range p.homes {
		defer h.begin()()
	}
	stream, patience := r.IntN(2) == 0, 30*time.Second
	impatient := r.IntN(20) == 0
	if impatient {
		patience = between(r, 0, 100*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tenant := ""
	if len(p.tenants) > 0 {
		tenant = p.tenants[r.IntN(len(p.tenants))]
		ctx = credential.WithTenant(ctx, tenant)
	}
	w.made.Add(1)
	began := time.Now()
	err := w.send(ctx, p.client, tenant, stream)
	// Far above what a busy machine needs: this is about callers that are kept for good.
	if took := time.Since(began); took > patience+10*time.Second {
		w.breaks("P4", "a call with a deadline of %v returned after %v", patience, took)
	}
	switch {
	case err == nil:
	case impatient: // where there is no time for another send, the first answer is the caller's
		w.canceled.Add(1)
	case p.allowed != nil && p.allowed(err):
	case errors.Is(err, context.DeadlineExceeded):
		w.breaks("P4", "a call was kept for all of its 30 s: %v", err)
	default:
		w.breaks("P1, P5 or P11", "a call to %s failed after %v: %v", p.homes[0], time.Since(began), err)
	}
	if err != nil {
		w.show(err)
	}
}

// send makes the call of a program, and reads its answer to the end.
func (w *world) send(ctx context.Context, c *client.Client, tenant string, stream bool) error {
	id, rec := strconv.FormatInt(w.ids.Add(1), 10), &record{}
	w.calls.Store(id, rec)
	defer w.calls.Delete(id)
	body := fmt.Sprintf(`{"model":"gpt-5-mini","stream":%t,"messages":[{"role":"user","content":"hello"}]}`, stream)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.BaseURL()+"chat/completions", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(callHeader, id)
	if tenant != "" {
		req.Header.Set(tenantHeader, tenant)
	}
	resp, err := c.HTTPClient().Do(req)
	rec.answered.Store(true)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		w.show(string(text))
		return fmt.Errorf("status %d", resp.StatusCode)
	case stream && !bytes.Contains(text, []byte("[DONE]")):
		return errors.New("a stream without its end")
	case !stream && !bytes.Contains(text, []byte("choices")):
		return errors.New("an answer without choices")
	}
	return nil
}
