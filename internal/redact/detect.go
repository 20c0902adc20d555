package redact

import (
	"bytes"
	"strings"
)

const (
	// maxDepth is how many encodings into letters and digits, such as base64 and
	// hexadecimal, are taken off.
	maxDepth = 3
	// maxLayers is how many layers of escapes are taken off before and after each
	// of them. JSON in a URL in a page in JSON has four.
	maxLayers = 6
	// shortestTail is how much of a secret at the cut end of a text counts.
	shortestTail = 4
	// usualRun is the least number of digits in a row that are decoded, unless the
	// secret is so short that base64 makes fewer of it.
	usualRun = 16
	// workPerByte bounds the work for a text. Usual texts take less than 30.
	workPerByte = 256
)

// holds reports whether text holds the secret in a form that can be decoded,
// and also if that cannot be found out within the bounds of the work.
func holds(text, secret string, cut bool) bool {
	if len(secret) < shortSecret || !suspicious(text, secret, cut) {
		return false
	}
	d := newDetector(text, secret, cut)
	return d.visit([]byte(text), maxDepth)
}

// A detector looks for one secret in a text, and in what the text decodes to.
type detector struct {
	needles []string // the secret in lower case, and without what looks like escapes in it
	least   int      // the length of the shortest
	run     int      // the least number of digits in a row that are decoded
	cut     bool
	work    int // bytes that may still be looked at
}

func newDetector(text, secret string, cut bool) *detector {
	plain := []byte(secret)
	d := &detector{needles: []string{strings.ToLower(secret)}, least: len(secret), cut: cut, work: workPerByte * (len(text) + len(secret))}
	for range maxLayers {
		next, changed := unescape(plain, false)
		if !changed {
			break
		}
		plain = next
		if bare := squeezed(plain); len(bare) >= shortSecret {
			d.needles = append(d.needles, strings.ToLower(string(bare)))
			d.least = min(d.least, len(bare))
		}
	}
	d.run = min(usualRun, (4*d.least+2)/3) // what base64 makes of the shortest
	return d
}

// visit looks at text, at what is under its escapes, and at what its letters
// and digits encode.
func (d *detector) visit(text []byte, depth int) bool {
	if d.found(text) || depth > 0 && d.decoded(text, depth) {
		return true
	}
	// An equals sign is an escape in quoted-printable alone: in k=CAFE it is none.
	return d.layers(text, depth, false) || bytes.IndexByte(text, '=') >= 0 && d.layers(text, depth, true)
}

// layers takes layers of escapes off and looks at each.
func (d *detector) layers(text []byte, depth int, equals bool) bool {
	last, changed := text, false
	for range maxLayers {
		d.work -= len(last)
		next, more := unescape(last, equals)
		if !more {
			break
		}
		if last, changed = next, true; d.found(last) {
			return true
		}
	}
	return changed && depth > 0 && d.decoded(last, depth)
}

// decoded visits what text is if it is hexadecimal, a list of numbers, base64
// or base32.
func (d *detector) decoded(text []byte, depth int) bool {
	for offset := range 2 {
		if d.visitDecoded(fromHex(text, offset), len(text), depth) {
			return true
		}
	}
	if d.visitDecoded(fromNumbers(text), len(text), depth) {
		return true
	}
	dense := squeezed(text)
	d.work -= 2 * len(dense)
	long := rows(dense, d.run, 64, base64Digit)
	for offset := range 4 {
		if d.visitDecoded(fromDigits(long, offset, 6, base64Digit), len(dense), depth) {
			return true
		}
	}
	long = rows(dense, d.run, 32, base32Digit)
	for offset := range 8 {
		if d.visitDecoded(fromDigits(long, offset, 5, base32Digit), len(dense), depth) {
			return true
		}
	}
	return d.work < 0
}

func (d *detector) visitDecoded(text []byte, cost, depth int) bool {
	d.work -= cost
	if d.work < 0 {
		return true
	}
	text = texts(text)
	if len(text) < d.least && !(d.cut && len(text) >= shortestTail) {
		return false
	}
	return d.visit(text, depth-1)
}

// found looks for the secret in any case. What cannot be printed is passed
// over: the zeros of UTF-16, the ends of lines of a text that was wrapped.
func (d *detector) found(text []byte) bool {
	for _, needle := range d.needles {
		for i := 0; i < len(text) && d.work >= 0; i++ {
			d.work--
			if lower(text[i]) != needle[0] {
				continue
			}
			matched, at := 1, i+1
			for ; at < len(text) && matched < len(needle); at++ {
				d.work--
				if c := lower(text[at]); c == needle[matched] {
					matched++
				} else if visible(c) {
					break
				}
			}
			if matched == len(needle) || d.cut && matched >= shortestTail && atEnd(text[at:]) {
				return true
			}
		}
	}
	return d.work < 0
}

// atEnd reports whether no more than the beginning of an escape is left.
func atEnd(rest []byte) bool {
	return len(rest) == 0 || len(rest) < 16 && strings.IndexByte(`\%&=`, rest[0]) >= 0
}

// suspicious reports whether text may hold the secret in any form, at a cost
// that the header of each answer can bear, and without an allocation. What it
// passes over is shorter than the secret, or cannot hold it for want of escapes
// and of long rows of digits.
func suspicious(text, secret string, cut bool) bool {
	if cut {
		return true
	}
	if len(text) < len(secret) {
		return false
	}
	seen, escapes, run, longest, hexes := 0, 0, 0, 0, 0
	for i := range len(text) {
		c := text[i]
		if !visible(c) {
			continue
		}
		seen++
		if base64Digit(c) < 64 {
			run++
			longest = max(longest, run)
			if hexDigit(c) < 16 {
				hexes++
			}
			continue
		}
		if c == '%' || c == '&' || c == '\\' || c == '=' {
			escapes++ // the row may go on behind it
		} else {
			run = 0
		}
	}
	switch {
	case seen < len(secret):
		return false
	case longest >= len(secret)*4/3-3, hexes >= 2*len(secret), escapes > 4:
		return true
	}
	// All of the secret but escapes bytes must stand there as it is, in at most
	// escapes+1 parts. One of its blocks of half such a part does, then.
	size := max(1, (len(secret)-escapes)/(2*(escapes+1)))
	if escapes == 0 {
		size = len(secret)
	}
	for from := 0; from+size <= len(secret); from += size {
		if containsSpaced(text, secret[from:from+size]) {
			return true
		}
	}
	return false
}

// containsSpaced looks for part in any case, and with what cannot be printed
// between its bytes.
func containsSpaced(text, part string) bool {
	for i := range len(text) {
		if lower(text[i]) != lower(part[0]) {
			continue
		}
		matched := 1
		for at := i + 1; at < len(text) && matched < len(part); at++ {
			if c := lower(text[at]); c == lower(part[matched]) {
				matched++
			} else if visible(c) {
				break
			}
		}
		if matched == len(part) {
			return true
		}
	}
	return false
}

// visible reports whether c can be a part of a credential.
func visible(c byte) bool { return c > ' ' && c <= '~' }

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// squeezed drops what cannot be a part of a credential.
func squeezed(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		if visible(c) {
			out = append(out, c)
		}
	}
	return out
}
