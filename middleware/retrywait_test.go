package middleware_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// An SDK above must know what was retried here, and what was not.
func TestOnlyRetryMarksWhatItHasDecided(t *testing.T) {
	none := func(next http.RoundTripper) http.RoundTripper { return next }
	for name, tc := range map[string]struct {
		layer middleware.Middleware
		marks bool
	}{
		"Retry":                {mustRetry(t, &middleware.RetryOptions{BaseDelay: 1}), true},
		"Retry without a pace": {mustRetry(t, &middleware.RetryOptions{BaseDelay: 1, DisablePace: true}), true},
		"Retry switched off":   {mustRetry(t, &middleware.RetryOptions{MaxRetries: -1}), false},
		"Replay alone":         {middleware.Replay(), false},
		"Auth alone":           {mustAuth(t, newCache(t, &keys{key: goodKey}), nil), false},
		"Log":                  {middleware.Log(jsonLogger(io.Discard), nil), false},
		"Observe":              {middleware.Observe((&recorder{}).done), false},
		"StreamGuard":          {middleware.StreamGuard(), false},
		"none":                 {none, false},
	} {
		for _, code := range []int{200, 204, 307, 400, 404, 408, 429, 500, 501, 503} {
			for _, says := range []string{"", "true"} {
				header := map[string][]string{"": nil, "true": {"X-Should-Retry", says}}[says]
				synctest.Test(t, func(t *testing.T) {
					resp, err := tc.layer(&script{steps: []func(*http.Request) (*http.Response, error){status(code, "", header...)}}).RoundTrip(post(t, chat, "x"))
					if err != nil {
						t.Fatal(err)
					}
					want := says
					if tc.marks && code >= 400 {
						want = "false"
					}
					if got := resp.Header.Get("X-Should-Retry"); got != want {
						t.Errorf("%s, %d, the service says %q: x-should-retry is %q, want %q", name, code, says, got, want)
					}
					_ = resp.Body.Close()
				})
			}
		}
	}
}

func TestRetryMarksAnAnswerWithoutAHeader(t *testing.T) {
	resp, err := newRetry(t, nil, tripFunc(func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 400, "")
		resp.Header = nil
		return resp, nil
	})).RoundTrip(post(t, chat, "x"))
	if err != nil || resp.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

func TestRetryThatIsAskedForNoWaitTwiceBacksOff(t *testing.T) {
	for _, code := range []int{429, 503} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []func(*http.Request) (*http.Response, error){status(code, "", "Retry-After", "0")}}
			if o := do(newRetry(t, &middleware.RetryOptions{DisablePace: true}, s), post(t, chat, "x")); o.status() != code || len(s.at) != 3 {
				t.Fatalf("%d: status %d after %d sends", code, o.status(), len(s.at))
			}
			if first, second := s.at[1].Sub(s.at[0]), s.at[2].Sub(s.at[1]); first != 0 || second < 375*time.Millisecond {
				t.Errorf("%d: waited %v and %v; want none and a back-off", code, first, second)
			}
		})
	}
}

func TestCallsThatAreToldTheSameTimeDoNotComeBackTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(1e9, 1e9)
		rt := newRetry(t, nil, tripFunc(func(req *http.Request) (*http.Response, error) {
			resp, err := s.RoundTrip(req)
			if s.sendsOf(req.Header.Get("X-Call")) == 1 {
				resp.StatusCode, resp.Header = 503, http.Header{"Retry-After": {"2"}}
			}
			return resp, err
		}))
		all := crowd(rt, 200, func(i int) *http.Request { return named(t, strconv.Itoa(i), "m") })
		slots := map[time.Duration]int{}
		for i, o := range all {
			if o.status() != 200 || o.waited < 2*time.Second || o.waited > 3*time.Second+2*s.took {
				t.Errorf("call %d: status %d after %v, want it after two seconds and a half of them at most", i, o.status(), o.waited)
			}
			slots[o.waited.Round(100*time.Millisecond)]++
		}
		for at, n := range slots {
			if n > 80 {
				t.Errorf("%d of 200 calls came back after %v", n, at)
			}
		}
	})
}

// A refusal whose body does not come must not cost the time of the call.
func TestABodyThatStallsLeavesTheTimeForAnotherSend(t *testing.T) {
	for _, code := range []int{401, 429, 503} {
		for _, deadline := range []time.Duration{0, 8 * time.Second, 2 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				src := &keys{key: deadKey}
				sends := 0
				rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
					if sends++; sends > 1 {
						return answer(req, 200, "ok"), nil
					}
					src.set(goodKey)
					r, w := io.Pipe()
					_ = w // nobody writes
					resp := answer(req, code, "", "Retry-After", "0")
					resp.Body, resp.ContentLength = r, -1
					return resp, nil
				}), middleware.Replay(), mustRetry(t, nil), mustAuth(t, newCache(t, src), nil))
				req := post(t, chat, "x")
				if deadline > 0 {
					ctx, cancel := context.WithTimeout(t.Context(), deadline)
					defer cancel()
					req = req.WithContext(ctx)
				}
				if o := do(rt, req); o.status() != 200 || o.body != "ok" || o.waited > 1500*time.Millisecond {
					t.Errorf("%d, deadline %v: status %d, %v after %v; want the answer of the second send within 1.5 s", code, deadline, o.status(), o.err, o.waited)
				}
			})
		}
	}
}

// openai/openai-python#937: a 429 names no time to wait, but when the limit that is
// used up is full again.
func TestARefusalWithoutATimeIsWaitedForUntilTheLimitIsFull(t *testing.T) {
	for name, tc := range map[string]struct {
		header     []string
		least, end time.Duration
	}{
		"tokens":             {[]string{"X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "4s"}, 4 * time.Second, 5 * time.Second},
		"requests":           {[]string{"X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "4"}, 4 * time.Second, 5 * time.Second},
		"not used up":        {[]string{"X-Ratelimit-Remaining-Tokens", "9", "X-Ratelimit-Reset-Tokens", "4s"}, 0, time.Second},
		"8 s at the most":    {[]string{"X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "6m0s"}, 8 * time.Second, 10 * time.Second},
		"a time comes first": {[]string{"Retry-After", "2", "X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "4s"}, 2 * time.Second, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []func(*http.Request) (*http.Response, error){status(429, throttledBody, tc.header...), status(200, "ok")}}
			o := do(newRetry(t, nil, s), named(t, "a", "m"))
			if o.status() != 200 || len(s.sent) != 2 || o.waited < tc.least || o.waited > tc.end {
				t.Errorf("%s: status %d, %d sends, after %v; want the second after %v", name, o.status(), len(s.sent), o.waited, tc.least)
			}
		})
	}
}
