package middleware_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/middleware"
)

func BenchmarkRetrySuccess(b *testing.B) {
	req := post(b, chat, "prompt")
	resp := answer(req, 200, "")
	rt := newRetry(b, nil, tripFunc(func(*http.Request) (*http.Response, error) { return resp, nil }))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rt.RoundTrip(req); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRetryBusy is one 429 with a body of 100 KB and one 200, over
// loopback; the server is in the figures.
func BenchmarkRetryBusy(b *testing.B) {
	srv, _ := busyServer(b)
	rt := newRetry(b, &middleware.RetryOptions{Budget: -1}, newTransport(b))
	b.ReportAllocs()
	for b.Loop() {
		resp, err := rt.RoundTrip(post(b, srv.URL, "prompt"))
		if err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}

type reused struct{ done bool }

func (r *reused) Read(p []byte) (int, error) {
	if r.done {
		return 0, io.EOF
	}
	r.done = true
	return min(len(p), 100), nil
}

func (*reused) Close() error { return nil }

func BenchmarkLog(b *testing.B) {
	for name, mw := range map[string]middleware.Middleware{"off": middleware.Log(nil, nil), "json": middleware.Log(jsonLogger(io.Discard), nil)} {
		b.Run(name, func(b *testing.B) {
			req, body, buf := post(b, chat, "prompt"), &reused{}, make([]byte, 512)
			resp := answer(req, 200, "", "x-request-id", "req_0123456789abcdef", "x-ratelimit-remaining-requests", "59", "x-ratelimit-remaining-tokens", "100000")
			rt := mw(tripFunc(func(*http.Request) (*http.Response, error) { resp.Body = body; return resp, nil }))
			b.ReportAllocs()
			for b.Loop() {
				body.done = false
				resp, err := rt.RoundTrip(req)
				for err == nil {
					_, err = resp.Body.Read(buf)
				}
			}
		})
	}
}

func BenchmarkStreamGuard(b *testing.B) {
	chunk := []byte(`data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}` + "\n\n")
	resp := guarded(b, chatPath, &looped{chunk: chunk}, nil)
	buf := make([]byte, len(chunk))
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := resp.Body.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRedactErrorBody(b *testing.B) {
	body := make([]byte, 60<<10)
	for i := range body {
		body[i] = "abc/+XYZ019 \\\"%{}"[i%17]
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		resp := refusal(b, goodKey, "POST", &trackedBody{Reader: &chunked{body, len(body)}}, nil)
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}
