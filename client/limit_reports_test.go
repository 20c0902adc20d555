package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// The tests of this file are budgets of other gateways that were passed, as their
// users have reported. docs/limits.md lists them.

// chatOf is a request whose use is bounded by its size and by most tokens.
func chatOf(model string, most int) map[string]any {
	return map[string]any{"model": model, "max_tokens": most, "messages": []any{}}
}

// bound is what a chatOf reserves.
func bound(t *testing.T, body map[string]any) int64 {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	most, _ := body["max_tokens"].(int)
	return int64(len(text) + most)
}

// together makes calls at the same time and counts what came of them.
func together(t *testing.T, calls int, call func() error) (served, refused int64) {
	t.Helper()
	var ok, full atomic.Int64
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			var limited *limit.Error
			switch err := call(); {
			case err == nil:
				ok.Add(1)
			case errors.As(err, &limited):
				full.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return ok.Load(), full.Load()
}

// TestABurstPassesOnlyWhatFitsBeforeAnyAnswer: BerriAI/litellm#34732 and #26672,
// envoyproxy/ai-gateway#680. All calls of a burst found the count below the
// budget, as none of them had been answered yet.
func TestABurstPassesOnlyWhatFitsBeforeAnyAnswer(t *testing.T) {
	const calls, fit = 50, 3
	body := chatOf("m", 100)
	l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Tokens: fit*bound(t, body) + bound(t, body)/2})
	var sent, ended atomic.Int64
	answer := make(chan struct{})
	c := limitedClient(t, l, client.Config{}, func(w http.ResponseWriter, req *http.Request) {
		n := sent.Add(1)
		_, _ = io.Copy(io.Discard, req.Body)
		if n <= fit {
			<-answer
		}
		answerWith(200, usageChunk)(w)
	})
	served, refused := together(t, calls, func() error {
		_, err := c.Post(t.Context(), "/chat/completions", body, nil)
		if ended.Add(1) == calls-fit {
			close(answer) // of those that fit; all others have been told
		}
		return err
	})
	if sent.Load() != fit || served != fit || refused != calls-fit {
		t.Errorf("%d sent, %d served, %d refused; want %d, %d, %d", sent.Load(), served, refused, fit, fit, calls-fit)
	}
}

// TestTheFirstCallsOfATenantAreLimited: BerriAI/litellm#40095. The budget of
// a user who was not known yet was enforced from the second call on.
func TestTheFirstCallsOfATenantAreLimited(t *testing.T) {
	var sent atomic.Int64
	l := newLimiter(t, &limit.Options{Prices: map[string]limit.Price{"m": {Input: 1, Output: 5}}},
		limit.Limit{By: limit.ByTenant, Per: limit.Month, Cost: 1e-9})
	c := limitedClient(t, l, client.Config{}, answering(&sent))
	_, refused := together(t, 8, func() error {
		_, err := c.Post(credential.WithTenant(t.Context(), "new"), "/chat/completions", chatOf("m", 64), nil)
		return err
	})
	if sent.Load() != 0 || refused != 8 {
		t.Errorf("%d sent, %d refused; want 0 and 8", sent.Load(), refused)
	}
}

