package client_test

import (
	"compress/gzip"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/middleware"
)

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// heapOf tells how much more memory is in use at the peak of f than before it.
func heapOf(f func()) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc) - int64(before.TotalAlloc)
}

func TestHugeErrorBodiesCostBoundedMemory(t *testing.T) {
	for name, fault := range map[string]clienttest.Fault{
		"128 MiB":      {Status: 400, BodyBytes: 128 << 20},
		"endless":      {Status: 400, Endless: true},
		"gzip bomb":    {Status: 400, BodyBytes: 128 << 20, Gzip: true},
		"128 MiB, 403": {Status: 403, BodyBytes: 128 << 20, Body: "no "},
	} {
		t.Run(name, func(t *testing.T) {
			server := clienttest.NewServer(key)
			defer server.Close()
			server.Inject(fault)
			c, err := client.New(client.Config{Source: static(), BaseURL: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			used := heapOf(func() { _, err = c.Post(t.Context(), "chat/completions", chatRequest, nil) })
			if e := (*client.Error)(nil); !errors.As(err, &e) || len(e.Message) > middleware.DefaultMaxErrorBody*3 {
				t.Errorf("got %T, or a message beyond the limit", err)
			}
			// The server's own allocations are in the sum: it writes from one buffer.
			if used > middleware.DefaultMaxErrorBody+2<<20 {
				t.Errorf("%d KiB allocated, want at most 1 MiB over the limit (and as much for the server)", used>>10)
			}
		})
	}
}

func TestAHugeHeaderIsRefused(t *testing.T) {
	for _, tls := range []bool{false, true} {
		server := clienttest.NewServer(key)
		if tls {
			server = clienttest.NewTLSServer(key)
		}
		// net/http's own limit is 10 MB over HTTP/1; ours is 256 KiB.
		server.Inject(clienttest.Fault{HeaderBytes: 10 << 20})
		server.Inject(clienttest.Fault{HeaderBytes: 512 << 10, Times: -1})
		c, err := client.New(client.Config{Source: static(), BaseURL: server.URL, RootCAs: server.CertPEM})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := c.Post(t.Context(), "chat/completions", chatRequest, nil); err == nil {
				t.Errorf("TLS %t: a header above the limit was accepted", tls)
			}
		}
		server.Close()
	}
}

func TestAGzipBombIsCutInASuccess(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		chunk := make([]byte, 1<<20)
		for range 2 * client.MaxResponseBody >> 20 {
			if _, err := z.Write(chunk); err != nil {
				return
			}
		}
		_ = z.Close()
	}))
	defer server.Close()
	c, err := client.New(client.Config{Source: static(), BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Post(t.Context(), "x", nil, nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
}

// Peers that do not speak HTTP: an error each, no hang, no panic, and never
// the key that some of them echo.
func TestPeersThatDoNotSpeakHTTP(t *testing.T) {
	for name, said := range map[string]string{
		"nothing":         "",
		"noise":           "\x00\xff\xfe garbage",
		"bad status":      "HTTP/1.1 abc " + key + "\r\n\r\n",
		"bad version":     "HTTP/9.9 " + key + "\r\n\r\n",
		"bad header":      "HTTP/1.1 200 OK\r\n" + key + "\r\n\r\n",
		"bad length":      "HTTP/1.1 200 OK\r\nContent-Length: " + key + "\r\n\r\n",
		"two lengths":     "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"negative length": "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"short body":      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
		"bad chunk":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz" + key + "\r\n",
		"echo in phrase":  "HTTP/1.1 401 " + key + "\r\nContent-Length: 0\r\nConnection: close\r\nWWW-Authenticate: Bearer " + key + "\r\n\r\n",
		"redirect echo":   "HTTP/1.1 307 x\r\nLocation: https://evil.example/?k=" + key + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := client.New(client.Config{Source: static(), BaseURL: speaker(t, said), Retry: &middleware.RetryOptions{MaxRetries: -1}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Post(t.Context(), "x", nil, nil)
			if err == nil {
				t.Fatal("it passed for an answer")
			}
			if strings.Contains(err.Error(), "CANARY") {
				t.Error("the error shows the key")
			}
		})
	}
}

// speaker says the same on each connection, after the request's header.
func speaker(t *testing.T, said string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 64<<10))
			_, _ = io.WriteString(conn, said)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return "http://" + ln.Addr().String()
}
