package client_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// healthy is a transport that costs nothing.
type healthy struct{ resp http.Response }

func (h *healthy) RoundTrip(*http.Request) (*http.Response, error) {
	resp := h.resp
	return &resp, nil
}

func newHealthy() *healthy {
	return &healthy{resp: http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody}}
}

func roundTrips(tb testing.TB, fallbacks int) func() {
	tb.Helper()
	cfg := client.Config{BaseURL: "https://" + east, Source: static(), Transport: newHealthy()}
	for range fallbacks {
		cfg.Fallbacks = append(cfg.Fallbacks, client.Endpoint{BaseURL: "https://" + west, Source: static()})
	}
	c, err := client.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	rt := c.HTTPClient().Transport
	req, err := http.NewRequest("POST", c.BaseURL()+"chat/completions", nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return func() {
		resp, err := rt.RoundTrip(req)
		if err != nil {
			tb.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// BenchmarkFallbacks shows what endpoints cost that are not needed.
func BenchmarkFallbacks(b *testing.B) {
	for _, n := range []int{0, 2} {
		b.Run("fallbacks="+string(rune('0'+n)), func(b *testing.B) {
			b.ReportAllocs()
			call := roundTrips(b, n)
			for b.Loop() {
				call()
			}
		})
	}
}

func TestFallbacksThatAreNotNeededAllocateNothing(t *testing.T) {
	one, three := roundTrips(t, 0), roundTrips(t, 2)
	a, b := testing.AllocsPerRun(100, one), testing.AllocsPerRun(100, three)
	if b > a {
		t.Errorf("%v allocations with fallbacks, and %v without", b, a)
	}
}

// TestARotationAtOneEndpointAndAFaultAtAnother: the key of the second endpoint
// is changed every two seconds while the first is dead.
func TestARotationAtOneEndpointAndAFaultAtAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		w[east].set(dead)
		var version atomic.Int64
		keyNow := func() string { return "CANARY-west-" + string(rune('a'+version.Load())) }
		w[west].set(func(_ int, req *http.Request, _ string) (*http.Response, error) {
			if got := req.Header.Get("Api-Key"); got != keyNow() {
				return reply(401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}`), nil
			}
			return nil, nil
		})
		store := credential.SourceFunc(func(context.Context) (credential.Value, error) {
			return credential.Value{Secret: credential.NewSecret(keyNow()), Scheme: credential.APIKey, Source: "store"}, nil
		})
		c := regions(t, w, func(cfg *client.Config) { cfg.Fallbacks[0].Source = store })
		end := time.Now().Add(20 * time.Second)
		failed, calls := 0, 0
		for time.Now().Before(end) {
			if time.Until(end)%(2*time.Second) < 20*time.Millisecond {
				version.Add(1)
			}
			calls++
			if err := chat(t.Context(), c); err != nil {
				failed++
			}
			time.Sleep(20 * time.Millisecond)
		}
		if failed > 0 || w[vendor].count() > 0 {
			t.Errorf("%d of %d calls failed, and %d went to the third endpoint", failed, calls, w[vendor].count())
		}
		if version.Load() < 5 {
			t.Errorf("%d rotations", version.Load())
		}
	})
}

// TestTheSecondCallPaysNothing: the first call that meets a throttled endpoint
// pays one refused round trip, and those after it nothing.
func TestTheSecondCallPaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		w[east].set(always(429, `{"error":{"message":"slow down"}}`, "Retry-After", "20"))
		c := regions(t, w, nil)
		for i := range 10 {
			start := time.Now()
			if err := chat(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			want := time.Millisecond // a round trip
			if i == 0 {
				want *= 2
			}
			if took := time.Since(start); took != want {
				t.Errorf("call %d took %v, want %v", i+1, took, want)
			}
		}
	})
}

// TestAKeyThatIsOfOneEndpointIsNotSentToAnother looks into each send.
func TestAKeyThatIsOfOneEndpointIsNotSentToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		for host := range w {
			own := strings.Split(host, ".")[0]
			if host == vendor {
				own = "vendor"
			}
			w[host].set(func(n int, req *http.Request, _ string) (*http.Response, error) {
				for name, values := range req.Header {
					for _, v := range values {
						if strings.Contains(v, "CANARY") && !strings.HasSuffix(v, "CANARY-"+own) {
							t.Errorf("%s got another endpoint's credential in %s", host, name)
						}
					}
				}
				if n%2 == 0 {
					return nil, nil
				}
				return reply(503, "busy"), nil
			})
		}
		c := regions(t, w, nil)
		for range 200 {
			_ = chat(t.Context(), c) // some find nobody
		}
	})
}

// TestASendNamesItsEndpoint: in the record, in the log, and for two keys behind
// one address.
func TestASendNamesItsEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, vendor)
		w[east].set(dead)
		var log strings.Builder
		var seen []string
		c := regions(t, w, func(cfg *client.Config) {
			cfg.Fallbacks = append([]client.Endpoint{{BaseURL: "https://" + east, Source: static()}}, cfg.Fallbacks[1])
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			cfg.Observe = func(_ context.Context, s *middleware.Send) { seen = append(seen, s.Endpoint+" "+string(s.Reason)) }
		})
		if err := chat(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want := []string{east + " ", east + "#2 failover connection error", vendor + " failover connection error"}
		if !slices.Equal(seen, want) {
			t.Errorf("%q, want %q", seen, want)
		}
		if !strings.Contains(log.String(), "endpoint="+east+"#2") {
			t.Errorf("the log does not name it:\n%s", log.String())
		}
	})
}

// TestALineIsNotLeftForAnEndpointThatIsDown: one endpoint takes five calls a
// second and the other none. 300 callers are served at that rate, as with the
// first endpoint alone.
func TestALineIsNotLeftForAnEndpointThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west)
		w[east].set(upTo(5, "Retry-After", "1"))
		w[west].set(while(0, 200*time.Second, always(503, "down", "Retry-After", "5")))
		c := regions(t, w, func(cfg *client.Config) { cfg.Fallbacks = cfg.Fallbacks[:1] })
		var wg sync.WaitGroup
		var failed atomic.Int64
		start := time.Now()
		for range 300 {
			wg.Go(func() {
				if err := chat(t.Context(), c); err != nil && failed.Add(1) < 5 {
					t.Logf("after %v: %v", time.Since(start), err)
				}
			})
		}
		wg.Wait()
		// One may meet three refusals in a row before the rate is known.
		if failed.Load() > 3 {
			t.Errorf("%d of 300 calls failed", failed.Load())
		}
		if took := time.Since(start); took > 80*time.Second {
			t.Errorf("it took %v, want about 60 s", took)
		}
		if n := w[east].count(); n > 2*300+30 {
			t.Errorf("%d sends to the first endpoint", n)
		}
		t.Logf("%v; %d and %d sends", time.Since(start), w[east].count(), w[west].count())
	})
}
