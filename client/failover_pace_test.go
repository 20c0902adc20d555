package client_test

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTwoModelsThatShareALimitDoNotKnockForEachCall: the service counts the
// calls of both together, and names waits of milliseconds. One model's calls are
// just at the limit, so there is nothing left for the other's.
func TestTwoModelsThatShareALimitDoNotKnockForEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		var mu sync.Mutex
		tokens, last, refused := 2.0, time.Now(), 0
		w[east].set(func(int, *http.Request, string) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			now := time.Now()
			tokens, last = min(2, tokens+now.Sub(last).Seconds()*20), now
			if tokens >= 1 {
				tokens--
				return nil, nil
			}
			refused++
			wait := time.Duration((1 - tokens) / 20 * float64(time.Second))
			return reply(429, `{}`, "Retry-After-Ms", strconv.FormatInt(wait.Milliseconds()+1, 10)), nil
		})
		c := regions(t, w, nil)
		const seconds = 10
		var wg sync.WaitGroup
		for i := range 60 * seconds {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Second / 60)
				call := chat
				if i%3 == 2 {
					call = embed
				}
				if err := call(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if refused > 4*seconds {
			t.Errorf("%d refused in %d s, want at most 4 a second", refused, seconds)
		}
		if served := w[east].count() - refused; served < 20*seconds*9/10 {
			t.Errorf("the first endpoint served %d, want nearly %d", served, 20*seconds)
		}
		t.Logf("refused %d, served %d", refused, w[east].count()-refused)
	})
}
