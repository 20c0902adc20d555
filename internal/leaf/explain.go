package leaf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// A Fault is why there is no answer, for a credential.SourceError. Nothing in
// it quotes what a peer or a URL says.
type Fault struct {
	// Err is the cause. It wraps context.DeadlineExceeded, context.Canceled or
	// the system's error number, if that is the reason.
	Err error
	// Hint says what to do.
	Hint string
	// Transient is true but for a request that was refused for where it goes.
	Transient bool
}

// Hints are what a source advises instead of the general advice; empty fields
// are that.
type Hints struct {
	// DNS is for a name that cannot be resolved.
	DNS string
	// Authority is for a certificate of an unknown authority.
	Authority string
	// Network is for an address that cannot be reached.
	Network string
	// Redirect is for an answer that is one.
	Redirect string
	// Plain is for an address that is refused for plain http.
	Plain string
}

// Explain tells why host gave no answer. An empty host is unknown.
func (h Hints) Explain(err error, host string) Fault {
	if host == "" {
		host = "the host"
	}
	if r := (*Refused)(nil); errors.As(err, &r) {
		return Fault{Err: r, Hint: or(map[string]string{hintRedirect: h.Redirect, hintPlain: h.Plain}[r.hint], r.hint), Transient: r.transient}
	}
	f := Fault{Transient: true}
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		f.Err, f.Hint = fmt.Errorf("DNS: %s cannot be resolved", host), or(h.DNS, "check the name, and the DNS of this network")
		return f
	}
	if what, hint := h.insecure(err, host); what != "" {
		f.Err, f.Hint = errors.New(what), hint
		return f
	}
	number := syscall.Errno(0)
	op := (*net.OpError)(nil)
	switch {
	case errors.Is(err, context.Canceled):
		f.Err = context.Canceled
	case timedOut(err):
		f.Err, f.Hint = &wrapped{host + " did not answer in time", context.DeadlineExceeded}, or(h.Network, "check the route, firewalls and proxies to it")
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		f.Err, f.Hint = fmt.Errorf("no connection to %s", host), or(h.Network, "check that it is up and that the network lets this process reach it")
		if errors.As(err, &number) {
			f.Err = &wrapped{fmt.Sprintf("%v: %v", f.Err, number), number}
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &number):
		f.Err, f.Hint = fmt.Errorf("%s closed the connection before the end of its answer", host), "check proxies on the way"
	default:
		f.Err, f.Hint = fmt.Errorf("the connection to %s broke, or what answers there is not HTTP", host), "check the address, and proxies on the way"
	}
	return f
}

// insecure explains what TLS has against the peer, or the peer against us.
func (h Hints) insecure(err error, host string) (what, hint string) {
	var (
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		op        *net.OpError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	certificate := "TLS: the certificate of " + host
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		what = certificate + " has expired, or is not valid yet"
		if c := invalid.Cert; c != nil {
			what = fmt.Sprintf("%s is valid from %s to %s, and here it is %s", certificate, stamp(c.NotBefore), stamp(c.NotAfter), stamp(time.Now()))
		}
		return what, "renew it, or set the clock here"
	case errors.As(err, &authority):
		return certificate + " is signed by an unknown authority",
			or(h.Authority, "a proxy that opens TLS needs its authority in the system's store or in SSL_CERT_FILE")
	case errors.As(err, &name):
		return "TLS: the certificate that was shown is not for " + host, "check the name, its DNS and proxies on the way"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return certificate + " is not valid", "check the clock and proxies on the way"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "TLS: " + host + " does not speak it on this port", "check the scheme and the port of the address"
	case errors.As(err, &op) && op.Op == "remote error": // crypto/tls: an alert
		return "TLS: " + host + " ended the handshake with an alert", "it has to speak TLS 1.2 or later, and may ask for a client's certificate"
	}
	return "", ""
}

// OnWire reports whether err is of the network or of the client, and not of
// what an answer says.
func OnWire(err error) bool {
	refused, sent, op, dns, verify := (*Refused)(nil), (*url.Error)(nil), (*net.OpError)(nil), (*net.DNSError)(nil), (*tls.CertificateVerificationError)(nil)
	return errors.As(err, &refused) || errors.As(err, &sent) || errors.As(err, &op) || errors.As(err, &dns) || errors.As(err, &verify) ||
		timedOut(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// Passing reports whether a refusal with that status is likely to be another
// answer a little later: throttling, a timeout, or an error inside the server
// other than that it does not know the request.
func Passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return status >= 500
}

func timedOut(err error) bool {
	timeout := (net.Error)(nil)
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// A wrapped error has a text that is safe to show, and is what it wraps.
type wrapped struct {
	text string
	err  error
}

func (w *wrapped) Error() string { return w.text }
func (w *wrapped) Unwrap() error { return w.err }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func or(text, general string) string {
	if text != "" {
		return text
	}
	return general
}
