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

func streamed(t *testing.T, body io.Reader, length int64) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, chat, io.NopCloser(body))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = length
	return req
}

func TestReplayMakesASmallBodyRewindable(t *testing.T) {
	for _, size := range []int{1, 1000, middleware.MaxReplayBody} {
		for _, length := range []int64{-1, 0, int64(size)} {
			text := strings.Repeat("x", size)
			rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
				if req.GetBody == nil || req.ContentLength != int64(size) {
					t.Fatalf("size %d, declared %d: not rewindable, or length %d", size, length, req.ContentLength)
				}
				for range 2 {
					body, err := req.GetBody()
					if err != nil {
						t.Fatal(err)
					}
					if data, _ := io.ReadAll(body); string(data) != text {
						t.Errorf("size %d: GetBody gave %d bytes", size, len(data))
					}
				}
				if data, _ := io.ReadAll(req.Body); string(data) != text {
					t.Errorf("size %d: Body gave %d bytes", size, len(data))
				}
				return answer(req, 200, ""), nil
			}))
			req := streamed(t, strings.NewReader(text), length)
			resp, err := rt.RoundTrip(req)
			if err != nil || resp.Request != req || req.GetBody != nil {
				t.Errorf("size %d: err %v, or the caller's request is not the one given back unchanged", size, err)
			}
		}
	}
}

func TestReplayPassesALongBodyOnWhole(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", middleware.MaxReplayBody/16) + "!"
	for _, length := range []int64{-1, int64(len(text))} {
		body := &closeCounter{Reader: strings.NewReader(text)}
		rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
			if data, _ := io.ReadAll(req.Body); string(data) != text || req.GetBody != nil {
				t.Errorf("%d bytes arrived of %d, GetBody %t", len(data), len(text), req.GetBody != nil)
			}
			_ = req.Body.Close()
			return answer(req, 200, ""), nil
		}))
		req := streamed(t, nil, length)
		req.Body = body
		if _, err := rt.RoundTrip(req); err != nil || body.closed != 1 {
			t.Errorf("err %v, %d closes", err, body.closed)
		}
	}
}

func TestReplayMakesAnEmptyBodyNoBody(t *testing.T) {
	rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
		if req.Body != http.NoBody || req.ContentLength != 0 {
			t.Error("an empty body is not http.NoBody")
		}
		return answer(req, 200, ""), nil
	}))
	if _, err := rt.RoundTrip(streamed(t, strings.NewReader(""), -1)); err != nil {
		t.Fatal(err)
	}
}

type brokenBody struct{ err error }

func (b brokenBody) Read([]byte) (int, error) { return 0, b.err }

func TestReplayReturnsTheErrorOfTheBody(t *testing.T) {
	never := middleware.Replay()(tripFunc(func(*http.Request) (*http.Response, error) {
		t.Error("a broken body was sent")
		return nil, io.EOF
	}))
	broken := errors.New("broken")
	if _, err := never.RoundTrip(streamed(t, brokenBody{broken}, -1)); !errors.Is(err, broken) {
		t.Errorf("got %v, want the body's error", err)
	}
	if _, err := never.RoundTrip(streamed(t, panickingBody{}, -1)); err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Error("a panicking body gave no error, or one that shows its value")
	}
}

type panickingBody struct{}

func (panickingBody) Read([]byte) (int, error) { panic("sk-CANARY") }

func TestReplayLeavesABodyThatBlocksWhenTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	r, w := io.Pipe()
	gone := errors.New("gone")
	rt := middleware.Replay()(tripFunc(func(*http.Request) (*http.Response, error) { return nil, io.EOF }))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, chat, r)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = w.Write([]byte("first")); cancel(gone) }()
	if _, err := rt.RoundTrip(req); !errors.Is(err, gone) {
		t.Errorf("got %v, want the context's cause", err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("the body was not closed")
	}
}

func TestReplayTellsAnSDKAboveNotToRetryFailuresOnly(t *testing.T) {
	for status, want := range map[int]string{101: "", 200: "", 204: "", 302: "", 400: "false", 401: "false", 429: "false", 503: "false"} {
		rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
			return answer(req, status, "", "X-Should-Retry", ""), nil
		}))
		resp, err := rt.RoundTrip(post(t, chat, "x"))
		if err != nil || resp.Header.Get("X-Should-Retry") != want {
			t.Errorf("%d: x-should-retry %q, want %q", status, resp.Header.Get("X-Should-Retry"), want)
		}
	}
}

func TestReplayCostsNothingForARewindableBody(t *testing.T) {
	resp := answer(nil, 200, "")
	rt := middleware.Replay()(tripFunc(func(*http.Request) (*http.Response, error) { return resp, nil }))
	req := post(t, chat, "x")
	if n := testing.AllocsPerRun(100, func() { _, _ = rt.RoundTrip(req) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
