package client_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
)

func TestOwnTransportTrustsRootCAsBesideTheSystems(t *testing.T) {
	server := clienttest.NewTLSServer(key)
	defer server.Close()
	with, err := client.New(client.Config{Source: static(), BaseURL: server.URL, RootCAs: server.CertPEM})
	if err != nil {
		t.Fatal(err)
	}
	var out chatAnswer
	res, err := with.Post(t.Context(), "chat/completions", chatRequest, &out)
	if err != nil || len(out.Choices) != 1 || res.RequestID == "" {
		t.Errorf("with the CA: %v", err)
	}
	without, err := client.New(client.Config{Source: static(), BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := without.Post(t.Context(), "chat/completions", chatRequest, nil); err == nil {
		t.Error("an unknown CA was trusted")
	}
}

var chatRequest = map[string]any{"model": "m", "messages": []map[string]string{{"role": "user", "content": "hello"}}}

// The server would speak the old versions: only the client refuses them.
func TestOwnTransportRefusesOldTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was served") }))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.Config.ErrorLog = quietLog()
	server.StartTLS()
	defer server.Close()
	c, err := client.New(client.Config{Source: static(), BaseURL: server.URL, RootCAs: pemOf(server)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Post(t.Context(), "x", nil, nil); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func TestOwnTransportIsNotTheDefaultOne(t *testing.T) {
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	http.DefaultTransport = tripFunc(func(*http.Request) (*http.Response, error) {
		t.Error("http.DefaultTransport was used")
		return nil, io.EOF
	})
	server := clienttest.NewServer(key)
	defer server.Close()
	c, err := client.New(client.Config{Source: static(), BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Post(t.Context(), "chat/completions", chatRequest, nil); err != nil {
		t.Error(err)
	}
}

// connections counts what a server accepts.
func connections(handler http.HandlerFunc) (*httptest.Server, *atomic.Int64) {
	var n atomic.Int64
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			n.Add(1)
		}
	}
	server.Start()
	return server, &n
}

// P10, for connections: what a freeze has left behind is not sent on.
func TestIdleConnectionsAreClosedAfterALongPause(t *testing.T) {
	server, opened := connections(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	defer server.Close()
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	c, err := client.New(client.Config{Source: static(), BaseURL: server.URL, Cache: &credential.CacheOptions{
		TTL: -1, Now: func() time.Time { return time.Unix(0, now.Load()) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		pause time.Duration
		want  int64
	}{{0, 1}, {time.Second, 1}, {44 * time.Second, 1}, {46 * time.Second, 2}, {time.Hour, 3}, {-time.Hour, 4}, {time.Second, 4}} {
		now.Add(int64(step.pause))
		if _, err := c.Post(t.Context(), "x", nil, nil); err != nil {
			t.Fatal(err)
		}
		if got := opened.Load(); got != step.want {
			t.Errorf("after a pause of %v: %d connections, want %d", step.pause, got, step.want)
		}
	}
}

func TestHTTPClientClosesIdleConnectionsOnDemand(t *testing.T) {
	server, opened := connections(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	defer server.Close()
	c, err := client.New(client.Config{Source: static(), BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Post(t.Context(), "x", nil, nil); err != nil {
			t.Fatal(err)
		}
		c.HTTPClient().CloseIdleConnections()
	}
	if opened.Load() != 2 {
		t.Errorf("%d connections, want 2", opened.Load())
	}
}

func TestWarmReadsTheSecretAndOpensTheConnectionWithoutIt(t *testing.T) {
	for _, status := range []int{200, 401, 404, 500} {
		var heads atomic.Int64
		server, opened := connections(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				heads.Add(1)
				if len(r.Header.Values("Authorization")) != 0 || r.URL.Path != "/" {
					t.Error("the HEAD carries a credential, or goes elsewhere")
				}
				w.WriteHeader(status)
				return
			}
			_, _ = io.WriteString(w, "{}")
		})
		src := &counted{v: credential.Value{Secret: credential.NewSecret(key)}}
		c, err := client.New(client.Config{Source: src, BaseURL: server.URL + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Warm(t.Context()); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if _, err := c.Post(t.Context(), "x", nil, nil); err != nil {
			t.Error(err)
		}
		if heads.Load() != 1 || opened.Load() != 1 || src.reads.Load() != 1 {
			t.Errorf("%d: %d HEADs, %d connections, %d reads; want one each", status, heads.Load(), opened.Load(), src.reads.Load())
		}
		server.Close()
	}
}

func TestWarmReturnsBothErrors(t *testing.T) {
	down := errors.New("no route")
	c := inMemory(t, client.Config{Source: credential.Env("LATCHKEY_TEST_UNSET")}, func(*http.Request) (*http.Response, error) { return nil, down })
	err := c.Warm(t.Context())
	if !errors.Is(err, credential.ErrUnavailable) || !errors.Is(err, down) {
		t.Errorf("got %v, want the source's and the transport's error", err)
	}
}

func TestStringShowsNoSecret(t *testing.T) {
	c := inMemory(t, client.Config{}, nil)
	if s := c.String(); strings.Contains(s, "CANARY") || !strings.Contains(s, "https://api.example.com/v1/") || !strings.Contains(s, "static") {
		t.Error("String does not name the base URL and the source, or shows the key")
	}
	if (*client.Client)(nil).String() == "" {
		t.Error("a nil Client has no text")
	}
}

func TestWarmDoesNotWaitForAnAnswerOverHTTP2(t *testing.T) {
	release := make(chan struct{})
	var posts atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			<-release
			return
		}
		if r.ProtoMajor == 2 {
			posts.Add(1)
		}
		_, _ = io.WriteString(w, "{}")
	}))
	server.EnableHTTP2 = true
	var opened atomic.Int64
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	defer close(release)
	c, err := client.New(client.Config{Source: static(), BaseURL: server.URL, RootCAs: pemOf(server)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Post(t.Context(), "x", nil, nil); err != nil || posts.Load() != 1 || opened.Load() != 1 {
		t.Errorf("%v, %d calls over HTTP/2 on %d connections; want one of each", err, posts.Load(), opened.Load())
	}
}

func TestWarmReadsTheSubscriptionKeyAsWell(t *testing.T) {
	gateway := &counted{v: credential.Value{Secret: credential.NewSecret("sub-CANARY-1")}}
	c := inMemory(t, client.Config{SubscriptionKey: gateway}, func(req *http.Request) (*http.Response, error) {
		return answer(req, 200, ""), nil
	})
	if err := c.Warm(t.Context()); err != nil || gateway.reads.Load() != 1 {
		t.Errorf("%v, %d reads of the gateway's key, want 1", err, gateway.reads.Load())
	}
}
