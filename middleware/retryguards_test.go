package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// An error that nobody knows brings no token of the budget back.
func TestAnErrorPaysNothingIntoTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry, err := middleware.Retry(&middleware.RetryOptions{MaxRetries: 1, Budget: 1})
		if err != nil {
			t.Fatal(err)
		}
		s := &site{}
		rt := retry(s.layer(nil))
		s.set(says(503, "busy"))
		served(t, rt, "m")
		seen := only(t, "the token is taken", []*site{s}, nil, 2)
		s.set(failing(errors.New("novel")))
		served(t, rt, "m")
		seen = only(t, "an error that nobody knows", []*site{s}, seen, 1)
		s.set(says(503, "busy"))
		served(t, rt, "m")
		only(t, "no token is there", []*site{s}, seen, 1)
	})
}

// A wait for a connection that would be longer than the rest of the call is none.
func TestACallWithoutTimeForARetryReturnsAtOnce(t *testing.T) {
	for name, say := range map[string]tripFunc{"a connection error": refused, "an answer": says(503, "busy")} {
		synctest.Test(t, func(t *testing.T) {
			retry, err := middleware.Retry(&middleware.RetryOptions{BaseDelay: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			begin := time.Now()
			resp, err := retry(say).RoundTrip(post(t, chat, "{}").WithContext(ctx))
			if took := time.Since(begin); took != 0 || (err == nil) == (resp == nil) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, %v after %v, want it at once", name, resp, err, took)
			}
		})
	}
}

// A service that refuses everything and names no time is knocked at less and
// less often.
func TestAServiceThatNamesNoTimeIsKnockedAtLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry, err := middleware.Retry(nil)
		if err != nil {
			t.Fatal(err)
		}
		var sends atomic.Int64
		rt := retry(tripFunc(func(req *http.Request) (*http.Response, error) {
			sends.Add(1)
			time.Sleep(10 * time.Millisecond)
			return says(429, "{}")(req)
		}))
		end := time.Now().Add(2 * time.Minute)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for time.Now().Before(end) {
					served(t, rt, "m")
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if n := sends.Load(); n > 100 {
			t.Errorf("%d sends in two minutes, want about one in two seconds", n)
		}
	})
}

// What is worth another send is so after 408 and 409 as well.
func TestATimeoutAndAConflictAreSentAgain(t *testing.T) {
	for status, want := range map[int]int{408: 3, 409: 3, 429: 3, 500: 3, 400: 1, 501: 1, 505: 1} {
		synctest.Test(t, func(t *testing.T) {
			retry, err := middleware.Retry(nil)
			if err != nil {
				t.Fatal(err)
			}
			s := &site{}
			s.set(says(status, "{}"))
			served(t, retry(s.layer(nil)), "m")
			only(t, http.StatusText(status), []*site{s}, nil, want)
		})
	}
}

// A call whose turn does not come gets its own last answer, and not another's.
func TestACallThatIsTurnedAwayGetsItsOwnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry, err := middleware.Retry(nil)
		if err != nil {
			t.Fatal(err)
		}
		const calls = 20
		var sends [calls]atomic.Int64
		rt := retry(tripFunc(func(req *http.Request) (*http.Response, error) {
			name := req.Header.Get("X-Name")
			i, _ := strconv.Atoi(name)
			id := name + " " + strconv.FormatInt(sends[i].Add(1), 10)
			time.Sleep(10 * time.Millisecond)
			return says(429, "{}", "Retry-After", "1", "X-Request-Id", id)(req)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		turnedAway := atomic.Int64{}
		for i := range calls {
			wg.Go(func() {
				req := modelPost(t, chat, `{"model":"m"}`).WithContext(ctx)
				req.Header.Set("X-Name", strconv.Itoa(i))
				resp, err := rt.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				n := sends[i].Load()
				if want := strconv.Itoa(i) + " " + strconv.FormatInt(n, 10); resp.Header.Get("X-Request-Id") != want {
					t.Errorf("call %d got the answer %q, want %q", i, resp.Header.Get("X-Request-Id"), want)
				}
				if n < 3 {
					turnedAway.Add(1)
				}
			})
		}
		wg.Wait()
		if turnedAway.Load() == 0 {
			t.Error("no call was turned away")
		}
	})
}

