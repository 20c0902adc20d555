package redact

import (
	"slices"
	"strings"
)

const (
	// Mark is what stands in place of a secret.
	Mark = "[redacted]"
	// Withheld is what stands in place of a text that holds a secret in a form
	// that cannot be cut out of it.
	Withheld = "[redacted: the text held the credential in an encoded form]"

	// shortSecret is the length below which a secret is replaced only where
	// it stands as a word of its own: "abc" inside a message is more often a
	// part of another word, and replacing it would spoil the message.
	shortSecret = 8
	// mostSlashes bounds the backslashes before one byte: JSON in JSON in JSON
	// has seven. Without it a body of backslashes takes quadratic time.
	mostSlashes = 8
)

// Text returns text without the secrets; an empty one is none. A secret of
// fewer than eight bytes is looked for only as a word of its own, and not in
// encoded forms.
//
// With cut, text is the beginning of a longer one, and an end that could be
// the beginning of a secret is taken out, too.
//
// It returns text itself, and allocates nothing, where there is nothing to take
// out of a text of usual length.
func Text(text string, cut bool, secrets ...string) string {
	for i := range secrets {
		if i > 0 && len(secrets[i]) > len(secrets[i-1]) {
			// One that is a part of another must not be replaced in it: the rest
			// of the other would stay.
			secrets = longestFirst(secrets)
			break
		}
	}
	for _, secret := range secrets {
		text = replace(text, secret, cut)
	}
	for _, secret := range secrets {
		if holds(text, secret, cut) {
			return Withheld
		}
	}
	return text
}

func longestFirst(secrets []string) []string {
	sorted := slices.Clone(secrets)
	slices.SortFunc(sorted, func(a, b string) int { return len(b) - len(a) })
	return sorted
}

// replace puts Mark in place of the secret: as it is, with any of its bytes
// escaped as in JSON (\" \/ \u002B) or in a URL (%2B), and base64 encoded (both
// alphabets, alone or inside a longer text).
func replace(text, secret string, cut bool) string {
	if secret == "" || text == "" || !cut && len(text) < len(secret) {
		return text // no form is shorter than the secret
	}
	var out strings.Builder
	var next [4]span // of each form; looked for again only when passed
	done := 0
	for from := 0; from < len(text); from = done {
		first := span{start: -1}
		for form := range next {
			if s := &next[form]; from == 0 || s.start >= 0 && s.start < from {
				s.start, s.end = findForm(form, text, secret, from, cut)
			}
			if s := next[form]; s.start >= 0 && (first.start < 0 || s.start < first.start) {
				first = s
			}
		}
		if first.start < 0 {
			break
		}
		out.WriteString(text[done:first.start])
		out.WriteString(Mark)
		done = first.end
	}
	if done == 0 {
		return text
	}
	out.WriteString(text[done:])
	return out.String()
}

type span struct{ start, end int }

// findForm returns where the secret, in this form, first begins and ends at or
// after from, or -1.
func findForm(form int, text, secret string, from int, cut bool) (start, end int) {
	switch form {
	case 0:
		return findPlain(text, secret, from)
	case 1:
		return findEscaped(text, secret, from, cut, '\\')
	case 2:
		return findEscaped(text, secret, from, cut, '%')
	default:
		return findBase64(text, secret, from, cut)
	}
}

func findPlain(text, secret string, from int) (start, end int) {
	for from < len(text) {
		i := strings.Index(text[from:], secret)
		if i < 0 {
			return -1, -1
		}
		start, end = from+i, from+i+len(secret)
		if len(secret) >= shortSecret || wholeWord(text, start, end) {
			return start, end
		}
		from = start + 1
	}
	return -1, -1
}

// findEscaped looks for the secret with some of its bytes escaped by esc, and
// with cut also for a beginning of it at the end of text.
func findEscaped(text, secret string, from int, cut bool, esc byte) (start, end int) {
	if strings.IndexByte(text[from:], esc) < 0 {
		if !cut {
			return -1, -1
		}
		from = max(from, len(text)-len(secret)) // only the end can match
	}
	for i := from; i < len(text); i++ {
		if c := text[i]; c != secret[0] && c != esc {
			continue
		}
		n, whole := matchEscaped(text[i:], secret, esc)
		switch {
		case n == 0, !whole && !cut:
		case whole && len(secret) < shortSecret && !wholeWord(text, i, i+n):
		default:
			return i, i + n
		}
	}
	return -1, -1
}

