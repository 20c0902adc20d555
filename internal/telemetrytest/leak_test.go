package telemetrytest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/davecgh/go-spew/spew"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

// Nothing of telemetry leads a printer that follows unexported fields to the
// credential of a call that is under way.
func TestNothingOfTelemetryShowsTheKey(t *testing.T) {
	var seen []any
	w := newWorld(t, func(_ *world, cfg *client.Config, _ *telemetry.Options) {
		cfg.Middleware = append(cfg.Middleware, func(next http.RoundTripper) http.RoundTripper {
			return tripFunc(func(req *http.Request) (*http.Response, error) {
				seen = append(seen, req, req.Context(), req.Body)
				return next.RoundTrip(req)
			})
		})
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"chat/completions", strings.NewReader(hello+`,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	seen = append(seen, w.telemetry, resp.Body, w.telemetry.Middleware()(w.first))
	printer := spew.ConfigState{DisableMethods: true, DisablePointerMethods: true, MaxDepth: 12}
	for _, x := range seen {
		for _, text := range []string{fmt.Sprintf("%+v", x), fmt.Sprintf("%#v", x), printer.Sdump(x)} {
			if strings.Contains(text, "CANARY") {
				t.Errorf("%T shows the key", x)
			}
		}
	}
	if !strings.Contains(printer.Sdump(&struct{ key string }{w.key}), "CANARY") {
		t.Error("the printer does not find a key that is there")
	}
}
