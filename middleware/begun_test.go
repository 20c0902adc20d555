package middleware_test

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// stalling begins each answer with the same bytes and never ends one. It counts
// the requests.
func stalling(t *testing.T, begins string) (url string, requests func() int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var count atomic.Int64
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				readRequest(c)
				count.Add(1)
				_, _ = io.WriteString(c, begins)
				_, _ = c.Read(make([]byte, 1)) // until the client gives up
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); open.Wait() })
	return "http://" + ln.Addr().String(), count.Load
}

// The rest of an answer that has begun may never come. The request was carried
// out, and is not sent again.
func TestAnAnswerThatStallsAfterItHasBegunIsNotAskedForAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		begins string
		sends  int64
	}{
		"nothing has come": {"", 3},
		"a byte has come":  {"H", 1},
		"half of the head": {"HTTP/1.1 200 OK\r\nContent-", 1},
	} {
		url, requests := stalling(t, tc.begins)
		tr := newTransport(t)
		tr.ResponseHeaderTimeout = 100 * time.Millisecond
		auth, err := middleware.Auth(newCache(t, &keys{key: goodKey}), url, nil)
		if err != nil {
			t.Fatal(err)
		}
		rt := middleware.Wrap(tr, middleware.Replay(), mustRetry(t, &middleware.RetryOptions{BaseDelay: 1}), auth)
		if _, err := rt.RoundTrip(post(t, url, "prompt")); err == nil || !os.IsTimeout(err) {
			t.Errorf("%s: got %v, want a timeout", name, err)
		}
		if got := requests(); got != tc.sends {
			t.Errorf("%s: %d sends, want %d", name, got, tc.sends)
		}
	}
}
