package leaf_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey-go/latchkey/internal/leaf"
)

func TestPlainHTTPGoesAnywhereOnlyIfItIsAllowed(t *testing.T) {
	if leaf.PlainHTTP(true) != leaf.Anywhere || leaf.PlainHTTP(false) != leaf.Loopback {
		t.Error("another reach")
	}
}

func TestConnectionsOfAGivenTransportAreLeftOpen(t *testing.T) {
	srv, conns := connCounter(t)
	shared := &http.Transport{}
	defer shared.CloseIdleConnections()
	for name, c := range map[string]struct {
		http leaf.HTTP
		want int32
	}{"given": {leaf.HTTP{Transport: shared}, 1}, "our own": {leaf.HTTP{}, 2}} {
		conns.Store(0)
		client := c.http.Client()
		for range 2 {
			if _, err := get(t, client, srv.URL); err != nil {
				t.Fatal(err)
			}
			client.CloseIdleConnections()
		}
		if n := conns.Load(); n != c.want {
			t.Errorf("%s: %d connections, want %d", name, n, c.want)
		}
	}
}

// A body tells whether it was closed.
type body struct {
	io.Reader
	closed atomic.Bool
}

func (b *body) Close() error { b.closed.Store(true); return nil }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A farConn is a connection to another machine.
type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 80} }

func TestAnAnswerFromAnotherMachineIsClosedUnread(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	answer := &body{Reader: strings.NewReader("CANARY")}
	given := roundTrip(func(req *http.Request) (*http.Response, error) {
		httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{Conn: farConn{near}})
		return &http.Response{StatusCode: 200, Body: answer, Request: req}, nil
	})
	_, err := get(t, leaf.HTTP{Transport: given}.Client(), "http://localhost/")
	if refused := (*leaf.Refused)(nil); !errors.As(err, &refused) || !answer.closed.Load() {
		t.Errorf("got %v, closed: %t", err, answer.closed.Load())
	}
}

func TestASocketOfThisMachineIsNotAnotherOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Listener = listener
	srv.Start()
	defer srv.Close()
	given := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	for _, host := range []string{"localhost", "127.0.0.1"} {
		if _, err := get(t, leaf.HTTP{Transport: given}.Client(), "http://"+host+"/"); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestAReadBehindTheCapIsTheSameErrorAgain(t *testing.T) {
	given := roundTrip(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("0123456789")), Request: req}, nil
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := leaf.HTTP{Transport: given, MaxAnswer: 4}.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 16)
	for i, want := range []int{4, 0, 0} {
		n, err := resp.Body.Read(buf)
		if refused := (*leaf.Refused)(nil); n != want || !errors.As(err, &refused) {
			t.Errorf("read %d: %d bytes, want %d; %v", i+1, n, want, err)
		}
	}
}

func TestWithTLSEachMachineIsAdmitted(t *testing.T) {
	for _, c := range []struct {
		url   string
		reach leaf.Reach
		ok    bool
	}{{"https://example.test/", leaf.Loopback, true}, {"http://example.test/", leaf.Anywhere, true}, {"http://example.test/", leaf.Nearby, false}} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.reach.Guard(t.Context(), u); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.url, err)
		}
	}
}

func TestAnAddressWithoutAPortIsNoLiteral(t *testing.T) {
	for address, ok := range map[string]bool{"127.0.0.1:80": true, "127.0.0.1": false, "localhost:80": false, "": false} {
		if _, got := leaf.Literal(address); got != ok {
			t.Errorf("%q: %t", address, got)
		}
	}
}
