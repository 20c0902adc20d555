package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

func TestNobodyWaitsForLongerThanMaxDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(5, 5)
		rt := paced(t, &middleware.RetryOptions{MaxDelay: 4 * time.Second}, s)
		all := crowd(rt, 200, func(i int) *http.Request { return named(t, strconv.Itoa(i), "m") })
		atOnce := 0
		for i, o := range all {
			// A refusal that the service made may be followed by another wait.
			if o.err != nil || o.waited > 3*(4*time.Second+s.took) {
				t.Errorf("call %d: %v after %v", i, o.err, o.waited)
			}
			if o.status() == 429 && o.waited == 0 && s.sendsOf(strconv.Itoa(i)) == 0 && o.resp.Header.Get("X-Should-Retry") == "false" {
				atOnce++
			}
		}
		if n := statuses(all); n[200] < 15 || atOnce < 150 {
			t.Errorf("%v, %d refused at once; want at least 15 served and 150 refused", n, atOnce)
		}
	})
}

func TestASpentQuotaOpensNoGate(t *testing.T) {
	for name, body := range map[string]string{
		"old":      `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`,
		"by type":  `{"error":{"message":"m","type":"insufficient_quota","code":null}}`,
		"flat":     `{"code":"insufficient_quota","message":"m"}`,
		"credit":   `{"error":{"code":"credit_balance_exhausted"}}`,
		"too long": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			header := []string{"Retry-After", "5"}
			if name == "too long" { // for the layer; the wait is
				body, header = throttledBody, []string{"Retry-After", "3600"}
			}
			s := &script{steps: []func(*http.Request) (*http.Response, error){status(429, body, header...), status(200, "ok")}}
			rt := newRetry(t, nil, s)
			begin := time.Now()
			if o := do(rt, named(t, "a", "m")); o.status() != 429 || o.body != body || len(s.sent) != 1 {
				t.Errorf("%s: status %d after %d sends, want the refusal of the first", name, o.status(), len(s.sent))
			}
			if o := do(rt, named(t, "b", "m")); o.status() != 200 || time.Since(begin) != 0 {
				t.Errorf("%s: the next call got %d after %v, want to be sent at once", name, o.status(), time.Since(begin))
			}
		})
	}
}

// busyLoop makes calls one after the other in so many goroutines, and returns
// how many were not answered with 200.
func busyLoop(t *testing.T, rt http.RoundTripper, workers int, span time.Duration, model string) (calls, failed int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	end := time.Now().Add(span)
	for i := range workers {
		wg.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				o := do(rt, named(t, fmt.Sprint(model, i, "/", n), model))
				mu.Lock()
				if calls++; o.status() != 200 {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return calls, failed
}

func TestTheFullRateIsBackSecondsAfterALimitIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(10, 10)
		s.took = 100 * time.Millisecond
		rt := newRetry(t, nil, s)
		begin := time.Now()
		const lifted = 20 * time.Second
		time.AfterFunc(lifted, s.lift)
		_, failed := busyLoop(t, rt, 30, lifted+12*time.Second, "m")
		if failed != 0 {
			t.Errorf("%d calls failed", failed)
		}
		if _, taken := s.between(begin.Add(5*time.Second), begin.Add(lifted)); taken < 15*8 {
			t.Errorf("%d were taken in 15 s of a limit of 10/s", taken)
		}
		// 30 workers can make 300 calls a second.
		if _, taken := s.between(begin.Add(lifted+6*time.Second), begin.Add(lifted+8*time.Second)); taken < 400 {
			t.Errorf("%d were taken in two seconds, 6 s after the limit was lifted; want 400 of the 600 that are asked for", taken)
		}
	})
}

func TestALimitThatIsLoweredIsKeptSecondsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(100, 100)
		rt := newRetry(t, nil, s)
		begin := time.Now()
		const lowered = 15 * time.Second
		time.AfterFunc(lowered, func() { s.set(10, 10) })
		calls, failed := busyLoop(t, rt, 40, lowered+20*time.Second, "m")
		if failed > calls/50 {
			t.Errorf("%d of %d calls failed", failed, calls)
		}
		sends, taken := s.between(begin.Add(lowered+5*time.Second), begin.Add(lowered+20*time.Second))
		if taken < 15*8 || sends > taken*13/10 {
			t.Errorf("from 5 s after it on %d sends and %d taken in 15 s, want at least 120 and few more sends", sends, taken)
		}
	})
}

