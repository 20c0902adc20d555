package interop_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/middleware"
)

// plain is the official SDK with the HTTP client only, its own retries on.
func (r *rig) plain() openai.Client {
	return openai.NewClient(option.WithHTTPClient(r.client.HTTPClient()), option.WithBaseURL(r.srv.URL), option.WithAPIKey("unused"))
}

func TestACallIsSentAtMostOncePlusMaxRetries(t *testing.T) {
	faults := map[string]clienttest.Fault{
		"500":            {Status: 500, Body: `{"error":{"message":"down"}}`, Times: -1},
		"429":            {Status: 429, Body: `{"error":{"message":"slow"}}`, Header: http.Header{"Retry-After-Ms": {"1"}}, Times: -1},
		"asks for more":  {Status: 400, Body: `{"error":{"message":"again"}}`, Header: http.Header{"X-Should-Retry": {"true"}}, Times: -1},
		"asks for none":  {Status: 503, Body: `{"error":{"message":"stop"}}`, Header: http.Header{"X-Should-Retry": {"false"}}, Times: -1},
		"broken streams": {Status: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: "data: {}\n\n", ResetAfter: 1, Times: -1},
	}
	sends := map[string]int64{"asks for none": 1, "broken streams": 1}
	for _, retries := range []int{-1, 1, 2} {
		r := newRig(t, "http", func(cfg *client.Config) {
			cfg.Retry = &middleware.RetryOptions{MaxRetries: retries, BaseDelay: time.Millisecond, Budget: -1}
		})
		for name, f := range faults {
			for sdk, run := range map[string]func(context.Context) error{
				"openai-go through Options":     openaiGo(r.official()).streams[0].run,
				"openai-go through HTTPClient":  openaiGo(r.plain()).streams[0].run,
				"go-openai through HTTPClient":  goOpenAI(r.community()).streams[0].run,
				"openai-go through Options (2)": openaiGo(r.official()).calls[3].run,
			} {
				want := int64(1 + max(0, retries))
				if retries < 0 && sdk == "openai-go through HTTPClient" {
					want = 3 // without our retries the SDK does as it likes
				}
				if n, ok := sends[name]; ok {
					want = n
				}
				r.srv.Inject(f)
				before := r.srv.Stats().Requests
				if err := run(t.Context()); err == nil {
					t.Errorf("%s, %s: no error", name, sdk)
				}
				r.srv.ClearFaults()
				if n := r.srv.Stats().Requests - before; n != want {
					t.Errorf("%s, %s, %d retries: sent %d times, want %d", name, sdk, retries, n, want)
				}
			}
		}
	}
}

// A connection error has no header to tell the SDK to stop: only Options turns
// its retries off.
func TestABrokenConnectionIsSentAtMostOncePlusMaxRetries(t *testing.T) {
	for _, scheme := range schemes {
		r := newRig(t, scheme)
		for name, run := range map[string]func(context.Context) error{
			"openai-go": openaiGo(r.official()).calls[0].run,
			"go-openai": goOpenAI(r.community()).calls[0].run,
		} {
			r.srv.Inject(clienttest.Fault{Reset: true, Times: -1})
			before := r.srv.Stats().Requests
			if err := run(t.Context()); err == nil {
				t.Errorf("%s: %s: no error", scheme, name)
			}
			r.srv.ClearFaults()
			want := int64(1 + middleware.DefaultMaxRetries)
			if n := r.srv.Stats().Requests - before; n != want {
				t.Errorf("%s: %s: sent %d times, want %d", scheme, name, n, want)
			}
		}
	}
}

func TestARotationDuringAnOutageCountsApart(t *testing.T) {
	r := newRig(t, "http")
	for _, s := range r.sdks() {
		if err := s.calls[0].run(t.Context()); err != nil {
			t.Fatal(shown(err))
		}
		r.rotate()
		r.srv.Inject(clienttest.Fault{Status: 503, Body: `{"error":{"message":"down"}}`})
		before := r.srv.Stats()
		if err := s.calls[0].run(t.Context()); err != nil {
			t.Errorf("%s: %s", s.name, shown(err))
		}
		after := r.srv.Stats()
		if n := after.Requests - before.Requests; n != 3 { // 503, 401, 200
			t.Errorf("%s: sent %d times, want 3", s.name, n)
		}
	}
}
