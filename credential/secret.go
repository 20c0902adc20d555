package credential

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const (
	redacted     = "[redacted]"
	bearerPrefix = "Bearer "
)

// A Secret is a string that nothing prints by accident: fmt, slog,
// encoding/json, encoding/xml, templates, errors and panics show "[redacted]",
// even if the Secret is in an unexported field. The text is in a closure: fmt,
// go-cmp and spew can read any other value through reflection, but not that.
//
// The zero Secret is empty. A Secret is immutable and safe for concurrent use.
// It cannot be compared with ==; use [Secret.Equal]. Its memory is not erased.
type Secret struct {
	// header returns the text after bearerPrefix, so that Reveal and Bearer
	// need no allocation.
	header func() string
}

// NewSecret returns a Secret that holds text.
func NewSecret(text string) Secret {
	header := bearerPrefix + text
	return Secret{header: func() string { return header }}
}

// Reveal returns the text. To audit the uses of secrets, search for the callers
// of Reveal and [Secret.Bearer].
func (s Secret) Reveal() string {
	if s.header == nil {
		return ""
	}
	return s.header()[len(bearerPrefix):]
}

// Bearer returns "Bearer " and the text: the value of the Authorization
// header (RFC 6750, section 2.1). It does not allocate. The zero Secret
// returns the empty string.
func (s Secret) Bearer() string {
	if s.header == nil {
		return ""
	}
	return s.header()
}

// IsZero reports whether s holds no text.
func (s Secret) IsZero() bool { return len(s.Reveal()) == 0 }

// Equal reports whether s and t hold the same text. The time that it takes
// depends on their lengths only.
func (s Secret) Equal(t Secret) bool {
	a, b := sha256.Sum256([]byte(s.Reveal())), sha256.Sum256([]byte(t.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Format writes "[redacted]" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
