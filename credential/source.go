package credential

import (
	"context"
	"fmt"
)

// A Source supplies a credential on demand.
//
// Retrieve returns the credential that is current now. It must be safe for
// concurrent use and must honor ctx. It returns an error wrapping
// [ErrUnavailable] if the source is not configured in this environment, which
// lets a [Chain] try the next one; every other error is final. A Source does
// not cache: that is the work of the one [Cache] around it.
type Source interface {
	Retrieve(ctx context.Context) (Value, error)
}

// SourceFunc makes a [Source] of a function. A nil SourceFunc is a Source
// whose Retrieve fails.
type SourceFunc func(ctx context.Context) (Value, error)

// Retrieve calls f.
func (f SourceFunc) Retrieve(ctx context.Context) (Value, error) {
	if f == nil {
		return Value{}, &SourceError{Source: "func", Op: "retrieve", Err: errNilSource, Hint: "pass a function"}
	}
	return f(ctx)
}

// A Renewer is a [Source] that can do better than Retrieve after a service
// has rejected its value: pass on a claims challenge, bypass an upstream
// cache, log in again. The [Cache] calls Renew on the very source that gave
// the value. The rules of Retrieve hold for Renew. A Renewer that can only
// get the same value again returns it; the Cache notices.
type Renewer interface {
	Source
	Renew(ctx context.Context, r Rejection) (Value, error)
}

// A Rejection tells that a service refused a credential.
type Rejection struct {
	// Value is the value that was sent, as the Cache returned it.
	Value Value
	// StatusCode is the HTTP status of the refusal, usually 401.
	StatusCode int
	// Challenge is the WWW-Authenticate header of the refusal (RFC 9110,
	// section 11.6.1), which may carry the claims of a continuous access
	// evaluation challenge. It may be empty.
	Challenge string
}

// sourceName names src in errors and events without asking it for a value. A
// String method that panics, on a nil pointer say, must not fail a call.
func sourceName(src Source) (name string) {
	if src == nil {
		return "nil"
	}
	defer func() {
		if recover() != nil {
			name = fmt.Sprintf("%T", src)
		}
	}()
	if s, ok := src.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", src)
}