// matchEscaped compares the beginning of text with the secret. It returns how
// much of text matched; whole is false when text ended first.
func matchEscaped(text, secret string, esc byte) (n int, whole bool) {
	for i := range len(secret) {
		if n == len(text) {
			return n, false
		}
		if text[n] == secret[i] && text[n] != esc {
			n++
			continue
		}
		if text[n] != esc {
			return 0, false
		}
		size, fits := matchEscape(text[n:], secret[i])
		if n += size; n == len(text) && !fits {
			return n, false
		}
		if !fits {
			return 0, false
		}
	}
	return n, true
}

// matchEscape reports whether text begins with an escape of c, and how long it
// is. If it does not because text ends first, n is len(text). JSON inside JSON
// and a URL inside a URL are escaped twice.
func matchEscape(text string, c byte) (n int, fits bool) {
	digits := 2
	n = 1
	if text[0] == '%' {
		for c != '%' && strings.HasPrefix(text[n:], "25") {
			n += 2
		}
	} else {
		for c != '\\' && n < min(len(text), mostSlashes) && text[n] == '\\' {
			n++
		}
		switch {
		case n == len(text):
			return n, false
		case text[n] == c && c != 'u':
			return n + 1, true
		case text[n] != 'u':
			return 0, false
		}
		n++
		digits = 4
	}
	value := 0
	for range digits {
		if n == len(text) {
			return n, false
		}
		d := strings.IndexByte("0123456789abcdef", text[n]|0x20)
		if d < 0 {
			return 0, false
		}
		value = value<<4 | d
		n++
	}
	if value != int(c) {
		return 0, false
	}
	return n, true
}

func wholeWord(text string, start, end int) bool {
	return (start == 0 || !wordByte(text[start-1])) && (end == len(text) || !wordByte(text[end]))
}

func wordByte(c byte) bool { return base64Digit(c) < 64 && c != '+' && c != '/' }

// findBase64 looks for the secret in base64 text (RFC 4648, sections 4 and
// 5). The same bytes encode in three ways, after where they stand in the
// encoded text; the digits at either end that they share with others are
// left out.
func findBase64(text, secret string, from int, cut bool) (start, end int) {
	least := (len(secret)*8 - 4) / 6 // digits that the secret has for itself
	if len(secret) < shortSecret || !cut && len(text)-from < least {
		return -1, -1
	}
	for i := from; i < len(text); {
		if base64Digit(text[i]) > 63 {
			i++
			continue
		}
		run := i + 1
		for run < len(text) && base64Digit(text[run]) < 64 {
			run++
		}
		atCut := cut && run == len(text)
		for ; i < run && (run-i >= least || atCut); i++ {
			if n := matchBase64(text[i:run], secret, atCut); n > 0 {
				return i, i + n
			}
		}
		i = run
	}
	return -1, -1
}

// matchBase64 returns how many digits at the beginning of text encode the
// secret, or 0. With partial, all of text may be a beginning of them.
func matchBase64(text, secret string, partial bool) int {
	for shift := range 3 { // bytes of others in the first group
		first := (shift*8 + 5) / 6
		last := (shift*8 + len(secret)*8) / 6
		n := 0
		for n < last-first && n < len(text) && base64Digit(text[n]) == sextet(secret, (first+n)*6-shift*8) {
			n++
		}
		if n == last-first || partial && n == len(text) {
			return n
		}
	}
	return 0
}

// sextet returns the six bits of s that begin at bit.
func sextet(s string, bit int) byte {
	two := uint16(s[bit/8]) << 8
	if bit/8+1 < len(s) {
		two |= uint16(s[bit/8+1])
	}
	return byte(two >> (10 - bit%8) & 63)
}

// base64Digit returns the value of a digit of either alphabet, or 64.
func base64Digit(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c - 'A'
	case c >= 'a' && c <= 'z':
		return c - 'a' + 26
	case c >= '0' && c <= '9':
		return c - '0' + 52
	case c == '+' || c == '-':
		return 62
	case c == '/' || c == '_':
		return 63
	default:
		return 64
	}
}
