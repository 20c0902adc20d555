package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

const throttledBody = `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`

// A throttle is a service that takes so many requests a second, and a burst,
// and refuses the others at once, as gateways do.
type throttle struct {
	rate, burst float64
	took        time.Duration // what an answer takes that is not a refusal
	header      []string      // of a refusal

	mu     sync.Mutex
	tokens float64
	last   time.Time
	sends  []throttledSend
	of     map[string]int // sends of each call
}

type throttledSend struct {
	call  string
	at    time.Time
	taken bool
	body  string
}

func newThrottle(rate, burst float64) *throttle {
	return &throttle{rate: rate, burst: burst, tokens: burst, last: time.Now(), took: 20 * time.Millisecond,
		header: []string{"Retry-After", "1", "X-Request-Id", "req_throttled"}, of: map[string]int{}}
}

func (s *throttle) set(rate, burst float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate, s.burst, s.tokens, s.last = rate, burst, min(s.tokens, burst), time.Now()
}

// lift takes the limit away.
func (s *throttle) lift() { s.set(1e9, 1e9); s.mu.Lock(); s.tokens = 1e9; s.mu.Unlock() }

func (s *throttle) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		data, _ := io.ReadAll(req.Body)
		_ = req.Body.Close()
		body = string(data)
	}
	s.mu.Lock()
	now := time.Now()
	s.tokens = min(s.burst, s.tokens+now.Sub(s.last).Seconds()*s.rate)
	s.last = now
	taken := s.tokens >= 1
	if taken {
		s.tokens--
	}
	call := req.Header.Get("X-Call")
	s.of[call]++
	s.sends = append(s.sends, throttledSend{call, now, taken, body})
	took, header := s.took, s.header
	s.mu.Unlock()
	if !taken {
		return answer(req, 429, throttledBody, header...), nil
	}
	select {
	case <-time.After(took):
		return answer(req, 200, "ok"), nil
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	}
}

// between returns the sends of a span of time, and how many were taken.
func (s *throttle) between(from, to time.Time) (sends, taken int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, send := range s.sends {
		if !send.at.Before(from) && send.at.Before(to) {
			sends++
			if send.taken {
				taken++
			}
		}
	}
	return sends, taken
}

func (s *throttle) sendsOf(call string) int { s.mu.Lock(); defer s.mu.Unlock(); return s.of[call] }

// named returns a request for a model.
func named(t testing.TB, name, model string) *http.Request {
	t.Helper()
	req := jsonPost(t, `{"messages":[],"model":"`+model+`"}`)
	req.Header.Set("X-Call", name)
	return req
}

// An outcome is what came of a call.
type outcome struct {
	resp   *http.Response
	body   string
	err    error
	waited time.Duration
}

func (o outcome) status() int {
	if o.resp == nil {
		return 0
	}
	return o.resp.StatusCode
}

func do(rt http.RoundTripper, req *http.Request) (o outcome) {
	begin := time.Now()
	o.resp, o.err = rt.RoundTrip(req)
	o.waited = time.Since(begin)
	if o.err == nil {
		data, _ := io.ReadAll(o.resp.Body)
		_ = o.resp.Body.Close()
		o.body = string(data)
	}
	return o
}

// crowd makes calls at once and returns what came of them.
func crowd(rt http.RoundTripper, calls int, request func(i int) *http.Request) []outcome {
	all := make([]outcome, calls)
	var wg sync.WaitGroup
	for i := range calls {
		req := request(i)
		wg.Go(func() { all[i] = do(rt, req) })
	}
	wg.Wait()
	return all
}

func statuses(all []outcome) map[int]int {
	n := map[int]int{}
	for _, o := range all {
		n[o.status()]++
	}
	return n
}

func TestBeforeTheFirstRefusalNothingIsHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(1e9, 1e9)
		begin := time.Now()
		all := crowd(newRetry(t, nil, s), 500, func(i int) *http.Request { return named(t, strconv.Itoa(i), "m") })
		if n := statuses(all); n[200] != 500 || len(s.sends) != 500 {
			t.Errorf("outcomes %v of %d sends", n, len(s.sends))
		}
		if sends, _ := s.between(begin, begin.Add(1)); sends != 500 {
			t.Errorf("%d of 500 were sent at once", sends)
		}
	})
}

