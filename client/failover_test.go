package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
)

func TestTheFirstEndpointIsUsedWhileItServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		c := regions(t, w, nil)
		for range 100 {
			if err := chat(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if e, o := w[east].count(), w[west].count()+w[vendor].count(); e != 100 || o != 0 {
			t.Errorf("%d sends to the first and %d to others, want 100 and 0", e, o)
		}
	})
}

// TestACallGoesElsewhereAtOnce: no answer that another endpoint can better costs
// a call or a wait.
func TestACallGoesElsewhereAtOnce(t *testing.T) {
	for name, say := range map[string]func(int, *http.Request, string) (*http.Response, error){
		"429 with Retry-After":   always(429, `{"error":{"message":"slow down"}}`, "Retry-After", "20"),
		"429 without":            always(429, `{"error":{"message":"slow down"}}`),
		"429, an hour":           always(429, `{"error":{"message":"slow down"}}`, "Retry-After", "3600"),
		"429, quota spent":       always(429, `{"error":{"message":"no money","type":"insufficient_quota","code":"insufficient_quota"}}`),
		"500":                    always(500, `{"error":{"message":"oops"}}`),
		"503 with Retry-After":   always(503, `busy`, "Retry-After", "5"),
		"520":                    always(520, `<html>`),
		"connection refused":     dead,
		"no such host":           noSuchHost,
		"401":                    always(401, `{"error":{"message":"no","code":"PermissionDenied"}}`),
		"403":                    always(403, `{"error":{"message":"no"}}`),
		"deployment missing":     always(404, `{"error":{"code":"DeploymentNotFound","message":"none"}}`),
		"model missing":          always(404, `{"error":{"code":"model_not_found","message":"none"}}`),
		"an endpoint that hangs": func(int, *http.Request, string) (*http.Response, error) { return nil, timeoutError{} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(east, west, vendor)
				w[east].set(say)
				c := regions(t, w, nil)
				start := time.Now()
				if err := chat(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > 3*time.Millisecond {
					t.Errorf("the call took %v, want two round trips of 1 ms", took)
				}
				if e, o := w[east].count(), w[west].count(); e != 1 || o != 1 {
					t.Errorf("%d sends to the first and %d to the second, want 1 and 1", e, o)
				}
			})
		})
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "net/http: timeout awaiting response headers" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// TestWhatNoEndpointCanBetterGoesBack: what no endpoint can better goes back as it is.
func TestWhatNoEndpointCanBetterGoesBack(t *testing.T) {
	for _, status := range []int{400, 404, 405, 413, 415, 422, 501} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(east, west, vendor)
			w[east].set(always(status, `{"error":{"message":"you"}}`))
			c := regions(t, w, nil)
			e := (*client.Error)(nil)
			if err := chat(t.Context(), c); !errors.As(err, &e) || e.StatusCode != status {
				t.Errorf("%v, want the %d", err, status)
			}
			if o := w[west].count() + w[vendor].count(); o != 0 {
				t.Errorf("%d sends to others, want none", o)
			}
		})
	}
}

// TestEachEndpointGetsWhatIsItsOwn: address, key, and the names of models.
func TestEachEndpointGetsWhatIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		w[east].set(dead)
		w[west].set(dead)
		c := regions(t, w, nil)
		if err := chat(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for host, want := range map[string]struct{ path, key, model string }{
			east:   {"/openai/v1/chat/completions", "CANARY-east", `"chat"`},
			west:   {"/openai/v1/chat/completions", "CANARY-west", `"chat"`},
			vendor: {"/v1/chat/completions", "Bearer CANARY-vendor", `"gpt-5-mini"`},
		} {
			got := w[host].last
			if got.path != want.path || got.key != want.key || !strings.Contains(got.body, `"model":`+want.model) {
				t.Errorf("%s got %s, a key of its own: %v, and %s", host, got.path, got.key == want.key, got.body)
			}
		}
	})
}

func TestAnEndpointComesBackByOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		w[east].set(dead)
		var mu sync.Mutex
		var events []string
		c := regions(t, w, func(cfg *client.Config) {
			cfg.OnRoute = func(e middleware.RouteEvent) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e.Kind)
			}
		})
		load := func(d time.Duration) {
			end := time.Now().Add(d)
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					for time.Now().Before(end) {
						if err := chat(t.Context(), c); err != nil {
							t.Error(err)
							return
						}
						time.Sleep(10 * time.Millisecond)
					}
				})
			}
			wg.Wait()
		}
		load(20 * time.Second)
		// 20 calls meet the fault at first, then one probe after 1, 2, 4 and 8 s.
		if n := w[east].count(); n > 20+5 {
			t.Errorf("%d sends to an endpoint that is dead, want one for each cool-down", n)
		}
		w[east].set(nil)
		load(20 * time.Second)
		before, others := w[east].count(), w[west].count()
		load(time.Second)
		if w[east].count() == before || w[west].count() != others {
			t.Errorf("the first endpoint is back, and gets %d calls; the second gets %d", w[east].count()-before, w[west].count()-others)
		}
		if mu.Lock(); events[len(events)-1] != "recovered" {
			t.Errorf("the last event is %q", events[len(events)-1])
		}
	})
}

