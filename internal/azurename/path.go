package azurename

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxEscapes bounds how often a path is unescaped to find what it hides.
const maxEscapes = 8

// CheckPath refuses an escaped path that a server or a proxy may take for
// another one: an id from outside must not lead out of the API. Some take %252e
// for a dot, and some cut a segment at a semicolon.
func CheckPath(escaped string) error {
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return errors.New("malformed escape; use url.PathEscape")
	}
	for range maxEscapes {
		if err := checkPlain(plain); err != nil {
			return err
		}
		next := unescape(plain)
		if next == plain {
			return nil
		}
		plain = next
	}
	return errors.New("is escaped too often; use url.PathEscape once")
}

// unescape leaves alone what is no escape, as some servers do.
func unescape(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if plain, err := url.PathUnescape(path[i : i+3]); err == nil {
				b.WriteString(plain)
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

func checkPlain(path string) error {
	if !utf8.ValidString(path) {
		return errors.New("holds bytes that are no UTF-8; use url.PathEscape for ids, and no others")
	}
	for i := range len(path) {
		if c := path[i]; c < ' ' || c == 0x7f || c == '\\' {
			return errors.New("holds a control character or a backslash; use url.PathEscape for ids, and no others")
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		if segment = strings.Trim(segment, " "); segment == "." || segment == ".." {
			return errors.New("holds a dot segment")
		}
	}
	return nil
}

// LooksLikeKey reports whether text begins as a key or a token does.
func LooksLikeKey(text string) bool {
	for _, prefix := range [...]string{
		"sk-", "sk_", "sk%2d", "gsk_", "csk-", "xai-", "pplx-", "nvapi-", "hf_", "r8_", "ghp_", "gho_", "github_pat_", "AIza", "AKIA", "ASIA", "eyJ", "hvs.", "Bearer ",
	} {
		if len(text) >= len(prefix)+5 && strings.EqualFold(text[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// Shown returns a path as it may be printed: a segment that could be a key is
// left out.
func Shown(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if LooksLikeKey(s) || opaque(s) {
			segments[i] = "..."
		}
	}
	return strings.Join(segments, "/")
}

// opaque reports whether a segment is long and of letters and digits at random,
// as far as that can be told: names have fewer digits.
func opaque(segment string) bool {
	letters, digits := 0, 0
	for i := range len(segment) {
		switch c := segment[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			letters++
		}
	}
	return len(segment) >= 20 && digits >= 4 && letters >= 4
}
