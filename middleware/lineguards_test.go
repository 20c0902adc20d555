package middleware_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// inLine returns an only endpoint with a line, which takes calls after 4 s.

func inLine(t *testing.T) ([]*site, http.RoundTripper) {
	t.Helper()
	sites, rt := among(t, 1, 2, &middleware.FailoverOptions{MaxDelay: 5 * time.Second})
	sites[0].set(says(429, "{}", "Retry-After", "4"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if resp, err := rt.RoundTrip(modelPost(t, chat, `{"model":"m"}`).WithContext(ctx)); err != nil || resp.StatusCode != 429 {
		t.Fatalf("%v, %v", resp, err)
	}
	sites[0].set(nil)
	return sites, rt
}

// A call that leaves the line of an endpoint leaves no hole.

func TestACallThatLeavesTheLineOfAnEndpointLeavesNoHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, rt := inLine(t)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if resp, err := rt.RoundTrip(modelPost(t, chat, `{"model":"m"}`).WithContext(ctx)); err == nil {
					_ = resp.Body.Close()
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		begin := time.Now()
		if !served(t, rt, "m") || time.Since(begin) > 4*time.Second {
			t.Errorf("the last call was served after %v, want 4 s", time.Since(begin))
		}
	})
}

// A call for which the line is too long is told when its turn would come. Where all
// calls are sent before the first answer is there, no line forms: then they try again.
func TestACallIsToldWhenItsTurnWouldCome(t *testing.T) {
	longest := 0
	for range 5 {
		synctest.Test(t, func(t *testing.T) { longest = max(longest, longestHint(t)) })
		if longest > 5000 {
			return
		}
	}
	t.Errorf("of 200 calls one is told to come again in %d ms, want more than MaxDelay", longest)
}

// longestHint is the longest Retry-After-Ms of 200 calls at a service that takes one a
// second.
func longestHint(t *testing.T) int {
	sites, rt := inLine(t)
	var mu sync.Mutex
	last := time.Now()
	sites[0].set(func(req *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) < time.Second {
			return says(429, "{}", "Retry-After", "1")(req)
		}
		last = time.Now()
		return answer(req, 200, "{}"), nil
	})
	var wg sync.WaitGroup
	longest := 0
	for range 200 {
		wg.Go(func() {
			resp, err := rt.RoundTrip(modelPost(t, chat, `{"model":"m"}`))
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			ms, _ := strconv.Atoi(resp.Header.Get("Retry-After-Ms"))
			mu.Lock()
			longest = max(longest, ms)
			mu.Unlock()
		})
	}
	wg.Wait()
	return longest
}

// A call goes elsewhere at once if another endpoint may serve it: one that has

// not failed it and is not left alone, or one in whose line it stands. Else it

// waits as long as Retry does.

func TestACallGoesElsewhereOnlyWhereItMayBeServed(t *testing.T) {
	limit, oops, busy, ok := says(429, "{}", "Retry-After", "1"), says(500, "{}"), says(503, "{}", "Retry-After", "30"), says(200, "{}")
	for name, tc := range map[string]struct {
		first, second []tripFunc
		want          string
	}{
		"to one that is well":            {[]tripFunc{oops}, []tripFunc{ok}, "0 ; 1 failover 500"},
		"back into a line":               {[]tripFunc{limit, ok}, []tripFunc{busy}, "0 ; 1 failover 429; 0 failover 503"},
		"not to where a line was left":   {[]tripFunc{limit, oops, ok}, []tripFunc{busy}, "0 ; 1 failover 429; 0 failover 503; 0 retry 500"},
		"not to where both have failed":  {[]tripFunc{oops, ok}, []tripFunc{oops}, "0 ; 1 failover 500; 0 retry 500"},
		"not to where one is left alone": {[]tripFunc{oops, ok}, nil, "0 ; 0 retry 500"},
		"past one that is left alone":    {[]tripFunc{busy}, []tripFunc{oops, ok}, "0 ; 1 failover 503; 1 retry 500"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var sends []string
			var routes []middleware.Route
			for i, left := range [][]tripFunc{tc.first, tc.second} {
				s := &site{}
				s.set(func(req *http.Request) (*http.Response, error) {
					if req.Header.Get("X-Before") != "" {
						return []tripFunc{oops, busy}[i](req)
					}
					if len(left) == 0 {
						return ok(req)
					}
					say := left[0]
					left = left[1:]
					return say(req)
				})
				routes = append(routes, middleware.Route{Priority: i, Name: strconv.Itoa(i), Layers: []middleware.Middleware{
					middleware.Observe(func(_ context.Context, s *middleware.Send) { sends = append(sends, s.Endpoint+" "+string(s.Reason)) }), s.layer,
				}})
			}
			failover, err := middleware.Failover(routes, nil)
			if err != nil {
				t.Fatal(err)
			}
			retry, err := middleware.Retry(&middleware.RetryOptions{MaxRetries: 3, Budget: -1})
			if err != nil {
				t.Fatal(err)
			}
			rt := retry(failover(nil))
			if tc.second == nil { // an earlier call has found out
				req := modelPost(t, chat, `{"model":"m"}`)
				req.Header.Set("X-Before", "1")
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				defer cancel()
				if resp, err := rt.RoundTrip(req.WithContext(ctx)); err == nil {
					_ = resp.Body.Close()
				}
				sends = nil
			}
			if !served(t, rt, "m") {
				t.Errorf("%s: the call was lost", name)
			}
			if got := strings.Join(sends, "; "); got != tc.want {
				t.Errorf("%s: %q, want %q", name, got, tc.want)
			}
		})
	}
}

// An endpoint that has no room for a call is there: what it was left alone for

// is over.

func TestAnEndpointWithoutRoomIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &site{}, &site{}
		failover, err := middleware.Failover([]middleware.Route{
			{Layers: []middleware.Middleware{first.layer}, Provisioned: true}, {Priority: 1, Layers: []middleware.Middleware{second.layer}},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		rt, sites := failover(nil), []*site{first, second}
		first.set(refused)
		served(t, rt, "m") // left alone for 1 s
		time.Sleep(time.Second)
		first.set(says(429, "{}"))
		served(t, rt, "m")
		first.set(refused)
		served(t, rt, "m") // for 1 s again, and not for 2
		first.set(nil)
		time.Sleep(time.Second)
		before := only(t, "until then", sites, nil, 3, 0)
		served(t, rt, "m")
		only(t, "a second later", sites, before, 1, 0)
	})
}

// What a call in a line gets other than a refusal for its rate makes way for

// the next.

func TestAFailureInALineHoldsNobodyUp(t *testing.T) {
	for name, say := range map[string]tripFunc{"a fault of the caller's": says(400, "{}"), "a failure by chance": says(500, "{}")} {
		synctest.Test(t, func(t *testing.T) {
			sites, rt := among(t, 1, 0, nil)
			sites[0].set(says(429, "{}", "Retry-After", "1"))
			served(t, rt, "m")
			sites[0].set(say)
			served(t, rt, "m") // in its turn
			sites[0].set(nil)
			begin := time.Now()
			for range 20 {
				if !served(t, rt, "m") {
					t.Errorf("%s: a call was lost", name)
				}
			}
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("%s: 20 calls behind it took %v", name, took)
			}
		})
	}
}