// The figures of docs/: 50 goroutines with 5 calls each at 20 a second.
func TestUnderThrottlingNobodyFailsAndFewSendsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(20, 20)
		rt := newRetry(t, nil, s)
		begin := time.Now()
		failed := 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for n := range 5 {
					if o := do(rt, named(t, fmt.Sprint(i, "/", n), "m")); o.status() != 200 {
						mu.Lock()
						failed++
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		limit := 11500 * time.Millisecond // (250 - 20) / 20 s
		if took := time.Since(begin); failed != 0 || len(s.sends) > 300 || took > limit*12/10 {
			t.Errorf("%d of 250 calls failed, %d sends, %v; want 0, at most 300, and at most 1.2 times %v", failed, len(s.sends), took, limit)
		}
	})
}

func TestAMinuteAfterTheLastRefusalThereIsNoPace(t *testing.T) {
	for pause, want := range map[time.Duration]bool{50 * time.Second: false, 2 * time.Minute: true} {
		synctest.Test(t, func(t *testing.T) {
			s := newThrottle(5, 5)
			rt := paced(t, nil, s)
			time.Sleep(pause)
			s.lift()
			begin := time.Now()
			crowd(rt, 100, func(i int) *http.Request { return named(t, strconv.Itoa(i), "m") })
			sends, _ := s.between(begin, begin.Add(1))
			if (sends == 100) != want {
				t.Errorf("after %v %d of 100 calls were sent at once", pause, sends)
			}
		})
	}
}

func TestTheNumberOfPacedModelsIsBounded(t *testing.T) {
	const bound, more = 1000, 6
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(1, 1)
		s.tokens, s.header = 0, []string{"Retry-After", "30"}
		rt := newRetry(t, nil, s)
		var wg sync.WaitGroup
		for i := range bound + more {
			req := named(t, "first", fmt.Sprint("m", i))
			wg.Go(func() { do(rt, req) })
		}
		synctest.Wait()
		s.lift()
		time.Sleep(time.Second)
		begin := time.Now()
		for i := range bound + more {
			req := named(t, "second", fmt.Sprint("m", i))
			wg.Go(func() { do(rt, req) })
		}
		wg.Wait()
		if sends, _ := s.between(begin, begin.Add(time.Second)); sends != more {
			t.Errorf("of %d models that are throttled %d were not paced, want %d", bound+more, sends, more)
		}
	})
}

func TestThePaceCanBeSwitchedOff(t *testing.T) {
	for name, opts := range map[string]*middleware.RetryOptions{"DisablePace": {DisablePace: true}, "no retries": {MaxRetries: -1}} {
		synctest.Test(t, func(t *testing.T) {
			s := newThrottle(1, 1)
			s.tokens, s.header = 0, []string{"Retry-After", "3"}
			rt := newRetry(t, opts, s)
			var wg sync.WaitGroup
			wg.Go(func() { do(rt, named(t, "a", "m")) })
			synctest.Wait()
			s.lift()
			if o := do(rt, named(t, "b", "m")); o.status() != 200 || o.waited != s.took {
				t.Errorf("%s: status %d after %v, want to be sent at once", name, o.status(), o.waited)
			}
			wg.Wait()
		})
	}
}

