package middleware_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// A body that is written only when its request is on the way, as after 100
// Continue, must not be read for the name of its model.
func TestThePaceReadsNothingAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(1, 1)
		s.tokens = 0
		reached, once := make(chan struct{}), sync.Once{}
		rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("X-Call") == "streamed" {
				once.Do(func() { close(reached) })
			}
			return s.RoundTrip(req)
		}), middleware.Replay(), mustRetry(t, nil))
		if o := do(rt, named(t, "a", "m")); o.status() != 200 { // the pace has begun
			t.Fatalf("status %d", o.status())
		}
		r, w := io.Pipe()
		req := named(t, "streamed", "m")
		req.Body, req.GetBody, req.ContentLength = r, nil, -1
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			select {
			case <-reached:
			case <-ctx.Done(): // it was waited for
			}
			_, _ = io.WriteString(w, `{"model":"m"}`)
			_ = w.Close()
		}()
		if o := do(rt, req.WithContext(ctx)); o.status() != 200 || o.waited >= time.Minute {
			t.Errorf("status %d, %v after %v; want it to be sent before its body is written", o.status(), o.err, o.waited)
		}
	})
}
