package middleware

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// connectionError reports whether err is a failure of the connection before a
// byte of the answer came. It is an allow-list: an error that nobody knows may
// have come after the request was carried out, and was billed.
func connectionError(err error) bool {
	// Bare, from a RoundTrip, it is HTTP/2's word for a connection that was
	// closed in place of an answer. HTTP/1 wraps it, and means a broken answer.
	if err == io.ErrUnexpectedEOF { //nolint:errorlint // see above
		return true
	}
	if permanentError(err) {
		return false
	}
	if timeout := (net.Error)(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return true // a dial, a TLS handshake, the wait for the header
	}
	if errors.Is(err, io.EOF) {
		return true // net/http: the connection was closed in place of an answer
	}
	if record := (tls.RecordHeaderError{}); errors.As(err, &record) {
		return true // the other side, or what is between, does not speak TLS now
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		switch op.Op {
		case "dial", "write", "proxyconnect":
			return true
		case "remote error": // a TLS alert
			return !strings.Contains(err.Error(), "certificate") && !strings.Contains(err.Error(), "access denied")
		case "read":
			// net/http adds this to what happens inside of an answer, and to
			// nothing that happens before it.
			return !strings.Contains(err.Error(), "transport connection broken")
		}
		return false
	}
	return textOfConnectionError(err)
}

// permanentError names what must not be sent again, whatever it wraps: a store
// that cannot be reached is a connection error, too.
func permanentError(err error) bool {
	for _, target := range [...]error{
		context.Canceled, ErrOrigin, credential.ErrRejected, credential.ErrUnavailable, credential.ErrNotFound,
		io.ErrUnexpectedEOF, limit.ErrCounter, limit.ErrPrice,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	own, source, cert := (*credentialError)(nil), (*credential.SourceError)(nil), (*tls.CertificateVerificationError)(nil)
	body, begun := (*requestBodyError)(nil), (*begunError)(nil)
	refused := (dialRefused)(nil)
	authority, host, invalid := x509.UnknownAuthorityError{}, x509.HostnameError{}, x509.CertificateInvalidError{}
	ceiling := (*limit.Error)(nil)
	return errors.As(err, &ceiling) || errors.As(err, &refused) || errors.As(err, &body) || errors.As(err, &begun) || errors.As(err, &own) || errors.As(err, &source) ||
		errors.As(err, &cert) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// A dialRefused is an error that says that another try does not help, as those
// of package dialguard: the address is not one that may be dialed. It has the
// method that Azure's SDK looks for.
type dialRefused interface {
	error
	NonRetriable()
}

// textOfConnectionError knows the errors of net/http that have no type. Only
// the beginning counts: the rest may be quoted from an answer.
func textOfConnectionError(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		text := err.Error()
		for _, known := range [...]string{
			"http: server closed idle connection",
			"net/http: cannot rewind body after connection loss",
			"http2: client connection lost",
			"http2: server sent GOAWAY and closed the connection",
			"http2: Transport received Server's graceful shutdown GOAWAY",
			"http2: Transport received GOAWAY from server ErrCode", // for a stream that it does not process
			"http2: Transport: cannot retry err",                   // it was not processed, and net/http had no GetBody
		} {
			if strings.HasPrefix(text, known) {
				return true
			}
		}
		// RST_STREAM from the peer in place of an answer (RFC 9113, section 6.4).
		if strings.HasPrefix(text, "stream error: stream ID") && strings.HasSuffix(text, "received from peer") {
			return true
		}
	}
	return false
}