func TestACallIsSentNoMoreOftenThanAllowedHoweverOftenItIsRefused(t *testing.T) {
	for _, retries := range []int{1, 2, 5} {
		for _, header := range [][]string{nil, {"Retry-After", "1"}, {"Retry-After", "0"}, {"X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "2s"}} {
			synctest.Test(t, func(t *testing.T) {
				s := newThrottle(0, 0)
				s.header = header
				rt := newRetry(t, &middleware.RetryOptions{MaxRetries: retries}, s)
				all := crowd(rt, 20, func(i int) *http.Request { return named(t, strconv.Itoa(i), "m") })
				most := 0
				for i, o := range all {
					sends := s.sendsOf(strconv.Itoa(i))
					if most = max(most, sends); o.status() != 429 || o.body != throttledBody {
						t.Errorf("%d retries, %v: call %d got %d, %v after %d sends", retries, header, i, o.status(), o.err, sends)
					}
				}
				if most != 1+retries {
					t.Errorf("%d retries, %v: no call was sent %d times, or one more often: %d", retries, header, 1+retries, most)
				}
			})
		}
	}
}

func TestABodyThatCannotBeHadAgainWaitsForItsTurnAndIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(1, 1)
		s.tokens, s.header = 0, []string{"Retry-After", "2"}
		rt := newRetry(t, nil, s)
		once := func(name string) *http.Request {
			req := post(t, chat, "prompt")
			req.GetBody = nil
			req.Header.Set("X-Call", name)
			return req
		}
		if o := do(rt, once("refused")); o.status() != 429 || o.waited != 0 || o.body != throttledBody || s.sendsOf("refused") != 1 {
			t.Errorf("refused: status %d after %v", o.status(), o.waited)
		}
		if o := do(rt, once("waits")); o.status() != 200 || o.waited < 2*time.Second || s.sendsOf("waits") != 1 {
			t.Errorf("the next: status %d after %v and %d sends; want its turn after two seconds", o.status(), o.waited, s.sendsOf("waits"))
		}
		for _, send := range s.sends {
			if send.body != "prompt" {
				t.Error("a body was sent in part")
			}
		}
	})
}

func TestAServiceThatForbidsRetriesIsNotPaced(t *testing.T) {
	for _, begun := range []bool{false, true} { // the pace, for another model
		synctest.Test(t, func(t *testing.T) {
			s := newThrottle(1, 1)
			s.tokens = 0
			rt := newRetry(t, nil, s)
			if begun {
				do(rt, named(t, "other", "other"))
			}
			s.tokens, s.header = 0, []string{"Retry-After", "5", "X-Should-Retry", "false"}
			if o := do(rt, named(t, "a", "m")); o.status() != 429 || o.waited != 0 {
				t.Errorf("status %d after %v, want the refusal at once", o.status(), o.waited)
			}
			s.lift()
			if o := do(rt, named(t, "b", "m")); o.status() != 200 || o.waited != s.took {
				t.Errorf("begun: %t, the next: status %d after %v, want it to be sent at once", begun, o.status(), o.waited)
			}
		})
	}
}

func TestACallThatIsRefusedKeepsItsPlaceInTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(0, 0)
		rt := newRetry(t, &middleware.RetryOptions{MaxRetries: 5}, s)
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			wg.Go(func() { do(rt, named(t, name, "m")) })
			synctest.Wait()
		}
		time.Sleep(1500 * time.Millisecond) // the first in line has been refused again
		s.lift()
		wg.Wait()
		order := ""
		for _, send := range s.sends {
			if send.taken {
				order += send.call
			}
		}
		if order != "abc" || s.sendsOf("a") < 3 {
			t.Errorf("after %d sends of the first they were served in the order %q, want abc", s.sendsOf("a"), order)
		}
	})
}

// Little is known of the rate, so that nobody is turned away at once, and
// refusals are slow, so that little is tried.
func TestACallWhoseTurnDoesNotComeGetsTheRefusalBeforeItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(0, 0)
		s.took = 20 * time.Second
		rt := newRetry(t, nil, tripFunc(func(req *http.Request) (*http.Response, error) {
			resp, err := s.RoundTrip(req)
			if s.sendsOf("first") == 2 && err == nil && resp.StatusCode == 429 {
				time.Sleep(900 * time.Millisecond)
				s.lift()
			}
			return resp, err
		}))
		var wg sync.WaitGroup
		wg.Go(func() { do(rt, named(t, "first", "m")) })
		time.Sleep(1950 * time.Millisecond)
		unsent := 0
		for i, o := range crowd(rt, 50, func(i int) *http.Request {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			t.Cleanup(cancel)
			return named(t, strconv.Itoa(i), "m").WithContext(ctx)
		}) {
			if s.sendsOf(strconv.Itoa(i)) > 0 {
				continue
			}
			if unsent++; o.err != nil || o.status() != 429 || o.body != throttledBody || o.waited < 4*time.Second || o.waited >= 5*time.Second {
				t.Errorf("call %d was not sent: status %d, %v after %v; want the refusal just before its deadline", i, o.status(), o.err, o.waited)
			}
		}
		if wg.Wait(); unsent == 0 {
			t.Error("no call has waited for its turn in vain")
		}
	})
}
