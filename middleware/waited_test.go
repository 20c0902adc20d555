package middleware_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

type step = func(*http.Request) (*http.Response, error)

func TestASendTellsForHowLongTheCallHasWaitedBefore(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []step
		want    []time.Duration // at least, and less than twice that
	}{
		"back-off":   {[]step{status(503, ""), status(200, "")}, []time.Duration{0, 375 * time.Millisecond}},
		"hint":       {[]step{status(503, "", "Retry-After", "2"), status(200, "")}, []time.Duration{0, 2 * time.Second}},
		"throttled":  {[]step{status(429, "", "Retry-After", "3"), status(200, "")}, []time.Duration{0, 3 * time.Second}},
		"two of two": {[]step{status(503, "", "Retry-After", "2"), status(503, "", "Retry-After", "1"), status(200, "")}, []time.Duration{0, 2 * time.Second, time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var records recorder
				retry, err := middleware.Retry(nil)
				if err != nil {
					t.Fatal(err)
				}
				base := &script{steps: tc.answers}
				rt := middleware.Wrap(observed(t, "https://api.example.com", &records, base), retry)
				resp, err := rt.RoundTrip(post(t, chat, "{}"))
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				sends := records.all()
				if len(sends) != len(tc.want) {
					t.Fatalf("%d sends, want %d", len(sends), len(tc.want))
				}
				for i, s := range sends {
					if s.Waited < tc.want[i] || s.Waited > 2*tc.want[i] {
						t.Errorf("send %d: waited %v, want %v", i+1, s.Waited, tc.want[i])
					}
				}
			})
		})
	}
}
