package client_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/internal/sse"
	"github.com/latchkey-go/latchkey/middleware"
)

func TestCallsOfTheOfficialSDKThatAskForAStreamAreMarked(t *testing.T) {
	inMemory := func(text string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	}
	for name, tc := range map[string]struct {
		method string
		get    func() (io.ReadCloser, error)
		want   bool
	}{
		"asked":          {"POST", inMemory(`{"model":"m","stream": true}`), true},
		"refused":        {"POST", inMemory(`{"stream":false}`), false},
		"not said":       {"POST", inMemory(`{"model":"m"}`), false},
		"said inside":    {"POST", inMemory(`{"tools":[{"stream":true}]}`), false},
		"said as a text": {"POST", inMemory(`{"x":"\"stream\":true"}`), false},
		"malformed":      {"POST", inMemory(`{"stream":true`), false},
		"another method": {"GET", inMemory(`{"stream":true}`), false},
		"no body":        {"POST", nil, false},
		"a body of a file": {"POST", func() (io.ReadCloser, error) {
			return io.NopCloser(struct{ io.Reader }{strings.NewReader(`{"stream":true}`)}), nil
		}, false},
		"a body in pieces":  {"POST", func() (io.ReadCloser, error) { return io.NopCloser(twice(`{"model":"m",`, `"stream":true}`)), nil }, true},
		"a body that fails": {"POST", func() (io.ReadCloser, error) { return nil, errors.New("gone") }, false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, "https://api.example.com/v1/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.GetBody = tc.get
		_, err = client.MarkStream(req, func(req *http.Request) (*http.Response, error) {
			if got := sse.Asked(req.Context()); got != tc.want {
				t.Errorf("%s: marked: %t, want %t", name, got, tc.want)
			}
			return nil, io.EOF
		})
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A pair writes two pieces.
type pair struct {
	io.Reader
	a, b string
}

func twice(a, b string) pair { return pair{bytes.NewReader(nil), a, b} }

func (p pair) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, p.a)
	if err == nil {
		_, err = io.WriteString(w, p.b)
	}
	return int64(n), err
}

// A request that is marked is one for a stream to the guard, whatever comes.
func TestTheGuardKnowsAMarkedCall(t *testing.T) {
	for _, mediaType := range []string{"application/json", "text/html", ""} {
		c := odd(t, `{"object":"chat.completion"}`, mediaType, false)
		for _, marked := range []bool{false, true} {
			ctx := t.Context()
			if marked {
				ctx = sse.WithAsked(ctx)
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example.com/v1/chat/completions", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); errors.Is(err, middleware.ErrNotStream) != marked {
				t.Errorf("%q, marked: %t: %v", mediaType, marked, err)
			}
			_ = resp.Body.Close()
		}
	}
}
