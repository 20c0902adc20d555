// Package wraperr wraps errors without hiding that they are timeouts. The
// callers of net/http ask an error itself, not what it wraps, whether it has a
// Timeout method: url.Error, os.IsTimeout and assertions to net.Error do.
package wraperr

import (
	"context"
	"errors"
)

// New returns an error that says text and wraps errs.
func New(text string, errs ...error) error {
	return &wrapped{text: text, errs: errs}
}

// Context returns err as the error of something that ran until ctx ended:
// errors.Is finds ctx.Err and context.Cause beside what err wraps. If ctx has
// not ended, or err says all that already, it is err itself.
func Context(ctx context.Context, err error) error {
	ended := ctx.Err()
	if ended == nil || err == nil {
		return err
	}
	cause := context.Cause(ctx)
	if errors.Is(err, ended) && errors.Is(err, cause) {
		return err
	}
	return &wrapped{text: err.Error(), errs: []error{err, ended, cause}}
}

type wrapped struct {
	text string
	errs []error
}

func (e *wrapped) Error() string   { return e.text }
func (e *wrapped) Unwrap() []error { return e.errs }

// Timeout reports whether one of the wrapped errors is a timeout.
func (e *wrapped) Timeout() bool { return IsTimeout(e) }

// Temporary completes net.Error, which net/http's own errors are.
func (e *wrapped) Temporary() bool { return IsTimeout(e) }

// IsTimeout reports whether err wraps an error that says so of itself.
func IsTimeout(err error) bool {
	if err == nil {
		return false
	}
	if _, own := err.(*wrapped); !own { //nolint:errorlint // this walks the tree itself
		if t, ok := err.(interface{ Timeout() bool }); ok && t.Timeout() {
			return true
		}
	}
	switch u := err.(type) { //nolint:errorlint // the same
	case interface{ Unwrap() error }:
		return IsTimeout(u.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range u.Unwrap() {
			if IsTimeout(inner) {
				return true
			}
		}
	}
	return false
}
