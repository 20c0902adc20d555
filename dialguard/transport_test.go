package dialguard_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/latchkey-go/latchkey/dialguard"
)

func TestATransportThatDialsByItselfIsRefusedOrReplaced(t *testing.T) {
	g := guard(t)
	around := func(context.Context, string, string) (net.Conn, error) {
		t.Error("the transport dialed around the guard")
		return nil, errors.New("around")
	}
	oldAround := func(network, addr string) (net.Conn, error) { return around(t.Context(), network, addr) }
	proto := map[string]func(string, *tls.Conn) http.RoundTripper{"h2": nil, "spdy": nil}
	for name, base := range map[string]*http.Transport{
		"DialTLSContext": {DialTLSContext: around},
		"DialTLS":        {DialTLS: oldAround},
		"TLSNextProto":   {TLSNextProto: proto},
	} {
		if transport, err := g.Transport(base); err == nil || transport != nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	//lint:ignore SA1019 programs from before there were contexts have it
	other := &http.Transport{DialContext: around, Dial: oldAround} //nolint:staticcheck // the same
	around2 := func(string, *tls.Conn) http.RoundTripper {
		t.Error("a protocol of the transport's own was used")
		return nil
	}
	other.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{"h2": around2}
	other.RegisterProtocol("https", http.NewFileTransport(http.Dir(t.TempDir())))
	transport, err := g.Transport(other)
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 the same
	if transport.Dial != nil { //nolint:staticcheck // the same
		t.Error("the transport keeps a dialer of its own")
	}
	if transport.TLSNextProto != nil || !transport.ForceAttemptHTTP2 {
		t.Error("the transport keeps a protocol of its own")
	}
	for _, scheme := range []string{"http", "https"} {
		if _, err := get(t, &http.Client{Transport: transport}, scheme+"://20.1.2.3/"); !errors.Is(err, dialguard.ErrRefused) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestTheGuardLeavesHTTP2AsItWas(t *testing.T) {
	dials := (&net.Dialer{}).DialContext
	for name, row := range map[string]struct {
		base *http.Transport
		want bool
	}{
		"none":             {nil, true},
		"zero":             {&http.Transport{}, true},
		"forced":           {&http.Transport{DialContext: dials, ForceAttemptHTTP2: true}, true},
		"off, by a dialer": {&http.Transport{DialContext: dials}, false},
		"off":              {&http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}, false},
	} {
		transport, err := guard(t).Transport(row.base)
		if err != nil {
			t.Fatal(err)
		}
		if got := transport.ForceAttemptHTTP2 && transport.TLSNextProto == nil; got != row.want {
			t.Errorf("%s: HTTP/2 is %v, want %v", name, got, row.want)
		}
	}
}

// A transport that was in use has connections, and HTTP/2 of net/http's own.
func TestATransportThatWasInUseIsGuardedAndSharesNoConnection(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	base, ok := server.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("no *http.Transport")
	}
	if _, err := get(t, &http.Client{Transport: base}, server.URL); err != nil {
		t.Fatal(err)
	}
	transport, err := guard(t).Transport(base)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, &http.Client{Transport: transport}, server.URL); !errors.Is(err, dialguard.ErrRefused) {
		t.Errorf("through the guard: %v", err)
	}
	if _, err := get(t, &http.Client{Transport: base}, server.URL); err != nil {
		t.Errorf("the base after that: %v", err)
	}
}

func TestClientCertificatesAndAuthoritiesWorkBesideTheGuard(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(200 + len(req.TLS.PeerCertificates))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	d, w := newDNS(t), newWire()
	d.name("example", always("127.0.0.1"))
	base := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		RootCAs: pool, Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12,
	}}
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	opts := dialguard.Options{Prefixes: prefixes("127.0.0.1/32")}
	if status, err := get(t, guarded(t, opts, base, d, w), "https://example.com:"+port); status != 201 {
		t.Errorf("status %d, %v", status, err)
	}
	if _, err := get(t, guarded(t, opts, nil, d, w), "https://example.com:"+port); !errors.As(err, new(*tls.CertificateVerificationError)) {
		t.Errorf("without the authority: %v", err)
	}
}