// TestACallThatMayUseMoreThanIsLeftIsNotSent: envoyproxy/ai-gateway#2394. Tokens
// are counted after the answer, so the call that passes the limit is served, by
// however much it does.
func TestACallThatMayUseMoreThanIsLeftIsNotSent(t *testing.T) {
	var sent atomic.Int64
	small, large := chatOf("m", 10), chatOf("m", 1200)
	l := newLimiter(t, nil, limit.Limit{Per: limit.Minute, Tokens: 1000})
	c := limitedClient(t, l, client.Config{}, answering(&sent))
	for i := range 20 {
		body, fits := small, true
		if i%2 == 1 {
			body, fits = large, false
		}
		_, err := c.Post(t.Context(), "/chat/completions", body, nil)
		var limited *limit.Error
		if fits && err != nil || !fits && !errors.As(err, &limited) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if n, _ := used(l, "tokens"); sent.Load() != 10 || n != 10*29 {
		t.Errorf("%d sent, %d tokens counted", sent.Load(), n)
	}
}

// TestAModelWithoutAPriceIsNotFree: BerriAI/litellm#25874. A model that had no
// price cost nothing, and its budget was not checked. It is behind #23714 as well,
// as BerriAI/litellm#24949 says.
func TestAModelWithoutAPriceIsNotFree(t *testing.T) {
	var sent atomic.Int64
	l := newLimiter(t, &limit.Options{Prices: map[string]limit.Price{"priced": {Input: 1, Output: 5}}}, limit.Limit{Per: limit.Month, Cost: 5})
	c := limitedClient(t, l, client.Config{}, answering(&sent))
	for _, model := range []string{"hosted_vllm/Qwen/Qwen3-8B", "unpriced", "", "price"} {
		if _, err := c.Post(t.Context(), "/chat/completions", chatOf(model, 10), nil); !errors.Is(err, limit.ErrPrice) {
			t.Errorf("%q: %v, want ErrPrice", model, err)
		}
	}
	if sent.Load() != 0 {
		t.Errorf("%d sent", sent.Load())
	}
}

// TestAFreeModelGoesOnWhenTheMoneyIsSpent: BerriAI/litellm#14004 and #38515. Models
// that cost nothing were refused with all others.
func TestAFreeModelGoesOnWhenTheMoneyIsSpent(t *testing.T) {
	var sent atomic.Int64
	paid := chatOf("paid", 100)
	l := newLimiter(t, &limit.Options{Prices: map[string]limit.Price{"paid": {Input: 1, Output: 1}, "own": {}}},
		limit.Limit{Per: limit.Month, Cost: float64(bound(t, paid)) / 1e6})
	c := limitedClient(t, l, client.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		sent.Add(1)
		answerWith(200, `{"choices":[]}`)(w) // no usage: all of the reservation is kept
	})
	for _, step := range []struct {
		body map[string]any
		full bool
	}{{paid, false}, {paid, true}, {chatOf("own", 1000), false}, {paid, true}} {
		_, err := c.Post(t.Context(), "/chat/completions", step.body, nil)
		if limited := (*limit.Error)(nil); errors.As(err, &limited) != step.full {
			t.Errorf("%s: %v", step.body["model"], err)
		}
	}
	if sent.Load() != 2 {
		t.Errorf("%d sent", sent.Load())
	}
}

// TestAStreamThatIsLeftIsPaidFor: BerriAI/litellm#14457. A caller who leaves a
// stream before its usage has come is counted with nothing, and may do so
// for ever.
func TestAStreamThatIsLeftIsPaidFor(t *testing.T) {
	var sent atomic.Int64
	body := chatOf("m", 100)
	body["stream"] = true
	l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Tokens: 5 * bound(t, body)})
	c := limitedClient(t, l, client.Config{}, func(w http.ResponseWriter, req *http.Request) {
		sent.Add(1)
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, eventStream(contentChunk("a")))
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
	})
	refused := 0
	for range 20 {
		for _, err := range c.Stream(t.Context(), "/chat/completions", body) {
			var limited *limit.Error
			if errors.As(err, &limited) {
				refused++
			} else if err != nil {
				t.Error(err)
			}
			break
		}
	}
	if n, held := used(l, "tokens"); sent.Load() != 5 || refused != 15 || n != 5*bound(t, body) || held != 0 {
		t.Errorf("%d sent, %d refused, %d tokens counted, %d held", sent.Load(), refused, n, held)
	}
}

