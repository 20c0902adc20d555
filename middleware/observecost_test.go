package middleware_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// A rewound is a body that can be read again and again without an allocation.
type rewound struct {
	text string
	off  int
}

func (b *rewound) Read(p []byte) (int, error) {
	if b.off == len(b.text) {
		return 0, io.EOF
	}
	n := copy(p, b.text[b.off:])
	b.off += n
	return n, nil
}

func (b *rewound) Close() error { b.off = 0; return nil }

func TestObserveAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("with the race detector sync.Pool drops at random")
	}
	buf := make([]byte, 512)
	drain := func(r io.ReadCloser) {
		for {
			if _, err := r.Read(buf); err != nil {
				_ = r.Close()
				return
			}
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		count := func(layers ...middleware.Middleware) float64 {
			body, sent := &rewound{text: "hello"}, &rewound{text: `{"messages":[{"content":"a prompt"}],"model":"gpt-4o-mini","stream":true}`}
			resp := answer(nil, 200, "", "X-Request-Id", "req_1", "X-Ratelimit-Remaining-Requests", "59")
			rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
				if req.Body != nil {
					drain(req.Body)
				}
				resp.Body = body
				return resp, nil
			}), append([]middleware.Middleware{mustAuth(t, newCache(t, credential.Static(credential.NewSecret(goodKey), credential.APIKey)), nil)}, layers...)...)
			req := jsonPost(t, "")
			if req.Method, req.Body, req.GetBody = method, nil, nil; method == http.MethodPost {
				req.Body, req.ContentLength = sent, int64(len(sent.text))
			}
			return testing.AllocsPerRun(200, func() {
				resp, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				drain(resp.Body)
			})
		}
		seen := 0
		plain := count()
		with := count(middleware.Observe(func(_ context.Context, s *middleware.Send) {
			if s.Status == 200 && (s.Model != "") == (method == http.MethodPost) {
				seen++
			}
		}))
		if with > plain || seen < 200 {
			t.Errorf("%s: %v allocations with Observe, %v without; %d records", method, with, plain, seen)
		}
	}
}
