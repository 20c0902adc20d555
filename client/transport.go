package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
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
)

// transport is what HTTPClient uses.
type transport struct {
	// Funcs, so that no printer by reflection walks into what is below.
	next      func(*http.Request) (*http.Response, error)
	closeIdle func()
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) { return t.next(req) }

// CloseIdleConnections is what http.Client looks for.
func (t *transport) CloseIdleConnections() { t.closeIdle() }

// carrier returns the base transport.
func (cfg *Config) carrier() (*thawed, error) {
	base := cfg.Transport
	if base == nil {
		own, err := newTransport(cfg.RootCAs)
		if err != nil {
			return nil, err
		}
		base = own
	} else if len(cfg.RootCAs) > 0 {
		return nil, errors.New("client: RootCAs has no effect on a Transport of your own; set its TLSClientConfig.RootCAs")
	}
	closeIdle := func() {}
	if c, ok := base.(interface{ CloseIdleConnections() }); ok {
		closeIdle = c.CloseIdleConnections
	}
	return &thawed{next: base.RoundTrip, closeIdle: closeIdle, now: cfg.now()}, nil
}

func newTransport(rootCAs []byte) (*http.Transport, error) {
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
	now       func() time.Time
	last      atomic.Int64 // wall time of the last sign of life; 0 before
}

func (t *thawed) RoundTrip(req *http.Request) (*http.Response, error) {
	now := t.now().UnixNano()
	last := t.last.Swap(now)
	if gap := now - last; last != 0 && (gap > int64(frozenAfter) || gap < -int64(frozenAfter)) {
		t.closeIdle()
	}
	return t.next(req)
}

func (t *thawed) CloseIdleConnections() { t.closeIdle() }
