package leaf

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// DefaultMaxAnswer is the most that is read of an answer, in bytes: a secret
	// of 64 KiB as escaped JSON, and what stands around it.
	DefaultMaxAnswer = 1 << 20

	dialTimeout = 5 * time.Second
	maxHeader   = 64 << 10
	// idleFor is how long a connection is kept for the next request, by the
	// wall clock: a process that was frozen does not see that its connections
	// are dead. Only the reads of a rotation under way come closer than that.
	idleFor = 5 * time.Second
)

// A Reach says how far a request without TLS may go. It decides by the address
// that is dialed, not by the name: "localhost" may stand for any machine.
type Reach int

// The values of a Reach.
const (
	// Loopback is this machine, for stores and issuers.
	Loopback Reach = iota
	// Nearby adds link-local and private addresses, for a platform's own
	// endpoints: metadata services, and the identity endpoints of containers.
	Nearby
	// Anywhere is for an operator who has asked for it.
	Anywhere
)

// PlainHTTP returns the reach of a source with an option of that name.
func PlainHTTP(allowed bool) Reach {
	if allowed {
		return Anywhere
	}
	return Loopback
}

// HTTP says what the client of a source is like. The zero value is ready to
// use.
type HTTP struct {
	// Transport carries the requests. Nil is one of our own: the proxies of the
	// environment, TLS 1.2 or later. A Transport that is given dials and
	// uses proxies as it likes, but not without TLS beyond Plain.
	Transport http.RoundTripper
	// Base is what our own transport is made of, for an SDK that reads its
	// settings of TLS and of proxies itself. It is copied.
	Base *http.Transport
	// Plain bounds requests without TLS.
	Plain Reach
	// NoProxy keeps requests from the proxies of the environment, because the
	// address means another machine there.
	NoProxy bool
	// MaxAnswer is the most that is read of an answer, in bytes; 0 is
	// DefaultMaxAnswer.
	MaxAnswer int
	// Now is the clock; nil is time.Now. Only its wall time is used.
	Now func() time.Time
}

// Client returns the client. It is safe for concurrent use.
//
// Its requests fail with a [*Refused] if they would go beyond Plain, if the
// answer is a redirect, and when more is read of an answer than MaxAnswer.
func (h HTTP) Client() *http.Client {
	p := &peer{secure: h.Transport, plain: h.Transport, reach: h.Plain, given: h.Transport != nil, most: h.MaxAnswer, now: h.Now}
	if p.most == 0 {
		p.most = DefaultMaxAnswer
	}
	if p.now == nil {
		p.now = time.Now
	}
	if !p.given {
		p.secure, p.plain = h.transports()
	}
	return &http.Client{Transport: p} // which sees no redirect that it could follow
}

// transports returns one for https and one for http. A proxy would have the
// requests of the second in clear, and dial for us.
func (h HTTP) transports() (secure, plain *http.Transport) {
	secure = NewTransport(h.Base)
	if h.NoProxy {
		secure.Proxy = nil
	}
	if h.Plain == Anywhere {
		return secure, secure
	}
	plain = secure.Clone()
	plain.Proxy = nil
	plain.DialContext = (&net.Dialer{Timeout: dialTimeout, ControlContext: h.Plain.control}).DialContext
	return secure, plain
}

// NewTransport returns a transport with the bounds that those of our own have.
// It is made of a copy of base; nil is the proxies of the environment and TLS
// 1.2 or later.
func NewTransport(base *http.Transport) *http.Transport {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
	}
	if base != nil {
		t = base.Clone()
		// A clone shares the HTTP/2 connections of its original, and would not
		// close them.
		t.TLSNextProto, t.ForceAttemptHTTP2 = nil, true
	}
	t.DisableCompression = true // the cap is of what was sent
	t.MaxResponseHeaderBytes = maxHeader
	t.MaxIdleConnsPerHost = 1 // reads come one at a time
	t.IdleConnTimeout = idleFor
	return t
}

// A peer is the transport of a client.
type peer struct {
	secure, plain http.RoundTripper
	reach         Reach
	given         bool // by the user; else ours
	most          int
	now           func() time.Time
	last          atomic.Int64 // wall time of the last request
}

// RoundTrip sends req and bounds the answer.
//
// The body is sent from a copy, which may be closed at any time: SDKs close or
// rewind their own as soon as an answer begins, when net/http may still be
// looking for its end, and would then drop the connection in mid-answer.
func (p *peer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody {
		body, err := io.ReadAll(req.Body)
		_ = req.Body.Close() // of bytes in memory
		if err != nil {
			return nil, err //nolint:wrapcheck // the caller's own
		}
		r := *req
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, _ = r.GetBody()
		req = &r
	}
	resp, err := p.send(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		_ = resp.Body.Close() // there is nothing in it for us
		return nil, redirected(resp.StatusCode)
	}
	resp.Body = &capped{ReadCloser: resp.Body, left: p.most, most: p.most}
	return resp, nil
}