func TestTheDialersOwnControlIsAskedAfterTheGuard(t *testing.T) {
	calls := 0
	control := func(string, string, syscall.RawConn) error { calls++; return errHeld }
	g, err := dialguard.New(&dialguard.Options{Dialer: &net.Dialer{Control: control}})
	if err != nil {
		t.Fatal(err)
	}
	transport, err := g.Transport(&http.Transport{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, &http.Client{Transport: transport}, "http://10.0.0.1/"); !errors.Is(err, errHeld) || calls != 1 {
		t.Errorf("admitted: %d calls, %v", calls, err)
	}
	if _, err := get(t, &http.Client{Transport: transport}, "http://20.0.0.1/"); !errors.Is(err, dialguard.ErrRefused) || calls != 1 {
		t.Errorf("refused: %d calls, %v", calls, err)
	}
}

func TestAProxysPasswordIsSentAndNeverShown(t *testing.T) {
	const password = "CANARY-of-the-proxy"
	p := newProxy(t)
	base := p.trusting()
	base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword("user", password), Host: "127.0.0.1:" + p.port()})
	d, w := newDNS(t), newWire()
	allowed := guarded(t, dialguard.Options{Proxies: prefixes("127.0.0.1/32")}, base, d, w)
	for _, to := range []string{"http://model.internal/", "https://model.internal/"} {
		if status, err := get(t, allowed, to); status != http.StatusTeapot {
			t.Errorf("%s: status %d, %v", to, status, err)
		}
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+password))
	for i, got := range p.auth {
		if got != want {
			t.Errorf("request %d has no password for the proxy", i)
		}
	}
	malformed := p.trusting()
	malformed.Proxy = func(*http.Request) (*url.URL, error) {
		return nil, fmt.Errorf("invalid proxy address %q", "http://user:"+password+"@host")
	}
	dead := p.trusting()
	dead.Proxy = http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword("user", password), Host: "10.9.9.9:3128"})
	for name, c := range map[string]*http.Client{
		"not allowed":        guarded(t, dialguard.Options{}, base, d, w),
		"in another network": guarded(t, dialguard.Options{Proxies: prefixes("10.0.0.0/8")}, base, d, w),
		"malformed":          guarded(t, dialguard.Options{Proxies: prefixes("127.0.0.1/32")}, malformed, d, w),
		"dead":               guarded(t, dialguard.Options{Proxies: prefixes("10.9.9.9/32")}, dead, d, w),
	} {
		_, err := get(t, c, "https://model.internal/")
		if name == "not allowed" && (err == nil || !strings.Contains(err.Error(), "would be reached through the proxy 127.0.0.1:")) {
			t.Errorf("%s: the error does not name the proxy", name)
		}
		if err == nil || name != "dead" && !errors.Is(err, dialguard.ErrRefused) {
			t.Errorf("%s: %v", name, err != nil)
		}
		for ; err != nil; err = errors.Unwrap(err) {
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "CANARY") {
				t.Errorf("%s: an error of type %T shows the password", name, err)
			}
		}
	}
}

// net/http takes the target that it tells a proxy from more than one field.
func TestAProxyIsNotAskedForAddressesInDisguise(t *testing.T) {
	p := newProxy(t)
	base := p.trusting()
	base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.1:" + p.port()})
	d, w := newDNS(t), newWire()
	c := guarded(t, dialguard.Options{Proxies: prefixes("127.0.0.1/32")}, base, d, w)
	for _, to := range []string{
		"http://0x7f000001/", "http://2130706433/", "http://127.1/", "http://0251.0376.0251.0376/", "http://169.254.169.254./", "http://0xa9.0xfe.0xa9.0xfe/",
		"http://localhost/", "http://x.localhost/", "http://LOCALHOST./", "https://169.254.169.254/", "https://[::ffff:169.254.169.254]/",
		"http://１６９.254.169.254/", "https://20.1.2.3/", "https://[fe80::1%25eth0]/",
	} {
		if _, err := get(t, c, to); !errors.Is(err, dialguard.ErrRefused) {
			t.Errorf("%s: %v", to, err)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"Host":           func(r *http.Request) { r.Host = "169.254.169.254" },
		"Host with port": func(r *http.Request) { r.Host = "169.254.169.254:80" },
		"Host, odd":      func(r *http.Request) { r.Host = "169.254.169.254:80:80" },
		"Opaque":         func(r *http.Request) { r.URL.Opaque = "//169.254.169.254/latest" },
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://model.internal/", nil)
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		if _, err := c.Do(req); !errors.Is(err, dialguard.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked := p.take(); len(asked) > 0 {
		t.Errorf("the proxy was asked for %q", asked)
	}
	for _, to := range []string{"http://model.internal/", "https://model.internal:8443/", "http://10.1.2.3/", "https://[fd00::1]/", "http://model.internal./", "http://xn--bcher-kva.test/"} {
		if status, err := get(t, c, to); status != http.StatusTeapot {
			t.Errorf("%s: status %d, %v", to, status, err)
		}
	}
}

// A host that needs no proxy is dialed, and is no proxy: the networks of proxies
// do not hold for it, and the other way round.
func TestTheNetworksOfProxiesAreForProxiesAlone(t *testing.T) {
	p := newProxy(t)
	base := p.trusting()
	base.Proxy = func(req *http.Request) (*url.URL, error) {
		if strings.HasPrefix(req.URL.Host, "direct") {
			return nil, nil
		}
		return &url.URL{Scheme: "http", Host: "127.0.0.1:" + p.port()}, nil
	}
	d, w := newDNS(t), newWire()
	d.name("direct", always("127.0.0.1"))
	c := guarded(t, dialguard.Options{Proxies: prefixes("127.0.0.1/32")}, base, d, w)
	if status, err := get(t, c, "http://model.internal/"); status != http.StatusTeapot {
		t.Errorf("by the proxy: status %d, %v", status, err)
	}
	w.take()
	if _, err := get(t, c, "http://direct.test:"+p.port()+"/"); !errors.Is(err, dialguard.ErrRefused) {
		t.Errorf("directly to the network of the proxy: %v", err)
	}
	c = guarded(t, dialguard.Options{Prefixes: prefixes("127.0.0.1/32"), Proxies: prefixes("10.0.0.0/8")}, base, d, w)
	if _, err := get(t, c, "http://model.internal/"); !errors.Is(err, dialguard.ErrRefused) {
		t.Errorf("a proxy in the network of the targets: %v", err)
	}
	if seen := w.take(); len(seen) > 0 {
		t.Errorf("dialed %v", seen)
	}
}
