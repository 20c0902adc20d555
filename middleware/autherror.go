package middleware

import (
	"net/http"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/wraperr"
)

// A credentialError is an error of the provider. Its type tells Retry that
// nothing was sent: a source's error may look like one of the connection.
type credentialError struct {
	error

	nobody bool // the call names no tenant, and the provider has one for each
}

func (e *credentialError) Unwrap() error { return e.error }

// Timeout reports whether the call's time ended while it waited for the credential.
func (e *credentialError) Timeout() bool { return wraperr.IsTimeout(e.error) }

// nobody reports whether the call names no tenant where each has a credential.
func (a *auth) nobody(req *http.Request) bool {
	_, each := a.provider.(*credential.Tenants)
	return each && credential.TenantFrom(req.Context()) == ""
}

// A begunError is a timeout after the first bytes of the answer had come. Its
// type tells Retry that the request was carried out.
type begunError struct{ error }

func (e *begunError) Unwrap() error { return e.error }

// Timeout is true, as of what it wraps.
func (e *begunError) Timeout() bool { return true }
