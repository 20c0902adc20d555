package parity_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	openai "github.com/openai/openai-go/v3"
)

const whyBudget = "more than every second send fails: the retries of all calls together are bounded, so that an outage is not made worse"

func loadRows() []row {
	return append(faultyRows(), throttledRows()...)
}

// faultyRows are many calls in a row at a service of which a part fails.
func faultyRows() (rows []row) {
	every := func(k int) func(int) bool { return func(number int) bool { return number%k == 1 } }
	for _, tc := range []struct {
		class, name string
		calls       int
		fails       func(number int) bool
		slack       int
		but         *exception
	}{
		{"Every n-th send fails, 100 calls in a row", "every 10th", 100, every(10), 0, nil},
		{"Every n-th send fails, 100 calls in a row", "every 5th", 100, every(5), 0, nil},
		{"Every n-th send fails, 100 calls in a row", "every 3rd", 100, every(3), 0, nil},
		{"Every n-th send fails, 100 calls in a row", "every 2nd", 100, every(2), 0, nil},
		{"Two of three sends fail, 100 calls in a row", "503", 100, func(number int) bool { return number%3 != 0 }, 0, except(whyBudget, inOutcome)},
		{"Sends fail at random, 1,000 calls in a row", "1 in 10", 1000, random(10), 10, nil},
		{"Sends fail at random, 1,000 calls in a row", "1 in 5", 1000, random(5), 10, nil},
		{"Sends fail at random, 1,000 calls in a row", "1 in 4", 1000, random(4), 10, nil},
		{"Sends fail at random, 1,000 calls in a row", "1 in 3", 1000, random(3), 10, nil},
	} {
		rows = append(rows, row{
			class: tc.class, name: tc.name, but: tc.but, slack: tc.slack, server: failingIf(tc.fails),
			calls: func(ctx context.Context, s *side) []result { return sorted(inARow(ctx, s, tc.calls)) },
		})
	}
	return append(rows, outageRows()...)
}

func failingIf(fails func(number int) bool) func(*network) {
	return handle(func(number int, w http.ResponseWriter, r *http.Request) {
		if fails(number) {
			busy(503)(w, r)
			return
		}
		complete(w)
	})
}

func inARow(ctx context.Context, s *side, calls int) (out []result) {
	for range calls {
		out = append(out, chat(ctx, s))
	}
	return out
}

// outageRows are outages of fifty calls, and fifty calls after them.
func outageRows() (rows []row) {
	for _, tc := range []struct {
		name  string
		after func(number int) bool
		but   *exception
	}{
		{"all is well after it", func(int) bool { return false }, nil},
		{"every 2nd send fails after it", func(number int) bool { return number%2 == 1 }, except(whyBudget, inOutcome)},
	} {
		r := row{class: "An outage of 50 calls, then 50 calls: " + tc.name, name: "503", but: tc.but}
		r.server = func(n *network) {
			failingIf(func(number int) bool {
				if !n.healed.Load() {
					n.sick.Add(1)
					return true
				}
				return tc.after(number - int(n.sick.Load()))
			})(n)
		}
		r.calls = func(ctx context.Context, s *side) []result {
			out := inARow(ctx, s, 50)
			s.healed.Store(true)
			return sorted(append(out, inARow(ctx, s, 50)...))
		}
		rows = append(rows, overBoth(r)...)
	}
	return rows
}

// random fails 1 send in k: the same ones on both sides.
func random(k int) func(int) bool {
	return func(number int) bool { return rand.New(rand.NewPCG(uint64(number), uint64(k))).IntN(k) == 0 }
}

