package dialguard_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/latchkey-go/latchkey/dialguard"
)

// A dnsServer answers look-ups by script, so that a name can change.
type dnsServer struct {
	addr string

	mu    sync.Mutex
	names map[string]func(lookup int) []string // by the first label
	asked map[string]int
}

func newDNS(t *testing.T) *dnsServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dnsServer{addr: conn.LocalAddr().String(), names: map[string]func(int) []string{}, asked: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<12)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := d.answer(buf[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return d
}

// name has a name answer with addresses, by the number of the look-up.
func (d *dnsServer) name(label string, answers func(lookup int) []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[label] = answers
}

// lookups returns how often the IPv4 addresses of a name were asked for.
func (d *dnsServer) lookups(label string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[label+string(rune('0'+1))]
}

// always is an answer that does not change.
func always(addresses ...string) func(int) []string { return func(int) []string { return addresses } }

// then changes after the first look-up.
func then(first, later string) func(int) []string {
	return func(lookup int) []string {
		if lookup == 0 {
			return []string{first}
		}
		return []string{later}
	}
}

// answer answers a query (RFC 1035, section 4) of one question.
func (d *dnsServer) answer(query []byte) []byte {
	const header = 12
	if len(query) < header+1 {
		return nil
	}
	label := ""
	at := header
	for at < len(query) && query[at] != 0 {
		n := int(query[at])
		if at+1+n >= len(query) {
			return nil
		}
		if label == "" {
			label = strings.ToLower(string(query[at+1 : at+1+n]))
		}
		at += 1 + n
	}
	if at+5 > len(query) {
		return nil
	}
	question := query[header : at+5]
	kind := binary.BigEndian.Uint16(query[at+1:])
	d.mu.Lock()
	answers := d.names[label]
	key := label + string(rune('0'+kind))
	lookup := d.asked[key]
	d.asked[key]++
	d.mu.Unlock()

	out := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
	if answers == nil {
		out[3] |= 3 // no such name
		return out
	}
	for _, text := range answers(lookup) {
		ip := netip.MustParseAddr(text)
		if ip.Is4() != (kind == 1) || ip.Is6() != (kind == 28) {
			continue
		}
		out[7]++
		out = append(out, 0xc0, header, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(ip.BitLen()/8))
		out = append(out, ip.AsSlice()...)
	}
	return out
}

func (d *dnsServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", d.addr)
	}}
}

var errHeld = errors.New("held back by the test")

// A wire sees the addresses that the guard has let pass, right before the
// connection is made. It makes those to real alone.
type wire struct {
	real netip.Prefix

	mu   sync.Mutex
	seen []netip.Addr
}

func newWire() *wire { return &wire{real: netip.MustParsePrefix("127.0.0.1/32")} }

func (w *wire) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ip := netip.MustParseAddrPort(address).Addr()
	w.mu.Lock()
	w.seen = append(w.seen, ip)
	w.mu.Unlock()
	if !w.real.Contains(ip) {
		return errHeld
	}
	return nil
}

// take returns what was seen since the last time.
func (w *wire) take() []netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.seen
	w.seen = nil
	return out
}

// guarded returns a client whose connections go by the guard, the DNS server and
// the wire.
func guarded(t *testing.T, opts dialguard.Options, base *http.Transport, d *dnsServer, w *wire) *http.Client {
	t.Helper()
	opts.Dialer = &net.Dialer{Resolver: d.resolver(), ControlContext: w.control}
	g, err := dialguard.New(&opts)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := g.Transport(base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func get(t *testing.T, c *http.Client, url string) (status int, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, p := range texts {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// A proxy carries requests and tunnels, all to one server.
type proxy struct {
	*httptest.Server
	target *httptest.Server

	mu    sync.Mutex
	asked []string // what it was to connect to
	auth  []string
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{target: httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(func() { p.Server.Close(); p.target.Close() })
	return p
}

func (p *proxy) serve(w http.ResponseWriter, req *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, req.Host)
	p.auth = append(p.auth, req.Header.Get("Proxy-Authorization"))
	p.mu.Unlock()
	if req.Method != http.MethodConnect {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	up, err := (&net.Dialer{}).DialContext(req.Context(), "tcp", p.target.Listener.Addr().String())
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	down, rest, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = up.Close()
		return
	}
	go func() { _, _ = io.Copy(up, rest); _ = up.Close() }()
	_, _ = io.Copy(down, up)
	_ = down.Close()
}

// take returns what the proxy was asked for since the last time.
func (p *proxy) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.asked
	p.asked = nil
	return out
}

func (p *proxy) port() string {
	_, port, _ := net.SplitHostPort(p.Listener.Addr().String())
	return port
}

// trusting is a base transport that trusts the server behind the proxy, under
// any name.
func (p *proxy) trusting() *http.Transport {
	pool := x509.NewCertPool()
	pool.AddCert(p.target.Certificate())
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12}}
}
