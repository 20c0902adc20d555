package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/wraperr"
)

const (
	dialTimeout           = 30 * time.Second
	tlsTimeout            = 10 * time.Second
	responseHeaderTimeout = 10 * time.Minute // as the official SDK: a model may think for long
	maxResponseHeader     = 256 << 10
	idleConnTimeout       = 50 * time.Second // below what gateways keep open
	pingAfter             = 15 * time.Second
	// frozenAfter is the idle wall time after which connections are taken for
	// dead: a sandbox that was frozen does not see them closed.
	frozenAfter  = 45 * time.Second
	maxIdleConns = 100
	longBody     = 64 << 10 // bytes
)

// A roundTrip is the method of what is below. It is a func for the reason that
// package hidden tells: below are connections, which hold credentials.
type roundTrip func(*http.Request) (*http.Response, error)

// transport is what HTTPClient uses.
type transport struct {
	next      roundTrip
	closeIdle func()
	cancel    func(*http.Request)
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) { return t.next(req) }

// CloseIdleConnections is what http.Client looks for.
func (t *transport) CloseIdleConnections() { t.closeIdle() }

// CancelRequest is what http.Client and old programs look for.
//
// Deprecated: it exists because http.Transport has it; cancel the context.
func (t *transport) CancelRequest(req *http.Request) { t.cancel(req) }

// carrier returns the base transport.
func (cfg *Config) carrier() (*thawed, error) {
	base := cfg.Transport
	if base == nil {
		own, err := NewTransport(cfg.RootCAs)
		if err != nil {
			return nil, err
		}
		base = own
	} else if len(cfg.RootCAs) > 0 {
		return nil, errors.New("client: RootCAs has no effect on a Transport of your own; set its TLSClientConfig.RootCAs")
	}
	if cfg.Dial != nil {
		own, ok := base.(*http.Transport)
		if !ok {
			return nil, fmt.Errorf("client: Dial cannot guard a Transport of type %T; want an *http.Transport, or nil. One that wraps another takes Dial.Transport as that, with Dial nil", base)
		}
		guarded, err := cfg.Dial.Transport(own)
		if err != nil {
			return nil, wraperr.New("client: Dial: "+strings.TrimPrefix(err.Error(), "dialguard: "), err)
		}
		base = guarded
	}
	t := &thawed{next: base.RoundTrip, closeIdle: func() {}, cancel: func(*http.Request) {}, now: cfg.now()}
	if c, ok := base.(interface{ CloseIdleConnections() }); ok {
		t.closeIdle = c.CloseIdleConnections
	}
	if c, ok := base.(interface{ CancelRequest(*http.Request) }); ok {
		t.cancel = c.CancelRequest
	}
	return t, nil
}

// NewTransport returns a transport with the settings of a Client that is given
// none: TLS 1.2 or later, HTTP/2 with pings, the environment's proxies, bounds
// on handshakes and response headers, and up to 100 idle connections, which
// close after 50 seconds. rootCAs is PEM: certificate authorities to trust
// beside the system's, or nil.
//
// Use it to share one transport between Clients, or to change a setting before
// it goes into [Config.Transport]. It fails if rootCAs holds no certificate.
func NewTransport(rootCAs []byte) (*http.Transport, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(rootCAs) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // a machine without any
		}
		if !pool.AppendCertsFromPEM(rootCAs) {
			return nil, fmt.Errorf("client: RootCAs: no PEM certificate in %d bytes", len(rootCAs))
		}
		conf.RootCAs = pool
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    tlsTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        idleConnTimeout,
		ResponseHeaderTimeout:  responseHeaderTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxResponseHeader,
	}, nil
}

// thawed closes idle connections before the first send after a long pause.
// A timer cannot: it stands still with the process.
type thawed struct {
	next      func(*http.Request) (*http.Response, error)
	closeIdle func()
	cancel    func(*http.Request)
	now       func() time.Time
	last      atomic.Int64 // wall time of the last sign of life; 0 before
}

func (t *thawed) RoundTrip(req *http.Request) (*http.Response, error) {
	now := t.now().UnixNano()
	last := t.last.Swap(now)
	if gap := now - last; last != 0 && (gap > int64(frozenAfter) || gap < -int64(frozenAfter)) {
		t.closeIdle()
	}
	resp, err := t.next(req)
	if err != nil {
		return nil, err
	}
	t.alive()
	// A body that is long, or may be, is under way for a while. One that is
	// written to is a connection that nobody uses again.
	if _, conn := resp.Body.(io.Writer); !conn && (resp.ContentLength < 0 || resp.ContentLength > longBody) {
		body := resp.Body
		resp.Body = &longAnswer{body: hidden.Of(body), alive: t.alive}
	}
	return resp, nil
}

func (t *thawed) alive() { t.last.Store(t.now().UnixNano()) }

func (t *thawed) CloseIdleConnections() { t.closeIdle() }

func (t *thawed) CancelRequest(req *http.Request) { t.cancel(req) }

// A longAnswer is a body whose end is a sign of life.
type longAnswer struct {
	body  hidden.Value[io.ReadCloser]
	alive func()
}

func (a *longAnswer) Read(p []byte) (int, error) {
	n, err := a.body().Read(p)
	if err != nil {
		a.alive()
	}
	return n, err //nolint:wrapcheck // io.EOF has to stay bare
}

func (a *longAnswer) Close() error {
	a.alive()
	return a.body().Close() //nolint:wrapcheck // as the transport says it
}