// What cannot be served while others wait must not be sent: the gate is closed
// for all as long as the service has asked one of them to wait.
func TestARefusalHoldsTheOthersBackForAsLongAsTheServiceAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(1, 1)
		s.tokens, s.header = 0, []string{"Retry-After", "3"}
		rt := newRetry(t, nil, s)
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { do(rt, named(t, "first", "m")) })
		time.Sleep(time.Second)
		wg.Go(func() { do(rt, named(t, "second", "m")) })
		time.Sleep(1500 * time.Millisecond)
		wg.Go(func() { do(rt, named(t, "third", "m")) })
		wg.Wait()
		if sends, _ := s.between(begin.Add(1), begin.Add(3*time.Second)); sends != 0 {
			t.Errorf("%d sends before the three seconds were over", sends)
		}
		if sends, _ := s.between(begin.Add(3*time.Second), begin.Add(3100*time.Millisecond)); sends == 0 {
			t.Error("nobody was sent when the three seconds were over")
		}
	})
}

func TestCallsAreSentInTheOrderInWhichTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(10, 3)
		rt := newRetry(t, nil, s)
		crowd(rt, 6, func(i int) *http.Request { return named(t, fmt.Sprint("early ", i), "m") })
		s.mu.Lock()
		s.tokens, s.last = 0, time.Now()
		s.mu.Unlock()
		from := len(s.sends)
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() { do(rt, named(t, strconv.Itoa(i), "m")) })
			synctest.Wait()
		}
		wg.Wait()
		next, seen := 0, map[string]bool{}
		for _, send := range s.sends[from:] {
			if seen[send.call] {
				continue
			}
			if seen[send.call] = true; send.call != strconv.Itoa(next) {
				t.Fatalf("call %s was sent in place of call %d", send.call, next)
			}
			next++
		}
		if next != 30 {
			t.Errorf("%d of 30 calls were sent", next)
		}
	})
}

// paced returns a layer over s that has learned the rate of s.
func paced(t *testing.T, opts *middleware.RetryOptions, s *throttle) http.RoundTripper {
	t.Helper()
	rt := newRetry(t, opts, s)
	for round := range 12 {
		crowd(rt, int(s.rate+s.burst)+5, func(i int) *http.Request { return named(t, fmt.Sprint("learn ", round, i), "m") })
	}
	return rt
}

func TestACallThatLeavesTheLineLeavesNoHole(t *testing.T) {
	finish := func(leavers int) (last time.Duration, failed int) {
		synctest.Test(t, func(t *testing.T) {
			s := newThrottle(1, 1)
			s.tokens, s.header = 0, []string{"Retry-After", "2"}
			rt := newRetry(t, nil, s)
			begin := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() { do(rt, named(t, "first", "m")) })
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			for i := range leavers {
				wg.Go(func() {
					if o := do(rt, named(t, fmt.Sprint("leaver ", i), "m").WithContext(ctx)); o.err == nil || o.waited != time.Second {
						t.Errorf("a call that was canceled after 1 s returned after %v", o.waited)
					}
				})
				synctest.Wait()
			}
			stay := make([]outcome, 2)
			for i := range stay {
				wg.Go(func() { stay[i] = do(rt, named(t, fmt.Sprint("stayer ", i), "m")) })
				synctest.Wait()
			}
			time.Sleep(time.Second)
			cancel()
			wg.Wait()
			last = time.Since(begin)
			for _, o := range stay {
				if o.status() != 200 {
					failed++
				}
			}
			for i := range leavers {
				if s.sendsOf(fmt.Sprint("leaver ", i)) != 0 {
					t.Error("a call that had left was sent")
				}
			}
		})
		return last, failed
	}
	want, failed := finish(0)
	if failed != 0 {
		t.Fatalf("%d calls failed without anybody leaving", failed)
	}
	// A hole for each would take 20 s at one call a second. A refusal more or less,
	// which is a matter of what happens first in one instant, takes 2 s.
	if got, failed := finish(20); got > want+5*time.Second || failed != 0 {
		t.Errorf("with 20 calls that left it took %v and %d failed; without them %v", got, failed, want)
	}
}

