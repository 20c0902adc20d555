package openaiworkload

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	maxBody   = 64 << 10
	maxHeader = 64 << 10

	dialTimeout = 5 * time.Second
	// The metadata services are one hop away; off their platform nobody answers.
	metadataDialTimeout = time.Second
)

var (
	errRedirect = errors.New("a redirect, which is refused: the token goes to no other address")
	errTooLarge = fmt.Errorf("the answer has more than %d bytes", maxBody)
	errBroken   = errors.New("the connection broke, or the answer is not HTTP")
)

// newTransport is for the exchange. There is one every few minutes: a
// connection that is kept would be stale, and dead after a freeze of the
// process.
func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// newMetadataTransport has no proxy: the address means another machine there.
func newMetadataTransport() http.RoundTripper {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: metadataDialTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

func newClient(given http.RoundTripper, own func() http.RoundTripper) *http.Client {
	if given == nil {
		given = own()
	}
	return &http.Client{
		Transport:     given,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends req and reads the whole answer, if it is not too large.
func do(client *http.Client, req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // read only
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return answer{}, errRedirect // without a Location, or one that net/http leaves alone
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil && !timedOut(err):
		return answer{}, errBroken
	case err != nil:
		return answer{}, err
	case len(body) > maxBody:
		return answer{}, errTooLarge
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// carriageFault tells what became of a request in words of our own: net/http
// quotes malformed answers in its errors, and those may repeat the token.
func carriageFault(op string, err error) error {
	f := &fault{op: op, transient: true}
	dns, cert, opErr := (*net.DNSError)(nil), (*tls.CertificateVerificationError)(nil), (*net.OpError)(nil)
	switch {
	case errors.Is(err, errRedirect):
		f.err, f.transient = errRedirect, false
		f.hint = "a proxy or captive portal may have answered"
	case errors.Is(err, errTooLarge):
		f.err, f.transient = errTooLarge, false
		f.hint = "a proxy or captive portal may have answered"
	case errors.As(err, &cert):
		f.err, f.transient = errors.New("the server's certificate is not trusted"), false
		f.hint = "add the authority of an inspecting proxy to the machine's trusted ones, or set Transport"
	case errors.As(err, &dns):
		f.err, f.hint = errors.New("the host's name cannot be resolved"), "check the network's DNS"
	case timedOut(err):
		f.err, f.hint = context.DeadlineExceeded, "check that the address can be reached from here"
	case errors.As(err, &opErr) && (opErr.Op == "dial" || opErr.Op == "proxyconnect"):
		f.err, f.hint = errors.New("no connection"), "check that the address can be reached from here"
	case errors.As(err, &opErr) && opErr.Op == "remote error": // crypto/tls: an alert
		f.err, f.hint = errors.New("the server ended TLS with an alert"), "it has to speak TLS 1.2 or later"
	default:
		f.err = errBroken
	}
	return f
}

func timedOut(err error) bool {
	timeout := (net.Error)(nil)
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
