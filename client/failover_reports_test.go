package client_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
)

// The tests of this file are failures of other gateways and libraries that their
// users have reported. docs/failover.md lists them.

type requestKey struct{}

// TestAContextCarriesNothingFromOneCallToTheNext: maximhq/bifrost#4788. A flag
// that stayed in the context ended every second attempt.
func TestAContextCarriesNothingFromOneCallToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		say := func(n int, req *http.Request, body string) (*http.Response, error) {
			return reply(500, `{"error":{"message":"oops"}}`), nil
		}
		c := regions(t, w, nil)
		ctx := context.WithValue(t.Context(), requestKey{}, "of the request that is served")
		for i := range 10 {
			w[east].set(say)
			if err := chat(ctx, c); err != nil {
				t.Errorf("call %d: %v", i, err)
			}
			w[east].set(nil)
			time.Sleep(time.Minute)
			before := w[east].count()
			if err := chat(ctx, c); err != nil || w[east].count() != before+1 {
				t.Errorf("call %d after a failover: %v, and %d sends to the first endpoint", i, err, w[east].count()-before)
			}
		}
	})
}

// TestARecoveredEndpointIsGivenItsCallsStepByStep: maximhq/bifrost#125. An
// endpoint that has just come back is not met by the whole load at once.
func TestARecoveredEndpointIsGivenItsCallsStepByStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		w[east].set(dead)
		c := regions(t, w, nil)
		if err := chat(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w[east].set(slow(100 * time.Millisecond))
		var waves []int
		for range 4 {
			before := w[east].count()
			var wg sync.WaitGroup
			for range 200 {
				wg.Go(func() {
					if err := chat(t.Context(), c); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			waves = append(waves, w[east].count()-before)
		}
		if waves[0] != 1 || waves[1] != 2 || waves[2] <= 2 || waves[2] >= 64 || waves[3] != 200 {
			t.Errorf("of 200 calls at a time the endpoint gets %v, want 1, 2, some more and all", waves)
		}
	})
}

// TestAFallbackThatFailsIsLeftAloneAsWell: BerriAI/litellm#32574 and #34416.
// Only the first endpoint that failed a call was left alone.
func TestAFallbackThatFailsIsLeftAloneAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		w[east].set(always(503, "down", "Retry-After", "20"))
		w[west].set(always(503, "down", "Retry-After", "20"))
		c := regions(t, w, nil)
		for range 20 {
			if err := chat(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if e, s, v := w[east].count(), w[west].count(), w[vendor].count(); e != 1 || s != 1 || v != 20 {
			t.Errorf("%d, %d and %d sends for 20 calls, want 1, 1 and 20", e, s, v)
		}
	})
}

// TestACoolDownLastsAsLongAsTheAnswerAsks: BerriAI/litellm#34416. A cool-down
// that had lost its end lasted for ten minutes.
func TestACoolDownLastsAsLongAsTheAnswerAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		w[east].set(func(n int, _ *http.Request, _ string) (*http.Response, error) {
			return reply(503, "down", "Retry-After", "5"), nil
		})
		c := regions(t, w, nil)
		// Twenty calls fail together: the last answer prolongs nothing.
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := chat(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w[east].set(nil)
		sends := w[east].count()
		time.Sleep(4900 * time.Millisecond)
		if err := chat(t.Context(), c); err != nil || w[east].count() != sends {
			t.Errorf("within the cool-down: %v, and %d sends", err, w[east].count()-sends)
		}
		time.Sleep(200 * time.Millisecond)
		if err := chat(t.Context(), c); err != nil || w[east].count() != sends+1 {
			t.Errorf("after the cool-down: %v, and %d sends", err, w[east].count()-sends)
		}
	})
}

// TestRetryAfterIsKeptToWhenAllAreOut: BerriAI/litellm#7669 and #3646. The
// router failed a call at once, although the first would be back in a second.
func TestRetryAfterIsKeptToWhenAllAreOut(t *testing.T) {
	for name, header := range map[string][]string{
		"Retry-After": {"Retry-After", "2"}, "retry-after-ms": {"Retry-After-Ms", "2000", "Retry-After", "60"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(east, west, vendor)
				begin := time.Now()
				for _, r := range w {
					r.set(func(int, *http.Request, string) (*http.Response, error) {
						if time.Since(begin) < 2*time.Second {
							return reply(429, `{"error":{"message":"slow down"}}`, header...), nil
						}
						return nil, nil
					})
				}
				c := regions(t, w, nil)
				if err := chat(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took < 2*time.Second || took > 2500*time.Millisecond {
					t.Errorf("the call took %v, want the 2 s that the answers ask for", took)
				}
			})
		})
	}
}

// TestOneEndpointAloneIsWaitedFor: BerriAI/litellm#8668. Whether an endpoint was
// left alone depended on how many there were of its group.
func TestOneEndpointAloneIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east)
		w[east].set(func(n int, _ *http.Request, _ string) (*http.Response, error) {
			if n == 1 {
				return reply(503, "down", "Retry-After", "3"), nil
			}
			return nil, nil
		})
		// Models makes it the one endpoint of a Failover.
		c := regions(t, w, func(cfg *client.Config) {
			cfg.Fallbacks, cfg.Models = nil, map[string]string{"chat": "gpt-5-mini"}
		})
		begin := time.Now()
		if err := chat(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); w[east].count() != 2 || took < 3*time.Second || took > 3500*time.Millisecond {
			t.Errorf("%d sends in %v, want 2 and the 3 s that the answer asks for", w[east].count(), took)
		}
	})
}

// TestAGatewaysOwnRefusalGoesElsewhere: envoyproxy/ai-gateway#1571. A refusal
// that the gateway itself makes, for a limit of tokens or a quota of the month,
// was not retried at another backend.
func TestAGatewaysOwnRefusalGoesElsewhere(t *testing.T) {
	for name, say := range map[string]says{
		"tokens per minute": always(429, `{"statusCode":429,"message":"Token limit is exceeded. Try again in 20 seconds."}`, "Retry-After", "20"),
		"quota of a month":  always(403, `{"statusCode":403,"message":"Token quota is exceeded. Try again in 14 days."}`, "Retry-After", "1209600"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(east, west, vendor)
				w[east].set(say)
				c := regions(t, w, nil)
				begin := time.Now()
				for range 10 {
					if err := chat(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(begin); w[east].count() != 1 || w[west].count() != 10 || took > 20*time.Millisecond {
					t.Errorf("%d and %d sends in %v, want 1 and 10, and no wait", w[east].count(), w[west].count(), took)
				}
			})
		})
	}
}

// TestWhenAllAreOutTheAnswerIsA429: Azure-Samples/AI-Gateway#47. The pool
// answered 503 without a time, which clients do not take for throttling.
func TestWhenAllAreOutTheAnswerIsA429(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		for host, after := range map[string]string{east: "7", west: "4", vendor: "9"} {
			w[host].set(always(503, "down", "Retry-After", after))
		}
		c := regions(t, w, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = chat(ctx, c) // it meets the faults
		e := (*client.Error)(nil)
		if err := chat(ctx, c); !errors.As(err, &e) || e.StatusCode != 429 || e.RetryAfter < 3900*time.Millisecond || e.RetryAfter > 4*time.Second {
			t.Errorf("%v, want a 429 with the soonest Retry-After", err)
		}
	})
}
