package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

const (
	providerKey = "sk-of-the-service"
	dripEvery   = 20 * time.Millisecond // between the words of a slow answer
)

// A provider imitates OpenAI, and writes a bill for each tenant.
type provider struct {
	service *clienttest.Service
	price   limit.Price

	mu   sync.Mutex
	bill map[string]float64
}

// ServeHTTP answers with an echo. The whole answer is billed, also if nobody
// reads it to its end.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var asked struct {
		Who      string `json:"safety_identifier"`
		Messages []struct{ Content string }
	}
	if json.Unmarshal(body, &asked) == nil && len(asked.Messages) == 1 {
		tokens := func(text string) float64 { return float64((len(text) + 3) / 4) } // as clienttest counts
		question := asked.Messages[0].Content
		p.mu.Lock()
		p.bill[asked.Who] += (tokens(question)*p.price.Input + tokens("echo: "+question)*p.price.Output) / 1e6
		p.mu.Unlock()
	}
	p.service.ServeHTTP(w, r)
}

func (p *provider) billed(tenant string) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bill[tenant]
}

// A stage is the service, the provider behind it, and a script of a day.
type stage struct {
	out      io.Writer
	service  *service
	provider *provider
	url      string
	asking   sync.WaitGroup

	mu   sync.Mutex
	hour time.Time // zero: the clock is the real one
}

// now is the clock of the service.
func (s *stage) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hour.IsZero() {
		return time.Now()
	}
	return s.hour
}

// set moves the clock, if it is the show's own.
func (s *stage) set(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hour.IsZero() {
		s.hour = t
	}
}

func show(ctx context.Context, out io.Writer, store string) error {
	ctx, cancel := context.WithCancel(ctx)
	day := time.Date(2026, time.December, 1, 0, 0, 0, 0, time.UTC)
	st := &stage{out: out, hour: day}
	if store != "" {
		st.hour = time.Time{} // a Redis has its own clock
	}
	// Another run of the show begins with all budgets full.
	begun := time.Now()
	counter, done, err := shared(store, &redislimit.Options{
		Prefix: "latchkey:budget-show:" + strconv.FormatInt(begun.UnixNano(), 36) + ":", NewUntil: begun.Add(time.Hour),
	})
	if err != nil {
		cancel()
		return err
	}
	defer done()
	var ended sync.WaitGroup
	defer ended.Wait()
	defer cancel()
	if err := st.build(ctx, counter, &ended); err != nil {
		return err
	}
	fmt.Fprintf(out, "An answer is held with up to %d tokens, and costs what it was: $%g and $%g for a million tokens of input and output.\n\n", maxAnswer, st.service.price.Input, st.service.price.Output)
	st.play(ctx, day)
	return st.verdict()
}

// build starts the provider and the service on loopback ports.
func (s *stage) build(ctx context.Context, counter limit.Counter, ended *sync.WaitGroup) error {
	c := config{model: "gpt-show", price: limit.Price{Input: 2, Output: 8}, counter: counter, now: s.now}
	for _, t := range []struct {
		name  string
		daily float64
	}{{"acme", 0.05}, {"globex", 0.01}, {"initech", 0.02}} {
		c.tenants = append(c.tenants, newTenant(t.name, "pw-"+t.name, t.daily))
	}
	s.provider = &provider{service: clienttest.NewService(providerKey), price: c.price, bill: map[string]float64{}}
	behind, err := start(ctx, s.provider, ended)
	if err != nil {
		return err
	}
	s.service, err = newService(c, client.Config{
		BaseURL: behind + "/v1/", Source: credential.Static(credential.NewSecret(providerKey), credential.APIKey),
	})
	if err != nil {
		return err
	}
	h := s.service.handler()
	s.url, err = start(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asking.Add(1)
		defer s.asking.Done()
		h.ServeHTTP(w, r)
	}), ended)
	return err
}

