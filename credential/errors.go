package credential

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

var (
	// ErrUnavailable says that a source is not configured in this
	// environment. A [Chain] tries the next source; alone, it is final.
	ErrUnavailable = errors.New("credential: source unavailable")

	// ErrRejected says that the service refused every credential that the
	// source has, now and within the grace. A caller shows the service's own
	// answer; the fix is to publish a valid credential.
	ErrRejected = errors.New("credential: rejected by the service")

	// ErrNotFound says that the store answered and has no such secret,
	// version or field. The fix is in the configuration or in the store.
	ErrNotFound = errors.New("credential: not found")

	errNilSource = errors.New("nil source")
)

// A SourceError tells which source failed, at what, and what to do about it.
// Neither it nor anything that it wraps may hold the secret or a body.
type SourceError struct {
	// Source names the source, for example "awssecretsmanager".
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

// bare is the text of err without the prefix of this package, to go into a
// longer text that has it already.
func bare(err error) string { return strings.TrimPrefix(err.Error(), errPrefix) }

// A joined error shows a text of its own and wraps others.
type joined struct {
	text string
	errs []error
}

func (e *joined) Error() string   { return e.text }
func (e *joined) Unwrap() []error { return e.errs }

// permanent reports whether trying the same read again cannot help. An error
// that nobody classified counts as transient: stale values are bounded anyway,
// and a custom source rarely says what its errors mean.
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