// TestAStreamIsCountedByWhatItReports: envoyproxy/ai-gateway#1754. What is left of
// a limit did not become less, whatever the answers used.
func TestAStreamIsCountedByWhatItReports(t *testing.T) {
	var bodies []string
	var query string
	body := chatOf("m", 100)
	body["stream"] = true
	const ceiling = 1000
	l := newLimiter(t, nil, limit.Limit{Per: limit.Minute, Tokens: ceiling})
	c := limitedClient(t, l, client.Config{IncludeUsage: true}, asking(&bodies, &query))
	calls := int64(0)
	for ; calls < ceiling; calls++ {
		var failed error
		for _, err := range c.Stream(t.Context(), "/chat/completions", body) {
			failed = err
		}
		var limited *limit.Error
		if errors.As(failed, &limited) {
			break
		} else if failed != nil {
			t.Fatal(failed)
		}
		if n, _ := used(l, "tokens"); n != 29*(calls+1) {
			t.Fatalf("%d tokens counted after %d streams of 29", n, calls+1)
		}
	}
	// The last one is refused as soon as its reservation has no room.
	if want := (ceiling-bound(t, body))/29 + 1; calls != want || int64(len(bodies)) != want {
		t.Errorf("%d streams were served, %d sent, want %d", calls, len(bodies), want)
	}
}

// TestTwoClientsWithOneCounterShareACeiling: maximhq/bifrost#3547. Each replica
// had a count of its own, and N of them spent N times the cap.
func TestTwoClientsWithOneCounterShareACeiling(t *testing.T) {
	const ceiling = 10
	for _, shared := range []bool{true, false} {
		var sent atomic.Int64
		counter := &oneCounter{}
		var clients []*client.Client
		for range 3 {
			opts := &limit.Options{}
			if shared {
				opts.Counter = counter
			}
			l := newLimiter(t, opts, limit.Limit{Per: limit.Day, Requests: ceiling})
			clients = append(clients, limitedClient(t, l, client.Config{}, answering(&sent)))
		}
		var turn atomic.Int64
		together(t, 60, func() error {
			_, err := clients[turn.Add(1)%3].Post(t.Context(), "/chat/completions", chatOf("m", 1), nil)
			return err
		})
		want := int64(3 * ceiling) // without a counter: docs/limits.md says so
		if shared {
			want = ceiling
		}
		if sent.Load() != want {
			t.Errorf("shared %t: %d sent, want %d", shared, sent.Load(), want)
		}
	}
}

// A oneCounter is a Counter in memory, for limits with one count.
type oneCounter struct {
	mu   sync.Mutex
	used int64
}

func (c *oneCounter) Reserve(_ context.Context, charges []limit.Charge) (int, time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used+charges[0].Amount > charges[0].Max {
		return 0, charges[0].End, nil
	}
	c.used += charges[0].Amount
	charges[0].At = time.Now().Unix()
	return -1, time.Time{}, nil
}

func (c *oneCounter) Settle(charges []limit.Charge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range charges {
		c.used += ch.Amount
	}
}

// TestALimitThatWouldHoldNothingIsRefused: maximhq/bifrost#5673. A budget in
// a field that was not read was taken without a word, and nothing was enforced.
func TestALimitThatWouldHoldNothingIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		limits []limit.Limit
		says   string
	}{
		"no ceiling":         {[]limit.Limit{{Per: limit.Day}}, "it has no ceiling"},
		"no window":          {[]limit.Limit{{Cost: 5}}, "needs a window"},
		"less than nothing":  {[]limit.Limit{{Per: limit.Day, Cost: -5}}, "must not be negative"},
		"below a billionth":  {[]limit.Limit{{Per: limit.Day, Cost: 1e-10}}, "cannot be counted"},
		"no worst case":      {[]limit.Limit{{Per: limit.Day, Tokens: 5}}, "set Options.WorstInput and WorstOutput"},
		"two of one name":    {[]limit.Limit{{Name: "a", Per: limit.Day, Requests: 5}, {Name: "a", Per: limit.Month, Requests: 5}}, "two limits are called"},
		"one without a name": {[]limit.Limit{{Name: "a", Per: limit.Day, Requests: 5}, {Per: limit.Month, Requests: 5}}, "has no Name"},
	} {
		if _, err := limit.New(test.limits, nil); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
	}
}
