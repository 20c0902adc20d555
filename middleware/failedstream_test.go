package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/middleware"
)

// A stream in which the service reports an error has the status 200, and may end in
// good order. Who watches the sends is told all the same, with the code alone.
func TestAStreamInWhichTheServiceFailsIsNoSuccessToThoseWhoWatch(t *testing.T) {
	const chunk = `data: {"choices":[{"delta":{"content":"x"}}]}` + "\n\n"
	for name, c := range map[string]struct{ path, body, says string }{
		"chat":             {chatPath, chunk + `data: {"error":{"message":"CANARY-message","code":"overloaded"}}` + "\n\n" + "data: [DONE]\n\n", "overloaded"},
		"responses":        {responsesPath, "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"CANARY-message\"}\n\n", "server_error"},
		"a response":       {responsesPath, "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"e_1\"}}}\n\n", "e_1"},
		"another path":     {"/v1/images/generations", "event: error\ndata: {\"error\":{\"type\":\"image_error\"}}\n\n", "image_error"},
		"an echoed key":    {chatPath, chunk + `data: {"error":{"code":"` + goodKey + `"}}` + "\n\n" + "data: [DONE]\n\n", "[redacted]"},
		"no code":          {chatPath, chunk + `data: {"error":{"message":"CANARY-message"}}` + "\n\n" + "data: [DONE]\n\n", "no code"},
		"a status of 500":  {chatPath, "data: {\"error\":{\"code\":\"e_2\"}}\n\n", ""},
		"no error":         {chatPath, chunk + "data: {\"error\":null}\n\ndata: [DONE]\n\n", ""},
		"closed before it": {chatPath, chunk + strings.Repeat(" ", 5), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			status := 200
			if name == "a status of 500" { // it says so itself
				status = 500
			}
			rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
				return answer(req, status, c.body, "Content-Type", "text/event-stream"), nil
			}), mustAuth(t, newCache(t, &keys{key: goodKey}), nil), middleware.Observe(r.done), middleware.StreamGuard())
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, api+c.path, strings.NewReader(`{"stream":true}`))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if name != "closed before it" {
				if got, err := io.ReadAll(resp.Body); err != nil || len(got) != len(c.body) {
					t.Errorf("the caller gets %d bytes and %v, want %d and the end", len(got), err, len(c.body))
				}
			}
			_ = resp.Body.Close()
			got := r.all()[0].Err
			switch {
			case c.says == "" && got != nil:
				t.Errorf("the send has %v", got)
			case c.says == "":
			case !errors.Is(got, io.ErrUnexpectedEOF):
				t.Errorf("the send has %v, want an error that wraps io.ErrUnexpectedEOF", got)
			case !strings.Contains(got.Error(), c.says) || strings.Contains(got.Error(), "CANARY"):
				t.Errorf("the send has %v, want %s", got, c.says)
			}
		})
	}
}