func (p *peer) send(req *http.Request) (*http.Response, error) {
	switch {
	case p.given && req.URL.Scheme != "https" && p.reach != Anywhere:
		return p.watched(req)
	case p.given:
		return p.secure.RoundTrip(req) //nolint:wrapcheck // Explain looks at types
	}
	p.wake()
	if req.URL.Scheme == "https" {
		return p.secure.RoundTrip(req) //nolint:wrapcheck // Explain looks at types
	}
	return p.plain.RoundTrip(req) //nolint:wrapcheck // Explain looks at types
}

// wake drops the connections that may have died unnoticed.
func (p *peer) wake() {
	now := p.now().UnixNano()
	last := p.last.Swap(now)
	if gap := now - last; last != 0 && (gap > int64(idleFor) || gap < 0) {
		p.CloseIdleConnections()
	}
}

// CloseIdleConnections is for http.Client.
func (p *peer) CloseIdleConnections() {
	if p.given {
		return // others may use them
	}
	for _, t := range []http.RoundTripper{p.secure, p.plain} {
		if own, ok := t.(*http.Transport); ok {
			own.CloseIdleConnections()
		}
	}
}

// watched sends a request without TLS by a transport that we have not made.
func (p *peer) watched(req *http.Request) (*http.Response, error) {
	ctx, verdict, err := p.reach.Guard(req.Context(), req.URL)
	if err != nil {
		return nil, err
	}
	resp, err := p.secure.RoundTrip(req.WithContext(ctx))
	if err := verdict(); err != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		return nil, err
	}
	return resp, err //nolint:wrapcheck // Explain looks at types
}

// Guard is for a request that a client of others sends. It goes by the host in
// the URL, and by the address that the connection turns out to have: ctx is
// for the request, and closes a connection to elsewhere before anything is
// written. verdict tells afterwards whether that happened. With TLS everything
// is admitted. The error is a [*Refused], as that of verdict.
func (r Reach) Guard(parent context.Context, u *url.URL) (ctx context.Context, verdict func() error, err error) {
	nothing := func() error { return nil }
	if u.Scheme == "https" || r == Anywhere {
		return parent, nothing, nil
	}
	host := u.Hostname()
	want, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !r.admits(want)) {
		return parent, nothing, inClear(host)
	}
	var elsewhere atomic.Bool
	ctx = httptrace.WithClientTrace(parent, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		tcp, ok := info.Conn.RemoteAddr().(*net.TCPAddr)
		if !ok {
			return // a socket of this machine, or memory
		}
		if got := tcp.AddrPort().Addr().Unmap(); !got.IsLoopback() && got != want.Unmap() {
			elsewhere.Store(true)
			_ = info.Conn.Close()
		}
	}})
	return ctx, func() error {
		if elsewhere.Load() {
			return inClear(host)
		}
		return nil
	}, nil
}

// control is asked for each address before it is dialed.
func (r Reach) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	if ip, ok := Literal(address); !ok || !r.admits(ip) {
		return inClear(address)
	}
	return nil
}

// Literal returns the IP address of an address with a port, as a dialer shows
// it to its ControlContext: without a zone, and as IPv4 if it is IPv4 in IPv6.
func Literal(address string) (ip netip.Addr, ok bool) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{}, false
	}
	return at.Addr().WithZone("").Unmap(), true
}

func (r Reach) admits(ip netip.Addr) bool {
	return ip.IsLoopback() || r == Nearby && (ip.IsLinkLocalUnicast() || ip.IsPrivate())
}

// A Refused error is an exchange that the client did not let happen, or did
// not let go on. Its text is safe to show, and SDKs do not repeat the request.
type Refused struct {
	what, hint string
	transient  bool
	kind       error // for errors.Is; may be nil
}

// Refuse returns an error for what was refused, and what to do about it.
// errors.Is finds kind in it.
func Refuse(kind error, what, hint string) *Refused {
	return &Refused{what: what, hint: hint, kind: kind}
}

// Error says what was refused.
func (r *Refused) Error() string { return r.what }

// Unwrap returns the kind of the refusal.
func (r *Refused) Unwrap() error { return r.kind }

// NonRetriable tells Azure's SDK that another try does not help.
func (r *Refused) NonRetriable() {}

// RetryableError tells Amazon's SDK the same.
func (r *Refused) RetryableError() bool { return false }

const (
	hintPlain    = "use https; plain http goes to loopback addresses only"
	hintRedirect = "name the address that it leads to, if that is meant; else look for a proxy or a captive portal"
)

func inClear(host string) error {
	return &Refused{what: fmt.Sprintf("plain http to %s, which is not this machine: others on the network could read the credential", host),
		hint: hintPlain}
}

func redirected(status int) error {
	return &Refused{what: fmt.Sprintf("the answer is a redirect (status %d), which is not followed: it could take the credential to another server", status),
		hint: hintRedirect, transient: true}
}

func tooLarge(most int) error {
	return &Refused{what: fmt.Sprintf("the answer has more than %d bytes", most), hint: "a proxy or a captive portal may have answered", transient: true}
}

// A capped body is an error beyond its most, not a shorter answer.
type capped struct {
	io.ReadCloser
	left, most int
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, tooLarge(c.most)
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left+1)])
	if c.left -= n; c.left < 0 {
		return n - 1, tooLarge(c.most)
	}
	return n, err //nolint:wrapcheck // io.EOF has to be the very one
}