func TestAllAreCooling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		for host, after := range map[string]string{east: "7", west: "4", vendor: "9"} {
			w[host].set(always(503, "down", "Retry-After", after))
		}
		c := regions(t, w, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := chat(ctx, c); err == nil {
			t.Fatal("a call was served by nobody")
		}
		start := time.Now()
		e := (*client.Error)(nil)
		if err := chat(ctx, c); !errors.As(err, &e) || e.StatusCode != 429 {
			t.Fatalf("%v, want one 429", err)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %v to say so", took)
		}
		sends := w[east].count() + w[west].count() + w[vendor].count()
		if sends != 3 {
			t.Errorf("%d sends, want none for the second call", sends)
		}
		w[west].set(nil)
		if err := chat(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 3900*time.Millisecond || took > 4100*time.Millisecond {
			t.Errorf("the soonest was waited for for %v, want 4 s", took)
		}
	})
}

func TestProvisionedThroughputKeepsBeingUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		// Every second call is more than it has room for.
		w[east].set(func(n int, _ *http.Request, _ string) (*http.Response, error) {
			if n%2 == 0 {
				return reply(429, `{"error":{"message":"capacity"}}`, "Retry-After-Ms", "800"), nil
			}
			return nil, nil
		})
		c := regions(t, w, func(cfg *client.Config) { cfg.Provisioned = true })
		for range 100 {
			if err := chat(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if e, o := w[east].count(), w[west].count(); e != 100 || o != 50 {
			t.Errorf("%d sends to the provisioned endpoint and %d spilled, want 100 and 50", e, o)
		}
	})
}

func TestWhatAnEndpointKeepsStaysThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		w[east].set(dead)
		w[west].set(func(n int, req *http.Request, body string) (*http.Response, error) {
			return reply(200, fmt.Sprintf(`{"id":"resp_%d","object":"response"}`, n)), nil
		})
		c := regions(t, w, nil)
		ask := func(previous string) {
			t.Helper()
			in := map[string]any{"model": "chat", "input": "hi"}
			if previous != "" {
				in["previous_response_id"] = previous
			}
			if _, err := c.Post(t.Context(), "responses", in, nil); err != nil {
				t.Fatal(err)
			}
		}
		ask("")
		w[east].set(nil) // it is back, and does not know the response
		time.Sleep(time.Minute)
		before := w[east].count()
		ask("resp_1")
		if w[east].count() != before || w[west].count() != 2 {
			t.Error("a call that follows a response went to another endpoint")
		}
		if _, err := c.Do(t.Context(), "GET", "responses/resp_1", nil, nil); err != nil {
			t.Fatal(err)
		}
		if w[east].count() != before || w[west].count() != 3 {
			t.Error("a stored response was looked for at another endpoint")
		}
		ask("")
		if w[east].count() == before {
			t.Error("a call of its own did not go to the first endpoint")
		}
		// A file is put where the list begins, and is not put anywhere else.
		w[east].set(dead)
		if _, err := c.Post(t.Context(), "files", map[string]any{"a": 1}, nil); err == nil || w[vendor].count() > 0 {
			t.Error("a file was put where nobody will look for it")
		}
	})
}

// A response of another process is asked for where it is.
func TestAResourceOfAnotherProcessIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		missing := always(404, `{"error":{"message":"Response not found","code":"not_found"}}`)
		w[east].set(missing)
		w[west].set(always(400, `{"error":{"message":"no","code":"previous_response_not_found"}}`))
		c := regions(t, w, nil)
		in := map[string]any{"model": "chat", "input": "hi", "previous_response_id": "resp_elsewhere"}
		if _, err := c.Post(t.Context(), "responses", in, nil); err != nil {
			t.Fatal(err)
		}
		if w[east].count() != 1 || w[west].count() != 1 || w[vendor].count() != 1 {
			t.Errorf("%d, %d, %d sends", w[east].count(), w[west].count(), w[vendor].count())
		}
	})
}
