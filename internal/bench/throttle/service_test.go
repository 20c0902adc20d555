package throttle_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/internal/bench/throttle"
)

// send sends a prompt of so many tokens.
func send(svc *throttle.Service, model string, tokens int) *http.Response {
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]}`, model, strings.Repeat("and ", tokens))
	req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	req.Header.Set("X-Throttle-Client", "me")
	w := httptest.NewRecorder()
	svc.ServeHTTP(w, req)
	return w.Result()
}

// accepted counts how many of so many requests of one token are let through.
func accepted(svc *throttle.Service, model string, requests int) int {
	n := 0
	for range requests {
		if send(svc, model, 1).StatusCode == http.StatusOK {
			n++
		}
	}
	return n
}

func limited(limits ...throttle.Limit) throttle.Scenario {
	return throttle.Scenario{Limits: map[string][]throttle.Limit{"m": limits}}
}

func TestABucketRefillsAtItsRateUpToItsBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := throttle.NewService(limited(throttle.Limit{Burst: 5, Phases: []throttle.Phase{{Rate: 10}}}))
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{0, 5}, {0, 0}, {300 * time.Millisecond, 3}, {time.Hour, 5}} {
			time.Sleep(step.after)
			if n := accepted(svc, "m", 20); n != step.want {
				t.Errorf("%d of 20 after %s, want %d", n, step.after, step.want)
			}
		}
	})
}

func TestALimitFollowsItsScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := throttle.NewService(limited(throttle.Limit{Burst: 10, Phases: []throttle.Phase{
			{Rate: 10, For: time.Second}, {Rate: 1, For: 5 * time.Second}, {Rate: 10},
		}}))
		for _, step := range []struct{ after, want int }{{0, 10}, {1, 10}, {2, 2}, {3, 3}, {1, 10}} {
			time.Sleep(time.Duration(step.after) * time.Second)
			if n := accepted(svc, "m", 30); n != step.want {
				t.Errorf("%d of 30 after %d s, want %d", n, step.after, step.want)
			}
		}
	})
}

func TestAWindowLetsItsShareThroughAtAnyTimeInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := throttle.NewService(limited(throttle.Limit{Window: time.Second, Phases: []throttle.Phase{{Rate: 4}}}))
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{900 * time.Millisecond, 4}, {99 * time.Millisecond, 0}, {time.Millisecond, 4}, {500 * time.Millisecond, 0}} {
			time.Sleep(step.after)
			if n := accepted(svc, "m", 10); n != step.want {
				t.Errorf("%d of 10 after another %s, want %d", n, step.after, step.want)
			}
		}
	})
}

func TestTokensAndRequestsAreLimitedAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := throttle.NewService(limited(
			throttle.Limit{Burst: 3, Phases: []throttle.Phase{{Rate: 1}}},
			throttle.Limit{Tokens: true, Burst: 100, Phases: []throttle.Phase{{Rate: 10}}},
		))
		for i, step := range []struct{ tokens, want int }{
			{80, 200}, {80, 429}, // the refused one takes no request either
			{10, 200}, {10, 200}, {1, 429},
		} {
			if res := send(svc, "m", step.tokens); res.StatusCode != step.want {
				t.Errorf("request %d, with %d tokens: %d, want %d", i, step.tokens, res.StatusCode, step.want)
			}
		}
		if n := accepted(svc, "unlimited", 50); n != 50 {
			t.Errorf("%d of 50 for a model without a limit", n)
		}
	})
}

func TestA429SaysWhenAsItsHeadersAreSet(t *testing.T) {
	tokens := throttle.Limit{Tokens: true, Burst: 100, Phases: []throttle.Phase{{Rate: 40}}}
	for _, c := range []struct {
		name    string
		headers throttle.Headers
		want    map[string]string
	}{
		{"seconds", throttle.Headers{RetryAfter: true}, map[string]string{"Retry-After": "2"}},
		{"milliseconds", throttle.Headers{RetryAfterMS: true}, map[string]string{"Retry-After-Ms": "1500"}},
		{"none", throttle.Headers{}, map[string]string{}},
		{"x-ratelimit", throttle.Headers{RateLimit: true}, map[string]string{
			"X-Ratelimit-Limit-Tokens": "100", "X-Ratelimit-Remaining-Tokens": "20", "X-Ratelimit-Reset-Tokens": "2s",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := limited(tokens)
				s.Headers = c.headers
				svc := throttle.NewService(s)
				send(svc, "m", 80)
				res := send(svc, "m", 80)
				if res.StatusCode != http.StatusTooManyRequests {
					t.Fatalf("status %d", res.StatusCode)
				}
				for _, name := range []string{
					"Retry-After", "Retry-After-Ms", "X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens",
					"X-Ratelimit-Reset-Tokens", "X-Ratelimit-Limit-Requests",
				} {
					if got := res.Header.Get(name); got != c.want[name] {
						t.Errorf("%s: %q, want %q", name, got, c.want[name])
					}
				}
			})
		})
	}
}

func TestTheServiceKnowsWhatArrivedWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := limited(throttle.Limit{Burst: 1, Phases: []throttle.Phase{{Rate: 1}}})
		s.Answer = 20 * time.Millisecond
		svc := throttle.NewService(s)
		time.Sleep(time.Second)
		svc.Begin()
		send(svc, "m", 7)
		send(svc, "m", 8)
		want := []throttle.Arrival{
			{Model: "m", Client: "me", Tokens: 7, Accepted: true},
			{At: 20 * time.Millisecond, Model: "m", Client: "me", Tokens: 8},
		}
		got := svc.Arrivals()
		if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
			t.Errorf("arrivals %+v, want %+v", got, want)
		}
	})
}
