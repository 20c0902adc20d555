package middleware_test

//lint:file-ignore SA1019 Request.Cancel is deprecated for callers, and honored

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// call sends one request and returns the status of its answer, or 0.
func call(t *testing.T, rt http.RoundTripper, header ...string) int {
	req := post(t, chat, "x")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// A lottery fails each send of each call with a chance that is drawn ahead, so
// that the outcome does not depend on who comes first.
type lottery struct {
	fails [][3]bool
	sends []atomic.Int64
}

func newLottery(calls int, chance float64) *lottery {
	l := &lottery{fails: make([][3]bool, calls), sends: make([]atomic.Int64, calls)}
	draw := rand.New(rand.NewPCG(1, 2))
	for i := range l.fails {
		for j := range 3 {
			l.fails[i][j] = draw.Float64() < chance
		}
	}
	return l
}

func (l *lottery) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(20 * time.Millisecond)
	i, err := strconv.Atoi(req.Header.Get("X-Call"))
	if err != nil {
		return nil, err
	}
	if n := l.sends[i].Add(1); n > 3 || l.fails[i][n-1] {
		return answer(req, 503, "busy"), nil
	}
	return answer(req, 200, "ok"), nil
}

func TestFailuresAtRandomAreRetriedAsIfThereWereNoBudget(t *testing.T) {
	calls := 20_000
	if raceEnabled {
		calls = 4_000
	}
	for _, oneIn := range []float64{10, 5, 4, 3} {
		synctest.Test(t, func(t *testing.T) {
			l := newLottery(calls, 1/oneIn)
			rt := newRetry(t, nil, l)
			var next, failed, wrong atomic.Int64
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(calls); i = next.Add(1) - 1 {
						if call(t, rt, "X-Call", strconv.FormatInt(i, 10)) == 200 {
							continue
						}
						failed.Add(1)
						if l.fails[i] != [3]bool{true, true, true} {
							wrong.Add(1) // two blind retries would have saved it
						}
					}
				})
			}
			wg.Wait()
			got, want := float64(failed.Load())/float64(calls), math.Pow(1/oneIn, 3)
			if math.Abs(got-want) > 0.01 {
				t.Errorf("one in %v: %.2f %% failed, %d for want of a token; in theory %.2f %%", oneIn, 100*got, wrong.Load(), 100*want)
			}
		})
	}
}

// An outage is a service that fails for a time.
type outage struct {
	from, until time.Time
	sends       atomic.Int64
}

func (o *outage) RoundTrip(req *http.Request) (*http.Response, error) {
	o.sends.Add(1)
	if now := time.Now(); !now.Before(o.from) && now.Before(o.until) {
		return answer(req, 503, "busy"), nil
	}
	return answer(req, 200, "ok"), nil
}

// steadily makes calls at a rate and returns how many failed.
func steadily(t *testing.T, rt http.RoundTripper, rate int, span time.Duration) (failed int64) {
	var wg sync.WaitGroup
	var n atomic.Int64
	for end := time.Now().Add(span); time.Now().Before(end); <-time.After(time.Second / time.Duration(rate)) {
		wg.Go(func() {
			if call(t, rt) != 200 {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return n.Load()
}

func TestALongOutageCostsATenthMoreSendsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outage{from: time.Now(), until: time.Now().Add(time.Hour)}
		const calls = 6000
		if failed := steadily(t, newRetry(t, nil, o), 100, time.Minute); failed != calls {
			t.Fatalf("%d of %d calls failed in a full outage", failed, calls)
		}
		sends := o.sends.Load()
		if sends > calls*11/10 || sends <= calls {
			t.Errorf("%d sends for %d calls, want some more, and a tenth more at most", sends, calls)
		}
	})
}

func TestAShortOutageLosesNoCallThatBlindRetriesSave(t *testing.T) {
	for _, rate := range []int{10, 100, 300} {
		for _, before := range []time.Duration{0, 2 * time.Second} { // traffic before the outage
			synctest.Test(t, func(t *testing.T) {
				o := &outage{from: time.Now().Add(before), until: time.Now().Add(before + time.Second)}
				// Two blind retries take 1.125 s at least.
				if failed := steadily(t, newRetry(t, nil, o), rate, before+4*time.Second); failed != 0 {
					t.Errorf("%d/s, %v before: %d calls were lost", rate, before, failed)
				}
			})
		}
	}
}

func TestABurstThatMeetsOneFailureEachLosesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 100
		var failed atomic.Int64
		sends := make([]atomic.Int64, calls)
		rt := newRetry(t, nil, tripFunc(func(req *http.Request) (*http.Response, error) {
			i, _ := strconv.Atoi(req.Header.Get("X-Call"))
			if sends[i].Add(1) == 1 {
				return answer(req, 503, "busy"), nil
			}
			return answer(req, 200, "ok"), nil
		}))
		var wg sync.WaitGroup
		for i := range calls {
			wg.Go(func() {
				if call(t, rt, "X-Call", strconv.Itoa(i)) != 200 {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		if failed.Load() != 0 {
			t.Errorf("%d of %d calls failed", failed.Load(), calls)
		}
	})
}

func TestARetryThatTheServiceNamesATimeForCostsNoToken(t *testing.T) {
	for _, code := range []int{429, 503} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []func(*http.Request) (*http.Response, error){status(code, "", "Retry-After", "1")}}
			rt := newRetry(t, &middleware.RetryOptions{Budget: 1, DisablePace: true}, s)
			for range 50 {
				call(t, rt)
			}
			if len(s.sent) != 150 {
				t.Errorf("%d: %d sends of 50 calls, want three each", code, len(s.sent))
			}
			s.steps[0] = status(503, "")
			if before := len(s.sent); call(t, rt) != 503 || len(s.sent)-before != 2 {
				t.Errorf("%d: %d sends, want two: one for the token that is left", code, len(s.sent)-before)
			}
		})
	}
}

