package credential

import (
	"context"
	"fmt"
)

// A Source supplies a credential on demand.
//
// Retrieve returns the credential that is current now. It must be safe for
// concurrent use and must return when ctx is done. If the source is not
// configured in this environment, the error wraps [ErrUnavailable], and a
// [Chain] tries the next source; every other error is final. A Source does not
// cache, because the one [Cache] around it does.
//
// A Source that decorates another one, to measure it for example, should have
// a method
//
//	Unwrap() credential.Source
//
// so that a Cache finds what the other one can do: to renew (see [Renewer]), and
// to name a standby (see [Standby]).
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

// A Renewer is a [Source] that can do better than Retrieve after a service has
// rejected its value: pass on a claims challenge, bypass a cache on the way, or
// log in again. A [Cache] calls Renew of the source that gave the value. The
// rules of Retrieve hold for Renew, too. A Renewer that can only get the same
// value again returns it; the Cache notices.
type Renewer interface {
	Source
	Renew(ctx context.Context, r Rejection) (Value, error)
}

// A Rejection is the report that a service refused a credential.
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

// sourceName is the name of src in errors and events: what its String method
// returns, or its type. A method that panics must not fail a call.
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
