package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

func TestAProbeThatFailsByChanceIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		sites[0].set(refused)
		served(t, rt, "m")
		sites[0].set(says(500, "{}"))
		time.Sleep(time.Second)
		seen := only(t, "before", sites, nil, 1, 0)
		served(t, rt, "m")
		seen = only(t, "the probe", sites, seen, 1, 0)
		served(t, rt, "m")
		only(t, "after it", sites, seen, 0, 1)
	})
}

// Between two failures by chance a success makes the count begin again, also

// while an endpoint is given its calls step by step; and so does the time for

// which it is left alone.

func TestASuccessMakesTheCountsBeginAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		sites[0].set(refused)
		served(t, rt, "m") // left alone for 1 s
		time.Sleep(time.Second)
		served(t, rt, "m") // for 2 s
		time.Sleep(2 * time.Second)
		sites[0].set(nil)
		served(t, rt, "m") // the probe
		for range 4 {
			sites[0].set(says(500, "{}"))
			served(t, rt, "m")
			sites[0].set(nil)
			served(t, rt, "m")
		}
		seen := only(t, "one failure at a time", sites, nil, 11, 0)
		sites[0].set(refused)
		served(t, rt, "m")
		time.Sleep(time.Second)
		sites[0].set(nil)
		served(t, rt, "m")
		only(t, "a second after it has failed again", sites, seen, 2, 0)
	})
}

// A call that was under way when an endpoint failed proves nothing by its success.

func TestASuccessFromBeforeTheFailureProvesNothing(t *testing.T) {
	slow := func(t *testing.T, rt http.RoundTripper, wg *sync.WaitGroup) {
		wg.Go(func() {
			req := modelPost(t, chat, `{"model":"m"}`)
			req.Header.Set("X-Wait", "1")
			if resp, err := rt.RoundTrip(req); err == nil {
				_ = resp.Body.Close()
			}
		})
		synctest.Wait()
	}
	orLate := func(say tripFunc) tripFunc {
		return func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("X-Wait") != "" {
				return late(500*time.Millisecond, says(200, "{}"))(req)
			}
			return say(req)
		}
	}
	for name, between := range map[string]tripFunc{"": nil, "after a success between them": says(200, "{}")} {
		synctest.Test(t, func(t *testing.T) {
			var kinds []string
			sites, rt := among(t, 2, 0, &middleware.FailoverOptions{OnEvent: func(e middleware.RouteEvent) { kinds = append(kinds, e.Kind) }})
			sites[0].set(orLate(says(500, "{}"))) // something is known of it
			served(t, rt, "m")
			var wg sync.WaitGroup
			slow(t, rt, &wg)
			if between != nil {
				sites[0].set(orLate(between))
				served(t, rt, "m")
			}
			sites[0].set(orLate(refused))
			served(t, rt, "m")
			wg.Wait() // it was served
			before := []int{sites[0].count(), sites[1].count()}
			served(t, rt, "m")
			only(t, "while it is left alone"+name, sites, before, 0, 1)
			if slices.Contains(kinds, "recovered") {
				t.Errorf("events %q, want none of a recovery%s", kinds, name)
			}
		})
	}
}

// What is kept of the models of one endpoint is bounded, and is given back.

func TestWhatIsKnownOfAnEndpointIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		missing := says(404, `{"error":{"code":"model_not_found"}}`)
		all := func() {
			for i := range 1100 {
				served(t, rt, "m"+strconv.Itoa(i))
			}
		}
		sites[0].set(missing)
		all()
		seen := only(t, "models that are missing", sites, nil, 1100, 0)
		all()
		seen = only(t, "and again", sites, seen, 100, 1000)
		sites[0].set(says(500, "{}")) // nor is there room to count
		for range 5 {
			served(t, rt, "m1099")
		}
		seen = only(t, "with no room", sites, seen, 5, 0)
		sites[0].set(nil)
		time.Sleep(30 * time.Second)
		for range 6 { // the steps in which an endpoint is given its calls
			all()
		}
		seen = only(t, "they are back", sites, seen, 6600, 0)
		sites[0].set(missing)
		served(t, rt, "another")
		served(t, rt, "another")
		only(t, "there is room again", sites, seen, 1, 1)
	})
}

// The last send of a call is no probe, if another endpoint is known to serve.

func TestTheLastSendOfACallIsNoProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 3, 1, nil)
		sites[0].set(says(500, "{}"))
		sites[1].set(refused)
		if served(t, rt, "m") {
			t.Fatal("a call was served by nobody")
		}
		seen := only(t, "both are down", sites, nil, 1, 1, 0)
		time.Sleep(time.Minute) // the second may be probed
		if !served(t, rt, "m") {
			t.Error("the call was lost to a probe")
		}
		only(t, "the last send", sites, seen, 1, 0, 1)
	})
}