func TestARetryThatSucceedsGivesItsTokenBack(t *testing.T) {
	calls := 10_000
	if raceEnabled {
		calls = 2_000
	}
	synctest.Test(t, func(t *testing.T) {
		sends, broken := 0, false
		rt := newRetry(t, &middleware.RetryOptions{Budget: 3}, tripFunc(func(req *http.Request) (*http.Response, error) {
			if sends++; broken || sends%2 == 1 {
				return answer(req, 503, "busy"), nil
			}
			return answer(req, 200, "ok"), nil
		}))
		for i := range calls {
			if call(t, rt) != 200 {
				t.Fatalf("call %d failed: the budget has drifted", i+1)
			}
		}
		if sends != 2*calls {
			t.Errorf("%d sends of %d calls, want two each", sends, calls)
		}
		broken = true
		before := sends
		for range 4 {
			call(t, rt)
		}
		if got := sends - before - 4; got != 3 {
			t.Errorf("an outage after that has %d retries, want the 3 of a full budget", got)
		}
	})
}

// A call that ends while it stands in the budget's line leaves no hole in it,
// whether or not it has its token already.
func TestATokenThatNobodyTakesGoesToTheNextInLine(t *testing.T) {
	for _, tc := range []struct{ leaves, paid time.Duration }{
		{600 * time.Millisecond, 700 * time.Millisecond}, // it waits for a token
		{200 * time.Millisecond, 100 * time.Millisecond}, // it waits for the end of its back-off
	} {
		synctest.Test(t, func(t *testing.T) { abandonedToken(t, tc.leaves, tc.paid) })
	}
}

func abandonedToken(t *testing.T, leaves, paid time.Duration) {
	var busy atomic.Bool
	busy.Store(true)
	var sends atomic.Int64
	rt := newRetry(t, &middleware.RetryOptions{Budget: 1}, tripFunc(func(req *http.Request) (*http.Response, error) {
		sends.Add(1)
		if busy.Load() {
			return answer(req, 503, "busy"), nil
		}
		return answer(req, 200, "ok"), nil
	}))
	call(t, rt) // spends the token
	spent := sends.Load()
	var wg sync.WaitGroup
	outcome := make([]int, 3)
	for i := range outcome {
		wg.Go(func() {
			req := post(t, chat, "x")
			if i == 0 { // the first in line leaves
				cancel := make(chan struct{})
				req.Cancel = cancel //nolint:staticcheck // deprecated, and honored
				time.AfterFunc(leaves, func() { close(cancel) })
			}
			if resp, err := rt.RoundTrip(req); err == nil {
				outcome[i] = resp.StatusCode
				_ = resp.Body.Close()
			}
		})
		synctest.Wait()
	}
	if sends.Load() != spent+3 {
		t.Errorf("%d sends of three calls without a token, want one each", sends.Load()-spent)
	}
	time.Sleep(paid)
	busy.Store(false)
	call(t, rt) // pays one in, which goes from hand to hand
	wg.Wait()
	if outcome[0] != 0 || outcome[1] != 200 || outcome[2] != 200 {
		t.Errorf("left after %v, paid after %v: the outcomes are %v, want an error and two answers", leaves, paid, outcome)
	}
}