// start serves on a loopback port until ctx ends.
func start(ctx context.Context, h http.Handler, ended *sync.WaitGroup) (string, error) {
	address := make(chan string, 1)
	failed := make(chan error, 1)
	ended.Go(func() {
		failed <- serve(ctx, net.JoinHostPort("127.0.0.1", "0"), h, func(addr string) { address <- addr })
	})
	select {
	case addr := <-address:
		return "http://" + addr, nil
	case err := <-failed:
		return "", err
	}
}

// play is the script of the day.
func (s *stage) play(ctx context.Context, day time.Time) {
	s.set(day.Add(8 * time.Hour))
	s.ask(ctx, "acme", 12, 1, false)
	s.set(day.Add(9 * time.Hour))
	s.ask(ctx, "globex", 60, 2, false)
	s.set(day.Add(15 * time.Hour))
	s.provider.service.Inject(clienttest.Fault{Path: "/completions", Times: -1, DripEvery: dripEvery})
	s.ask(ctx, "initech", 8, 1, true)
	s.provider.service.ClearFaults()
	s.set(day.Add(18 * time.Hour))
	s.ask(ctx, "acme", 12, 1, false)
	fmt.Fprintln(s.out)
	s.service.account(s.out)
	if s.hour.IsZero() {
		return // tomorrow does not come for us
	}
	fmt.Fprintln(s.out)
	s.set(day.Add(24 * time.Hour))
	s.ask(ctx, "globex", 10, 1, false)
	fmt.Fprintln(s.out)
	s.service.account(s.out)
}

// ask asks questions, some at a time. A tenant who leaves reads the first word.
func (s *stage) ask(ctx context.Context, tenant string, questions, together int, leaves bool) {
	var mu sync.Mutex
	results := map[string]int{}
	first := ""
	next := make(chan int)
	var wg sync.WaitGroup
	for range together {
		wg.Go(func() {
			for n := range next {
				result, text := s.question(ctx, tenant, fmt.Sprintf("Question %d of %s: what does a latchkey open, and who carries one?", n, tenant), leaves)
				mu.Lock()
				if results[result]++; result == "refused" && first == "" {
					first = text
				}
				mu.Unlock()
			}
		})
	}
	for n := range questions {
		next <- n + 1
	}
	close(next)
	wg.Wait()
	s.asking.Wait()
	var parts []string
	for _, what := range []string{"answered", "left before the end", "refused", "failed"} {
		if results[what] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", results[what], what))
		}
	}
	fmt.Fprintf(s.out, "%s  %s asks %d questions, %d at a time: %s\n", s.now().UTC().Format("Jan 2 15:04"), tenant, questions, together, strings.Join(parts, ", "))
	if first != "" {
		fmt.Fprintf(s.out, "              %s\n", first)
	}
}

// question asks one question, and says what came of it.
func (s *stage) question(ctx context.Context, tenant, text string, leaves bool) (result, body string) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/ask", strings.NewReader(text))
	if err != nil {
		return "failed", err.Error()
	}
	req.SetBasicAuth(tenant, "pw-"+tenant)
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return "failed", err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	if leaves && resp.StatusCode == http.StatusOK {
		_, _ = resp.Body.Read(make([]byte, 1)) // whatever comes, it is enough
		return "left before the end", ""
	}
	answer, err := io.ReadAll(resp.Body)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return "refused", fmt.Sprintf("%s, Retry-After: %s, %s", resp.Status, resp.Header.Get("Retry-After"), bytes.TrimSpace(answer))
	case err != nil || resp.StatusCode != http.StatusOK:
		return "failed", string(answer)
	}
	return "answered", string(answer)
}

// verdict compares the provider's bill with the ceilings.
func (s *stage) verdict() error {
	fmt.Fprintln(s.out)
	days := 1.0
	if !s.hour.IsZero() {
		days = 2
	}
	var over []error
	for _, t := range s.service.tenants {
		billed := s.provider.billed(t.name)
		fmt.Fprintf(s.out, "%s was billed %s.\n", t.name, money(billed))
		if billed > days*t.daily {
			over = append(over, fmt.Errorf("%s was billed %s, more than %s a day", t.name, money(billed), money(t.daily)))
		}
	}
	return errors.Join(over...)
}
