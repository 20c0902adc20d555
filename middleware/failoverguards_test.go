package middleware_test

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// A site is an endpoint of a Failover, behind no Auth. A nil say serves.

type site struct {
	mu    sync.Mutex
	say   tripFunc
	sends int
}

func (s *site) set(say tripFunc) { s.mu.Lock(); s.say = say; s.mu.Unlock() }

func (s *site) count() int { s.mu.Lock(); defer s.mu.Unlock(); return s.sends }

// layer answers in place of what is below.

func (s *site) layer(http.RoundTripper) http.RoundTripper {
	return tripFunc(func(req *http.Request) (*http.Response, error) {
		s.mu.Lock()
		s.sends++
		say := s.say
		s.mu.Unlock()
		if say != nil {
			return say(req)
		}
		return answer(req, 200, "{}"), nil
	})
}

// says is a site that answers each request so.

func says(status int, body string, header ...string) tripFunc {
	return func(req *http.Request) (*http.Response, error) {
		return answer(req, status, body, append([]string{"Content-Type", "application/json"}, header...)...), nil
	}
}

func refused(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// late answers after d, or when the request ends.

func late(d time.Duration, then tripFunc) tripFunc {
	return func(req *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return then(req)
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

// among returns n sites and a round tripper that fails over between them, in

// their order. Without retries a call is sent once.

func among(t *testing.T, n, retries int, opts *middleware.FailoverOptions) ([]*site, http.RoundTripper) {
	t.Helper()
	sites := make([]*site, n)
	routes := make([]middleware.Route, n)
	for i := range sites {
		sites[i] = &site{}
		routes[i] = middleware.Route{Priority: i, Layers: []middleware.Middleware{sites[i].layer}}
	}
	failover, err := middleware.Failover(routes, opts)
	if err != nil {
		t.Fatal(err)
	}
	if retries == 0 {
		return sites, failover(nil)
	}
	retry, err := middleware.Retry(&middleware.RetryOptions{MaxRetries: retries, Budget: -1})
	if err != nil {
		t.Fatal(err)
	}
	return sites, retry(failover(nil))
}

// served makes a call for a model, and reports whether it was served.

func served(t *testing.T, rt http.RoundTripper, model string) bool {
	t.Helper()
	resp, err := rt.RoundTrip(modelPost(t, chat, `{"model":"`+model+`"}`))
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == 200
}

func modelPost(t *testing.T, url, body string) *http.Request {
	t.Helper()
	req := post(t, url, body)
	req.Header.Set("Content-Type", "application/json")
	return req
}

// only fails the test unless each site has got so many sends since the last time.

func only(t *testing.T, what string, sites []*site, before []int, want ...int) []int {
	t.Helper()
	now := make([]int, len(sites))
	got := make([]int, len(sites))
	for i, s := range sites {
		now[i] = s.count()
		got[i] = now[i]
		if before != nil {
			got[i] -= before[i]
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v sends, want %v", what, got, want)
	}
	return now
}

func TestFailoverRefusesNonsense(t *testing.T) {
	one := []middleware.Route{{}}
	for name, tc := range map[string]struct {
		routes []middleware.Route
		opts   *middleware.FailoverOptions
		says   string
	}{
		"no route":            {nil, nil, "no route"},
		"65 routes":           {make([]middleware.Route, 65), nil, "65 routes"},
		"a negative MaxDelay": {one, &middleware.FailoverOptions{MaxDelay: -1}, "MaxDelay"},
		"a negative Weight":   {append(one, middleware.Route{Weight: -1}), nil, "route 2: Weight"},
	} {
		if mw, err := middleware.Failover(tc.routes, tc.opts); mw != nil || err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want an error that says %q", name, err, tc.says)
		}
	}
	if _, err := middleware.Failover(make([]middleware.Route, 64), nil); err != nil {
		t.Errorf("64 routes: %v", err)
	}
}

// The order is that of the priorities, however far they are apart.

func TestAnyNumberIsAPriority(t *testing.T) {
	first, second := &site{}, &site{}
	failover, err := middleware.Failover([]middleware.Route{
		{Priority: math.MaxInt, Layers: []middleware.Middleware{second.layer}},
		{Priority: math.MinInt, Layers: []middleware.Middleware{first.layer}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if served(t, failover(nil), "m"); first.count() != 1 || second.count() != 0 {
		t.Errorf("%d and %d sends, want one to the lowest number", first.count(), second.count())
	}
}

// A route without a name is its number in the list, whatever its place in the

// order; 0 is the default of MaxDelay, and a Weight of 0 is 1.

func TestTheZeroOptionsOfFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &site{}, &site{}
		var events []middleware.RouteEvent
		failover, err := middleware.Failover([]middleware.Route{
			{Priority: 2, Layers: []middleware.Middleware{b.layer}}, {Priority: 1, Layers: []middleware.Middleware{a.layer}},
		}, &middleware.FailoverOptions{OnEvent: func(e middleware.RouteEvent) { events = append(events, e) }})
		if err != nil {
			t.Fatal(err)
		}
		a.set(refused)
		b.set(says(503, "down", "Retry-After", "5"))
		rt := failover(nil)
		served(t, rt, "m")
		served(t, rt, "m")
		if len(events) != 2 || events[0].Route != "2" || events[1].Route != "1" || events[0].Reason != "connection error" || events[1].Reason != "503" {
			t.Fatalf("events %+v, want of the routes 2 and 1", events)
		}
		a.set(nil)
		if !served(t, rt, "m") {
			t.Error("a call did not wait for the second that the first route is left alone")
		}
	})
}

// Of endpoints of one priority each gets its share of the calls; 0 is one part.

func TestAWeightOf0IsOnePart(t *testing.T) {
	sites := []*site{{}, {}, {}}
	failover, err := middleware.Failover([]middleware.Route{
		{Layers: []middleware.Middleware{sites[0].layer}}, {Weight: 3, Layers: []middleware.Middleware{sites[1].layer}}, {Priority: 1, Layers: []middleware.Middleware{sites[2].layer}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rt := failover(nil)
	for range 4000 {
		served(t, rt, "m")
	}
	if a, b, c := sites[0].count(), sites[1].count(), sites[2].count(); a < 800 || a > 1200 || b != 4000-a || c != 0 {
		t.Errorf("%d, %d and %d of 4000 calls, want about 1000, 3000 and none", a, b, c)
	}
}

// However long an endpoint asks to be left alone, it is asked again after an hour.

func TestNoEndpointIsLeftAloneForLongerThanAnHour(t *testing.T) {
	for name, together := range map[string]int{"one answer": 1, "the answers of calls that were under way": 3} {
		synctest.Test(t, func(t *testing.T) {
			sites, rt := among(t, 2, 0, nil)
			sites[0].set(late(time.Second, says(503, "down", "Retry-After", "86400")))
			var wg sync.WaitGroup
			for range together {
				wg.Go(func() { served(t, rt, "m") })
			}
			wg.Wait()
			sites[0].set(nil)
			seen := only(t, name, sites, nil, together, 0)
			time.Sleep(time.Hour - time.Second)
			served(t, rt, "m")
			seen = only(t, name+", within the hour", sites, seen, 0, 1)
			time.Sleep(2 * time.Second)
			served(t, rt, "m")
			only(t, name+", after it", sites, seen, 1, 0)
		})
	}
}

// Of calls that fail together, the first takes the endpoint for failing. The

// others make its time no shorter, and do not count as probes that failed.

func TestCallsThatFailTogetherCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		sites[0].set(late(time.Second, refused))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { served(t, rt, "m") })
		}
		wg.Wait()
		sites[0].set(nil)
		seen := only(t, "together", sites, nil, 20, 0)
		time.Sleep(1100 * time.Millisecond)
		served(t, rt, "m")
		only(t, "a second later", sites, seen, 1, 0)
	})
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		sites[0].set(func(req *http.Request) (*http.Response, error) {
			if wait := req.Header.Get("X-Wait"); wait != "" {
				return late(2*time.Second, says(503, "down", "Retry-After", "5"))(req)
			}
			return says(503, "down", "Retry-After", "20")(req)
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			req := modelPost(t, chat, `{"model":"m"}`)
			req.Header.Set("X-Wait", "1")
			if resp, err := rt.RoundTrip(req); err == nil {
				_ = resp.Body.Close()
			}
		})
		synctest.Wait()
		served(t, rt, "m")
		wg.Wait()
		sites[0].set(nil)
		seen := only(t, "two answers", sites, nil, 2, 0)
		time.Sleep(10 * time.Second)
		served(t, rt, "m")
		only(t, "in the longer of the times", sites, seen, 0, 1)
	})
}

// While its probes fail, an endpoint is asked every 30 seconds and no less often,

// however long that goes on.

func TestAnEndpointThatStaysDownIsProbedEvery30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		sites[0].set(refused)
		seen := []int{0, 0}
		for i := range 80 {
			served(t, rt, "m")
			seen = only(t, fmt.Sprintf("probe %d", i), sites, seen, 1, 0)
			served(t, rt, "m")
			seen = only(t, fmt.Sprintf("after probe %d", i), sites, seen, 0, 1)
			time.Sleep(30*time.Second + time.Millisecond)
			if t.Failed() {
				return
			}
		}
	})
}

// An answer of 500 to a probe says that the endpoint is not back.
