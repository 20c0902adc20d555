package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/dialguard"
)

// dialing returns a guard and the number of connections that it has let pass.
func dialing(t *testing.T, networks ...string) (g *dialguard.Guard, passed *atomic.Int32) {
	t.Helper()
	passed = new(atomic.Int32)
	opts := &dialguard.Options{Dialer: &net.Dialer{Control: func(string, string, syscall.RawConn) error { passed.Add(1); return nil }}}
	for _, n := range networks {
		opts.Prefixes = append(opts.Prefixes, netip.MustParsePrefix(n))
	}
	g, err := dialguard.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return g, passed
}

func served(t *testing.T) (server *httptest.Server, calls *atomic.Int32) {
	t.Helper()
	calls = new(atomic.Int32)
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{}`))
	}))
	t.Cleanup(server.Close)
	return server, calls
}

func TestAClientConnectsOnlyToWhatItsDialAdmits(t *testing.T) {
	server, calls := served(t)
	inside, passed := dialing(t, "127.0.0.1/32")
	outside, _ := dialing(t)
	own, err := client.NewTransport(pemOf(server))
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]client.Config{
		"RootCAs":       {RootCAs: pemOf(server)},
		"own transport": {Transport: own},
	} {
		cfg.Source, cfg.BaseURL = static(), server.URL+"/v1/"
		cfg.Dial = inside
		c, err := client.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		before := calls.Load()
		if _, err := c.Post(t.Context(), "x", nil, nil); err != nil || calls.Load() == before || passed.Swap(0) == 0 {
			t.Errorf("%s, inside: %v", name, err)
		}
		c.HTTPClient().CloseIdleConnections()

		cfg.Dial = outside
		if c, err = client.New(cfg); err != nil {
			t.Fatal(err)
		}
		before = calls.Load()
		_, err = c.Post(t.Context(), "x", nil, nil)
		_, errOther := c.HTTPClient().Get(server.URL + "/v1/x")
		errWarm := c.Warm(t.Context())
		for what, err := range map[string]error{"Post": err, "HTTPClient": errOther, "Warm": errWarm} {
			if !errors.Is(err, dialguard.ErrRefused) || !strings.Contains(err.Error(), "127.0.0.1 is a loopback address") {
				t.Errorf("%s, outside, %s: %v", name, what, err)
			}
		}
		if calls.Load() != before {
			t.Errorf("%s, outside: the server was called", name)
		}
	}
}

func TestADialThatCannotGuardTheTransportIsAnError(t *testing.T) {
	clearEnv(t)
	g, _ := dialing(t)
	dials := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("dialed") }
	for want, cfg := range map[string]client.Config{
		"tripFunc":       {Dial: g, Transport: tripFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("sent") })},
		"DialTLSContext": {Dial: g, Transport: &http.Transport{DialTLSContext: dials}},
		"a zero Guard":   {Dial: &dialguard.Guard{}},
		"no effect":      {Dial: g, Transport: &http.Transport{}, RootCAs: []byte("x")},
	} {
		if c, err := client.New(cfg); err == nil || c != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := client.New(client.Config{Dial: g, Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}}); err != nil {
		t.Error(err)
	}
}

// A refused connection does not get better by waiting: each endpoint is tried
// once, and a call goes to one that may be dialed.
func TestACallGoesToAnEndpointThatMayBeDialed(t *testing.T) {
	server, calls := served(t)
	lookups := new(atomic.Int32)
	g, err := dialguard.New(&dialguard.Options{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	base, err := client.NewTransport(pemOf(server))
	if err != nil {
		t.Fatal(err)
	}
	base.Proxy = func(*http.Request) (*url.URL, error) { lookups.Add(1); return nil, nil }
	cfg := client.Config{
		Source: static(), BaseURL: "https://20.1.2.3/v1/", Transport: base, Dial: g,
		Fallbacks: []client.Endpoint{{BaseURL: server.URL + "/v1/", Source: credential.Static(credential.NewSecret("CANARY-2"), credential.APIKey)}},
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.Post(t.Context(), "embeddings", map[string]string{"model": "m"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if calls.Load() != 3 || lookups.Load() != 4 {
		t.Errorf("%d calls served, %d connections asked for; want 3, and one more for the endpoint that is refused", calls.Load(), lookups.Load())
	}

	cfg.Fallbacks = nil
	if c, err = client.New(cfg); err != nil {
		t.Fatal(err)
	}
	lookups.Store(0)
	if _, err := c.Post(t.Context(), "embeddings", map[string]string{"model": "m"}, nil); !errors.Is(err, dialguard.ErrRefused) || lookups.Load() != 1 {
		t.Errorf("the only endpoint: %d tries, %v; want 1", lookups.Load(), err)
	}
}
