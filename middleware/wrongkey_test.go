package middleware_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// P3: an hour with a key that is simply wrong, at 100 calls a second. Package
// credential has the same at 1,000, without the layers.
func TestAWrongKeyCostsTheStoreOneReadPerCoolDown(t *testing.T) {
	const perSecond = 100
	hour := 3600
	if raceEnabled || os.Getenv("LATCHKEY_PROOFS") == "" {
		hour = 300 // .ci/run sets the variable
	}
	synctest.Test(t, func(t *testing.T) {
		src := &keys{key: deadKey}
		var sends, wrong, late atomic.Int64
		rt := newAuth(t, src, nil, func(req *http.Request) (*http.Response, error) {
			sends.Add(1)
			return answer(req, 401, invalidKey), nil
		})
		call := func() {
			begin := time.Now()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, chat, strings.NewReader("prompt"))
			if err != nil {
				wrong.Add(1)
				return
			}
			resp, err := rt.RoundTrip(req)
			if err != nil || resp.StatusCode != 401 {
				wrong.Add(1)
				return
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != invalidKey {
				wrong.Add(1)
			}
			if time.Since(begin) > 3*time.Second {
				late.Add(1)
			}
		}
		var wg sync.WaitGroup
		settled := int64(0)
		for second := range hour {
			if second == 10 {
				settled = sends.Load()
			}
			for range perSecond {
				wg.Go(call)
			}
			<-time.After(time.Second) // of the bubble
		}
		wg.Wait()
		calls := int64(hour) * perSecond
		t.Logf("%d calls: %d sends, %d store reads", calls, sends.Load(), src.count())
		if wrong.Load() != 0 || late.Load() != 0 {
			t.Errorf("%d calls did not get the service's own 401 with its body, %d waited for more than the cold grace", wrong.Load(), late.Load())
		}
		if src.count() > 70 {
			t.Errorf("%d store reads, want at most 70", src.count())
		}
		if settled > 2*10*perSecond {
			t.Errorf("%d sends for the calls of the first ten seconds, want at most two each", settled)
		}
		if rest := sends.Load() - settled; rest != calls-10*perSecond {
			t.Errorf("%d sends for the %d calls after that, want one each", rest, calls-10*perSecond)
		}
	})
}
