package dialguard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/latchkey-go/latchkey/internal/leaf"
)

// maxProxies is how many proxies one transport uses at most.
const maxProxies = 256

// Transport returns a copy of base whose connections are guarded. It is for the
// Transport of a store's Options, or for an [http.Client] of your own. Nil is a
// base like that of the stores: the proxies of the environment, TLS 1.2 or later.
//
// The copy keeps the TLS configuration of base with its client certificates and
// authorities, its proxies with their passwords, and its bounds. The dialer of
// the Guard takes the place of DialContext and of the deprecated Dial; whoever
// needs settings of their own sets Options.Dialer. HTTP/2 is net/http's own, also
// if golang.org/x/net/http2 was configured. Transport fails for what would go
// around that dialer: DialTLSContext, DialTLS and other entries of TLSNextProto.
func (g *Guard) Transport(base *http.Transport) (*http.Transport, error) {
	if g == nil || len(g.prefixes) == 0 {
		return nil, errors.New(prefix + "a zero Guard; make one with dialguard.New")
	}
	var t *http.Transport
	if base == nil {
		t = leaf.NewTransport(nil)
	} else {
		t = base.Clone()
		// net/http turns HTTP/2 off for a DialContext, unless it is forced. After
		// Clone this map tells whether base has it.
		_, h2 := base.TLSNextProto["h2"]
		t.ForceAttemptHTTP2 = t.ForceAttemptHTTP2 || h2
	}
	switch {
	case t.DialTLSContext != nil:
		return nil, unguarded("DialTLSContext")
	//lint:ignore SA1019 deprecated, and still obeyed
	case t.DialTLS != nil: //nolint:staticcheck // deprecated, and still obeyed
		return nil, unguarded("DialTLS")
	}
	// What is registered here has connections of its own, which the guard has not
	// seen: those of base, with golang.org/x/net/http2. Clone leaves net/http's
	// own out. An empty map turns HTTP/2 off.
	for protocol := range t.TLSNextProto {
		if protocol != "h2" && protocol != "unencrypted_http2" {
			return nil, unguarded("TLSNextProto[" + strconv.Quote(protocol) + "]")
		}
		t.TLSNextProto = nil
	}
	p := &paths{guard: g, proxy: t.Proxy}
	if t.Proxy != nil {
		t.Proxy = p.choose
	}
	//lint:ignore SA1019 deprecated, and still obeyed
	t.Dial = nil //nolint:staticcheck // deprecated, and still obeyed
	t.DialContext = p.dial
	return t, nil
}

func unguarded(field string) error {
	return errors.New(prefix + field + " of the transport would dial around the guard; leave it nil, and put settings of TLS into TLSClientConfig")
}

// paths dials for one transport. It tells proxies from targets by the address
// that net/http asks for: choose runs before the dial.
type paths struct {
	guard *Guard
	proxy func(*http.Request) (*url.URL, error)

	mu      sync.Mutex
	proxies map[string]bool // host:port
}

// dial opens a connection to addr, whose host may be a name.
func (p *paths) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, refuse("the address to dial has no port", "look at the URL of the request, and at the proxy")
	}
	p.mu.Lock()
	proxy := p.proxies[addr]
	p.mu.Unlock()
	d := p.guard.dialer
	next := d.ControlContext
	if control := d.Control; next == nil && control != nil {
		next = func(_ context.Context, network, address string, c syscall.RawConn) error {
			return control(network, address, c)
		}
	}
	d.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if err := p.guard.check(network, address, host, proxy); err != nil || next == nil {
			return err
		}
		return next(ctx, network, address, c)
	}
	return d.DialContext(ctx, network, addr) //nolint:wrapcheck // others look at its type
}

// choose is the Proxy of the transport. It names no user and no password.
func (p *paths) choose(req *http.Request) (*url.URL, error) {
	u, err := p.proxy(req)
	switch {
	case err != nil: // net/http's own would quote the setting with its password
		return nil, refuse("the proxy for "+req.URL.Host+" cannot be told: its setting is malformed, or the Proxy function fails",
			"correct HTTPS_PROXY and HTTP_PROXY, or the Proxy of the transport")
	case u == nil:
		return nil, nil //nolint:nilnil // the contract of Proxy: none
	case len(p.guard.proxies) == 0:
		return nil, refuse(req.URL.Host+" would be reached through the proxy "+u.Host+", which connects to wherever it likes",
			"add the host to NO_PROXY, set Proxy to nil, or allow the proxy by Options.Proxies")
	}
	if err := p.guard.checkTarget(req); err != nil {
		return nil, err
	}
	return u, p.note(u)
}

// note remembers that an address is a proxy's.
func (p *paths) note(u *url.URL) error {
	port := u.Port()
	if port == "" {
		switch u.Scheme {
		case "https":
			port = "443"
		case "socks5", "socks5h":
			port = "1080"
		default:
			port = "80"
		}
	}
	addr := net.JoinHostPort(u.Hostname(), port)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.proxies[addr]:
	case len(p.proxies) == maxProxies:
		return refuse("the transport has used too many proxies", "let its Proxy function return fewer")
	case p.proxies == nil:
		p.proxies = map[string]bool{addr: true}
	default:
		p.proxies[addr] = true
	}
	return nil
}

// checkTarget decides on what a proxy is asked to connect to, as far as that can
// be told without a look-up, whose answer would not be the proxy's.
func (g *Guard) checkTarget(req *http.Request) error {
	if req.URL.Opaque != "" {
		return refuse("the request's URL is opaque, and the proxy would go by that", "set Host and Path of the URL")
	}
	hosts := [...]string{req.URL.Hostname(), ""}
	if req.Host != "" && req.URL.Scheme == "http" { // net/http sends it to the proxy as the target
		hosts[1] = (&url.URL{Host: req.Host}).Hostname()
	}
	for _, host := range hosts {
		host = strings.TrimRight(host, ".")
		if host == "" {
			continue
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			ip = ip.WithZone("").Unmap()
			if v := g.judge(ip, g.prefixes); !v.ok {
				return g.outside(ip, "", v)
			}
			continue
		}
		if strange(host) {
			return refuse("the host of the request may be an address in an unusual form, or this machine, and the proxy would decide which",
				"write an address as four decimal numbers, or as IPv6; write a name in ASCII")
		}
	}
	return nil
}

// strange reports whether a resolver may take the host for an address, as in
// 0x7f.1, or for the machine that it runs on.
func strange(host string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	if strings.Trim(host, plain) != "" {
		return true // IDNA makes ASCII digits of others
	}
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	// As browsers: a name whose last label is a number is an address.
	hex, isHex := strings.CutPrefix(last, "0x")
	return last == "localhost" || strings.Trim(last, "0123456789") == "" || isHex && strings.Trim(hex, "0123456789abcdef") == ""
}