// A throttle is a service that takes rate calls a second of each model, and
// answers the rest with a 429.
type throttle struct {
	rate   float64
	models map[string]float64 // that have another rate; 0 is without a limit
	header []string

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// take says whether a call of the model is within the limit.
func (t *throttle) take(model string) bool {
	rate, special := t.models[model]
	if !special {
		rate = t.rate
	}
	if rate == 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buckets[model]
	if b == nil {
		b = &bucket{tokens: rate, at: time.Now()}
		t.buckets[model] = b
	}
	now := time.Now()
	b.tokens = min(rate, b.tokens+rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func throttled(rate float64, models map[string]float64, header ...string) func(*network) {
	return func(n *network) {
		t := &throttle{rate: rate, models: models, header: header, buckets: map[string]*bucket{}}
		handle(func(_ int, w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			model := "m"
			if strings.Contains(string(body), `"model":"free"`) {
				model = "free"
			}
			if !t.take(model) {
				busy(429, t.header...)(w, r)
				return
			}
			time.Sleep(20 * time.Millisecond)
			complete(w)
		})(n)
	}
}

// throttledRows are goroutines that make five calls each at a limit.
func throttledRows() (rows []row) {
	const rate = 20
	for _, header := range [][]string{{"Retry-After", "1"}, {"Retry-After-Ms", "200"}, nil} {
		for _, workers := range []int{5, 10, 30, 50} {
			r := row{
				class:  "20 calls a second are taken, five calls each",
				name:   fmt.Sprintf("%d at once, %s", workers, cmp.Or(strings.Join(header, ": "), "no Retry-After")),
				server: throttled(rate, nil, header...), loose: true,
				calls: func(ctx context.Context, s *side) []result {
					return crowd(workers, 5, func() result { return chat(ctx, s) })
				},
			}
			if len(header) > 0 && header[0] == "Retry-After" {
				r.must = keepsTo(workers, workers*5, rate)
			}
			rows = append(rows, r)
		}
	}
	free := openai.ChatCompletionNewParams{Model: "free", Messages: chatParams().Messages}
	return append(rows, row{
		class: "Another model of the same key is throttled", name: "ten calls of the free one", steady: true, others: true,
		server: throttled(rate, map[string]float64{"free": 0}, "Retry-After", "1"),
		calls: func(ctx context.Context, s *side) []result {
			var others sync.WaitGroup
			for range 50 {
				others.Go(func() { chat(ctx, s) })
			}
			time.Sleep(100 * time.Millisecond)
			began := time.Now()
			var out []result
			for range 10 {
				answer, err := s.sdk.Chat.Completions.New(ctx, free)
				r := result{err: err, status: 200}
				if err == nil {
					r.text = answer.Choices[0].Message.Content
				}
				out = append(out, r)
			}
			s.waited = cmp.Or(time.Since(began), -1)
			others.Wait()
			return out
		},
	})
}

// crowd is that many workers, who make that many calls each.
func crowd(workers, calls int, call func() result) []result {
	var mu sync.Mutex
	var all sync.WaitGroup
	var out []result
	for range workers {
		all.Go(func() {
			for range calls {
				r := call()
				mu.Lock()
				out = append(out, r)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return sorted(out)
}

// keepsTo says whether all calls succeeded, with few sends more than calls, in
// little more than the time that the limit allows.
func keepsTo(workers, calls int, rate float64) func(outcome) string {
	// Those who are under way when the limit is reached are refused: nobody
	// can know of it before.
	most := 1.2 * float64(calls)
	if float64(workers) <= rate {
		most = 1.1 * float64(calls+workers)
	}
	return func(o outcome) string {
		failed := 0
		for _, r := range o.calls {
			if r.rank() < 2 {
				failed++
			}
		}
		least := time.Duration(float64(calls-int(rate)) / rate * float64(time.Second))
		switch {
		case failed > 0:
			return strconv.Itoa(failed) + " calls fail"
		case float64(o.sends) > most:
			return fmt.Sprintf("%d sends for %d calls", o.sends, calls)
		case o.wait > max(least*6/5, least+2*time.Second):
			return fmt.Sprintf("takes %v where the limit allows %v", o.wait, least)
		}
		return ""
	}
}
