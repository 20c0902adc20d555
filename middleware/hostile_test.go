package middleware_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey-go/latchkey/middleware"
)

// flood writes head, and then chunk so many times, or until the client has
// gone.
func flood(head string, chunk []byte, times int) func(net.Conn) {
	return func(c net.Conn) {
		_, err := io.WriteString(c, head)
		for i := 0; err == nil && i < times; i++ {
			_, err = c.Write(chunk)
		}
	}
}

func bomb(t testing.TB, size int) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	for zeros := make([]byte, 1<<20); size > 0; size -= len(zeros) {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	return out.Bytes()
}

// allocated returns the bytes that f allocates, on all goroutines.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestHostileErrorBodiesTakeBoundedMemory(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	mib := make([]byte, 1<<20)
	chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", len(mib), mib)
	packed := bomb(t, 64<<20)
	for _, statusLine := range []string{"HTTP/1.1 400 Bad\r\n", "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n", "HTTP/1.1 429 Slow\r\nRetry-After: 0\r\n"} {
		for name, tc := range map[string]struct {
			step   func(net.Conn)
			accept string
		}{
			"128 MiB":           {flood(statusLine+"Content-Length: 134217728\r\n\r\n", mib, 128), ""},
			"endless":           {flood(statusLine+"Transfer-Encoding: chunked\r\n\r\n", chunk, 1<<30), ""},
			"until it closes":   {flood(statusLine+"Connection: close\r\n\r\n", mib, 1<<30), ""},
			"gzip bomb":         {flood(fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", statusLine, len(packed)), packed, 1), ""},
			"gzip bomb, wanted": {flood(fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", statusLine, len(packed)), packed, 1), "gzip"},
		} {
			url, conns := peer(t, tc.step, say(ok))
			auth, err := middleware.Auth(newCache(t, &keys{key: goodKey}), url, nil)
			if err != nil {
				t.Fatal(err)
			}
			rt := newRetry(t, nil, auth(newTransport(t)))
			req := post(t, url, "prompt")
			if tc.accept != "" {
				req.Header.Set("Accept-Encoding", tc.accept)
			}
			var read int64
			got := allocated(func() {
				var resp *http.Response
				if resp, err = rt.RoundTrip(req); err == nil {
					read, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
			if err != nil || read > middleware.DefaultMaxErrorBody || got > 1<<20 {
				t.Errorf("%s, %.12s: %d bytes allocated, %d reached the caller, error %v", name, statusLine, got, read, err)
			}
			if sends, want := conns(), 2-strings.Count(statusLine, "400"); sends != want {
				t.Errorf("%s, %.12s: %d sends, want %d", name, statusLine, sends, want)
			}
		}
	}
}

func TestRetryDoesNotCopyABodyThatItDiscards(t *testing.T) {
	body := make([]byte, 100<<10)
	for name, length := range map[string]int64{"of known length": int64(len(body)), "of unknown length": -1} {
		s := &script{steps: []func(*http.Request) (*http.Response, error){func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 429, "", "Retry-After", "0")
			resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), length
			return resp, nil
		}, status(200, "")}}
		rt, req := newRetry(t, nil, s), post(t, chat, "prompt")
		// io.Discard's buffer, if it is a new one, has 8 KiB.
		if got := allocated(func() { _, _ = rt.RoundTrip(req) }); got > 24<<10 || len(s.sent) != 2 {
			t.Errorf("a body %s: %d bytes allocated, %d sends", name, got, len(s.sent))
		}
	}
}

func TestRetryGoesOnWhenTheDiscardedBodyDrips(t *testing.T) {
	drip := func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 1000\r\n\r\nx")
		_, _ = c.Read(make([]byte, 1)) // until the client has had enough
	}
	url, conns := peer(t, drip, say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	resp, err := newRetry(t, nil, newTransport(t)).RoundTrip(post(t, url, "prompt"))
	if err != nil || resp.StatusCode != 200 || conns() != 2 {
		t.Errorf("the call failed: %v", err)
	}
}

// busyServer answers every second request with 429 and a body of 100 KB.
func busyServer(t testing.TB) (srv *httptest.Server, conns *atomic.Int64) {
	conns = new(atomic.Int64)
	requests := 0
	body := make([]byte, 100<<10)
	srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if requests++; requests%2 == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write(body)
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv, conns
}

func TestRetryUsesTheConnectionAgain(t *testing.T) {
	srv, conns := busyServer(t)
	rt := newRetry(t, &middleware.RetryOptions{Budget: -1}, newTransport(t))
	for range 10 {
		resp, err := rt.RoundTrip(post(t, srv.URL, "prompt"))
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("the call failed: %v", err)
		}
		readBody(t, resp)
	}
	if got := conns.Load(); got != 1 {
		t.Errorf("20 sends took %d connections, want 1", got)
	}
}
