package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strconv"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// errorType returns error.type: empty for success, the status of an answer, or one
// of a few words. Texts of errors are never exported.
func errorType(status int, err error) string {
	switch {
	case err != nil:
		return errorWord(err, status != 0)
	case status >= 100 && status < 400 || status == 0:
		return ""
	case status < 600:
		return strconv.Itoa(status)
	}
	return errorOther
}

// errorWord returns the word for an error, of the send itself or of what was read
// from the answer.
func errorWord(err error, answered bool) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case ofLimit(err):
		return "limit"
	case errors.Is(err, middleware.ErrOrigin):
		return "origin"
	case ofCredential(err):
		return "credential"
	case isTimeout(err):
		return "timeout"
	case errors.Is(err, middleware.ErrNotStream), answered && errors.Is(err, io.ErrUnexpectedEOF):
		return "stream"
	case ofConnection(err):
		return "connection"
	}
	return errorOther
}

func ofLimit(err error) bool {
	var refusal *limit.Error
	return errors.As(err, &refusal) || errors.Is(err, limit.ErrPrice) || errors.Is(err, limit.ErrCounter)
}

func ofCredential(err error) bool {
	var (
		source *credential.SourceError
		chain  *credential.ChainError
	)
	return errors.As(err, &source) || errors.As(err, &chain) || errors.Is(err, credential.ErrRejected) ||
		errors.Is(err, credential.ErrUnavailable) || errors.Is(err, credential.ErrNotFound)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func ofConnection(err error) bool {
	var (
		netErr  net.Error
		op      *net.OpError
		unknown x509.UnknownAuthorityError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &netErr) || errors.As(err, &op) ||
		errors.As(err, &unknown) || errors.As(err, &cert) || errors.As(err, &record)
}
