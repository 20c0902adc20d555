package credential

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

var (
	// ErrUnavailable means that a source is not configured in this environment.
	// A [Chain] then tries the next source.
	ErrUnavailable = errors.New("credential: source unavailable")

	// ErrRejected means that the service refused every credential that the
	// source has and had within the grace. Show the user the service's own
	// answer. The fix is to publish a valid credential.
	ErrRejected = errors.New("credential: rejected by the service")

	// ErrNotFound means that the store has answered, and has no such secret,
	// version or field. The fix is in the configuration or in the store.
	ErrNotFound = errors.New("credential: not found")

	errNilSource = errors.New("nil source")
	errZeroCache = errors.New("credential: the zero Cache has no source; make one with NewCache")
	errNoValue   = errors.New("credential: replace: the rejection holds no value; pass the one that was sent")
)

// A SourceError tells which source failed, what it tried, and what to do about
// it. It must not hold the secret or the body of an answer, and the error that it
// wraps must not either.
type SourceError struct {
	// Source is the name of the source, for example
	// "awssecretsmanager:prod/openai". If it is only the part before the colon,
	// a [Cache] completes it.
	Source string
	// Op says what was tried, for example `read "prod/openai"`.
	Op string
	// Err is the cause.
	Err error
	// Hint says what to do about it; it may be empty.
	Hint string
	// Transient tells that the same read may succeed a little later (an
	// outage, a timeout, throttling). A [Cache] then goes on with the last
	// good value for a bounded time.
	Transient bool
	// Guess tells that Err wraps [ErrUnavailable] because nothing answered in
	// time, and not because nothing is configured. A [Chain] under a [Cache]
	// goes on to the next source, and asks this one again at each refresh.
	Guess bool
}

// Error returns the source, what was tried, the cause and the hint on one line.
func (e *SourceError) Error() string {
	var b strings.Builder
	b.WriteString("credential: ")
	b.WriteString(e.Source)
	if e.Op != "" {
		b.WriteString(": " + e.Op)
	}
	if e.Err != nil {
		b.WriteString(": " + bare(e.Err))
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// A ChainError tells why no source of a [Chain] was available: every attempt,
// in order.
type ChainError struct {
	// Errors holds one error for each source, each wrapping ErrUnavailable.
	Errors []error
}

// Error lists every attempt on a line of its own; a single one stands alone.
func (e *ChainError) Error() string {
	switch len(e.Errors) {
	case 0:
		return "credential: the chain is empty"
	case 1:
		return e.Errors[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "credential: none of %d sources is available:", len(e.Errors))
	for i, err := range e.Errors {
		// A chain in a chain is indented below its line.
		fmt.Fprintf(&b, "\n\t%d. %s", i+1, strings.ReplaceAll(bare(err), "\n", "\n\t"))
	}
	return b.String()
}

// Unwrap returns the attempts.
func (e *ChainError) Unwrap() []error { return e.Errors }

const errPrefix = "credential: "

// bare is the text of err without the prefix of this package. It is for a
// longer text that has the prefix already.
func bare(err error) string { return strings.TrimPrefix(err.Error(), errPrefix) }

// A joined error has a text of its own and wraps others.
type joined struct {
	text string
	errs []error
}

func (e *joined) Error() string   { return e.text }
func (e *joined) Unwrap() []error { return e.errs }

// permanent reports whether it cannot help to try the same read again. An error
// that nobody has classified can be tried again, because the sources of users
// rarely say what their errors mean.
func permanent(err error) bool {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) {
		return true
	}
	if netErr := (net.Error)(nil); errors.As(err, &netErr) && netErr.Timeout() {
		return false
	}
	if se := (*SourceError)(nil); errors.As(err, &se) {
		return !se.Transient
	}
	return false
}

// tooNear is why Replace has not waited for another credential.
func tooNear() error {
	return &joined{"the deadline is too near to wait for a new one", []error{context.DeadlineExceeded}}
}

// rejectedError says that the service refused all that the source has. Err is
// why the source gave nothing else; nil if it gave the same again.
func (c *Cache) rejectedError(err error) error {
	if err == nil {
		return fmt.Errorf("%w: %s has no other value; publish a valid one", ErrRejected, c.name)
	}
	return &joined{fmt.Sprintf("%v: %s gave no other value: %s", ErrRejected, c.name, bare(err)), []error{ErrRejected, err}}
}