// The record of a send ends when its call ends in the line.
func TestTheRecordEndsWithACallThatEndsInTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry, err := middleware.Retry(nil)
		if err != nil {
			t.Fatal(err)
		}
		auth, err := middleware.Auth(newCache(t, &keys{key: goodKey}), api, nil)
		if err != nil {
			t.Fatal(err)
		}
		records := 0
		rt := middleware.Wrap(says(429, "{}", "Retry-After", "5"), retry, auth,
			middleware.Observe(func(context.Context, *middleware.Send) { records++ }))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := rt.RoundTrip(modelPost(t, chat, `{"model":"m"}`).WithContext(ctx)); !errors.Is(err, context.Canceled) || records != 1 {
			t.Errorf("%v, and %d records of one send", err, records)
		}
	})
}

// A call with little time waits for a turn that comes within it.
func TestACallWithLittleTimeWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry, err := middleware.Retry(nil)
		if err != nil {
			t.Fatal(err)
		}
		s := &site{}
		rt := retry(s.layer(nil))
		s.set(says(429, "{}", "Retry-After-Ms", "30"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if resp, err := rt.RoundTrip(modelPost(t, chat, `{"model":"m"}`).WithContext(ctx)); err == nil {
			_ = resp.Body.Close()
		}
		s.set(nil)
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		resp, err := rt.RoundTrip(modelPost(t, chat, `{"model":"m"}`).WithContext(ctx))
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%v, %v, want the call served within its 100 ms", resp, err)
		}
	})
}

// While a call waits, its last answer holds no connection: a small one is read,
// and a large one is given up.
func TestAnAnswerHoldsNoConnectionWhileItsCallWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		status, size int
	}{
		"a small 429": {429, 100}, "a large 429": {429, 10 << 10}, "a 503 without a token": {503, 10 << 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			retry, err := middleware.Retry(&middleware.RetryOptions{MaxRetries: 1, Budget: 1, BaseDelay: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			s := &site{}
			rt := retry(s.layer(nil))
			s.set(says(503, "busy"))
			served(t, rt, "other") // takes the token
			body := newClosing(strings.Repeat("a", tc.size))
			s.set(func(req *http.Request) (*http.Response, error) {
				resp := withBody(req, tc.status, body)
				if tc.status == 429 {
					resp.Header.Set("Retry-After", "5")
				}
				return resp, nil
			})
			var wg sync.WaitGroup
			wg.Go(func() {
				resp, err := rt.RoundTrip(modelPost(t, chat, `{"model":"m"}`))
				if err != nil {
					t.Error(err)
				} else if text := readBody(t, resp); tc.status == 503 && len(text) != tc.size {
					t.Errorf("%s: %d bytes come back", name, len(text))
				}
			})
			time.Sleep(time.Second)
			if !body.isClosed() {
				t.Errorf("%s: the body is open while the call waits", name)
			}
			wg.Wait()
		})
	}
}

// A transport may leave the request out of its answer.
func TestAnAnswerWithoutItsRequestIsLookedInto(t *testing.T) {
	retry, err := middleware.Retry(nil)
	if err != nil {
		t.Fatal(err)
	}
	rt := retry(tripFunc(func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 429, `{"error":{"code":"insufficient_quota"}}`)
		resp.Request = nil
		return resp, nil
	}))
	if resp, err := rt.RoundTrip(post(t, chat, "{}")); err != nil || resp.StatusCode != 429 || resp.Request == nil {
		t.Errorf("%v, %v", resp, err)
	}
}