func TestACallThatCannotBeServedInTimeGetsTheServicesOwnRefusalAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(1, 1)
		s.tokens, s.header = 0, []string{"Retry-After", "10", "X-Request-Id", "req_7", "Content-Type", "application/json"}
		rt := newRetry(t, nil, s)
		var wg sync.WaitGroup
		wg.Go(func() { do(rt, named(t, "first", "m")) })
		synctest.Wait()
		for range 2 { // an answer that is given twice has its body twice
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			body := &trackedBody{Reader: strings.NewReader(`{"model":"m"}`)}
			req := named(t, "late", "m").WithContext(ctx)
			req.Body = body
			o := do(rt, req)
			cancel()
			if o.err != nil || o.waited != 0 || s.sendsOf("late") != 0 {
				t.Fatalf("%v after %v and %d sends; want an answer at once and none", o.err, o.waited, s.sendsOf("late"))
			}
			h := o.resp.Header
			if o.status() != 429 || o.body != throttledBody || h.Get("X-Request-Id") != "req_7" || h.Get("Retry-After") != "10" ||
				h.Get("Content-Type") != "application/json" || o.resp.ContentLength != int64(len(throttledBody)) {
				t.Errorf("the answer is %d, %q, %v; want the service's own", o.status(), o.body, h)
			}
			if h.Get("X-Should-Retry") != "false" || o.resp.Request != req || body.closed.Load() != 1 {
				t.Errorf("x-should-retry %q, the caller's own request: %t, %d closes of its body",
					h.Get("X-Should-Retry"), o.resp.Request == req, body.closed.Load())
			}
			h.Set("X-Request-Id", "changed by a caller")
		}
		wg.Wait()
	})
}

func TestOfACrowdWithADeadlineThoseAreServedWhoCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(20, 20)
		rt := paced(t, nil, s)
		from := len(s.sends)
		all := crowd(rt, 500, func(i int) *http.Request {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			t.Cleanup(cancel)
			return named(t, strconv.Itoa(i), "m").WithContext(ctx)
		})
		atOnce := 0
		for i, o := range all {
			if o.err != nil {
				t.Fatalf("call %d: %v after %v; want an answer in time", i, o.err, o.waited)
			}
			if o.status() == 429 && o.waited == 0 && s.sendsOf(strconv.Itoa(i)) == 0 {
				atOnce++
			}
		}
		n, sends := statuses(all), len(s.sends)-from
		if n[200] < 150 || atOnce < 250 || sends > n[200]*13/10+10 {
			t.Errorf("%v, %d refused at once without a send, %d sends; want at least 150 served and 250 refused", n, atOnce, sends)
		}
	})
}

func TestARefusalOfOneModelHoldsUpNoOther(t *testing.T) {
	elsewhere := func(req *http.Request) *http.Request {
		u := *req.URL
		u.Host = "other.example.com"
		req.URL = &u
		return req
	}
	deployment := func(t testing.TB, call, name string) *http.Request {
		req := post(t, api+"/openai/deployments/"+name+"/chat/completions", "{}")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Call", call)
		return req
	}
	for name, tc := range map[string]struct {
		throttled, other func(t testing.TB) *http.Request
		held             bool
	}{
		"the same":         {func(t testing.TB) *http.Request { return named(t, "a", "m1") }, func(t testing.TB) *http.Request { return named(t, "b", "m1") }, true},
		"another":          {func(t testing.TB) *http.Request { return named(t, "a", "m1") }, func(t testing.TB) *http.Request { return named(t, "b", "m2") }, false},
		"another host":     {func(t testing.TB) *http.Request { return named(t, "a", "m1") }, func(t testing.TB) *http.Request { return elsewhere(named(t, "b", "m1")) }, false},
		"deployment":       {func(t testing.TB) *http.Request { return deployment(t, "a", "d1") }, func(t testing.TB) *http.Request { return deployment(t, "b", "d2") }, false},
		"same deployment":  {func(t testing.TB) *http.Request { return deployment(t, "a", "d1") }, func(t testing.TB) *http.Request { return deployment(t, "b", "d1") }, true},
		"one without name": {func(t testing.TB) *http.Request { return named(t, "a", "m1") }, func(t testing.TB) *http.Request { return named(t, "b", "") }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newThrottle(1, 1)
			s.tokens = 0
			rt := newRetry(t, nil, s)
			var wg sync.WaitGroup
			wg.Go(func() { do(rt, tc.throttled(t)) })
			synctest.Wait()
			begin := time.Now()
			s.lift()
			wg.Go(func() { do(rt, tc.other(t)) })
			wg.Wait()
			for _, send := range s.sends {
				if send.call == "b" && (send.at.Sub(begin) > 0) != tc.held {
					t.Errorf("%s: it was sent after %v, held up: want %t", name, send.at.Sub(begin), tc.held)
				}
			}
			if s.sendsOf("b") == 0 {
				t.Errorf("%s: it was not sent", name)
			}
		})
	}
}