// Endpoints of one priority are asked in any order, and each of them once.

func TestTheOrderOfACallIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites := []*site{{}, {}}
		failover, err := middleware.Failover([]middleware.Route{
			{Layers: []middleware.Middleware{sites[0].layer}}, {Layers: []middleware.Middleware{sites[1].layer}},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		retry, err := middleware.Retry(&middleware.RetryOptions{MaxRetries: 3, Budget: -1})
		if err != nil {
			t.Fatal(err)
		}
		rt := retry(failover(nil))
		missing := says(404, `{"error":{"code":"model_not_found"}}`)
		sites[0].set(missing)
		sites[1].set(missing)
		served(t, rt, "another") // something is known, so that each call looks for its order
		sites[0].set(nil)
		sites[1].set(nil)
		for range 30 {
			served(t, rt, "m")
			before := []int{sites[0].count(), sites[1].count()}
			sites[0].set(says(404, "{}"))
			sites[1].set(says(404, "{}"))
			statusOf(t, rt, "GET", responses+"/resp_9", "")
			only(t, "a response that nobody knows", sites, before, 1, 1)
			sites[0].set(nil)
			sites[1].set(nil)
		}
	})
}

// Once all is well again, a call costs what it did before.

func TestARecoveryLeavesNoCostBehind(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		req := modelPost(t, chat, `{"model":"m"}`)
		cost := func() float64 {
			return testing.AllocsPerRun(200, func() {
				if resp, err := rt.RoundTrip(req); err != nil || resp.StatusCode != 200 {
					t.Error(err)
				}
			})
		}
		before := cost()
		sites[0].set(refused)
		served(t, rt, "m")
		time.Sleep(time.Second)
		sites[0].set(nil)
		for range 10 {
			served(t, rt, "m")
		}
		if after := cost(); after != before {
			t.Errorf("%v allocations before a fault and %v after it", before, after)
		}
	})
}

// A closing body tells whether it was closed.

type closingBody struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func newClosing(text string) *closingBody {
	return &closingBody{Reader: strings.NewReader(text), closed: make(chan struct{})}
}

func (b *closingBody) Close() error { b.once.Do(func() { close(b.closed) }); return nil }

func (b *closingBody) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// A call that no endpoint serves in time, or that ends while it waits for one,

// closes its body.

func TestABodyThatIsNotSentIsClosed(t *testing.T) {
	for name, tc := range map[string]struct {
		asks    string
		timeout time.Duration
		status  int
	}{
		"nothing opens in time": {"3600", time.Minute, 429},
		"the call ends":         {"20", 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			sites, rt := among(t, 1, 0, &middleware.FailoverOptions{MaxDelay: 30 * time.Second})
			sites[0].set(says(503, "down", "Retry-After", tc.asks))
			served(t, rt, "m")
			time.Sleep(100 * time.Millisecond) // of the seconds that are left, a part counts as one
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			body := newClosing(`{"model":"m"}`)
			req := modelPost(t, chat, "").WithContext(ctx)
			req.Body, req.GetBody = body, nil
			if tc.status == 0 {
				time.AfterFunc(time.Second, cancel)
			}
			resp, err := rt.RoundTrip(req)
			switch {
			case tc.status == 0 && !errors.Is(err, context.Canceled):
				t.Errorf("%s: %v", name, err)
			case tc.status != 0 && (err != nil || resp.StatusCode != tc.status || resp.Header.Get("Retry-After") != tc.asks):
				t.Errorf("%s: %v, %v", name, resp, err)
			}
			if !body.isClosed() || sites[0].count() != 1 {
				t.Errorf("%s: closed: %t, %d sends", name, body.isClosed(), sites[0].count())
			}
		})
	}
}

// A call waits for what comes of a probe for as long as MaxDelay, and no longer.

func TestAProbeThatHangsHoldsNobodyForLongerThanMaxDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 1, 2, &middleware.FailoverOptions{MaxDelay: 10 * time.Second})
		sites[0].set(refused)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if resp, err := rt.RoundTrip(modelPost(t, chat, `{"model":"m"}`).WithContext(ctx)); err == nil && resp.StatusCode == 200 {
			t.Fatal("a call was served by nobody")
		}
		time.Sleep(time.Second)
		sites[0].set(late(time.Minute, says(200, "{}")))
		var wg sync.WaitGroup
		wg.Go(func() { served(t, rt, "m") })
		synctest.Wait()
		start := time.Now()
		resp, err := rt.RoundTrip(modelPost(t, chat, `{"model":"m"}`))
		if err != nil || resp.StatusCode != 429 || time.Since(start) != 10*time.Second || resp.Header["Retry-After"] != nil {
			t.Errorf("%v, %v after %v, want a 429 after 10 s, without a time that nobody knows", resp, err, time.Since(start))
		}
		wg.Wait()
	})
}
