package redact

import (
	"unicode/utf8"
)

// unescape takes one layer of escapes off: those of URLs (%2B, %u002B), of JSON
// and programming languages (\u002B, \x2b, \053, \/), of HTML (&#43; &#x2b;
// &plus;), and with equals those of quoted-printable (=2B).
func unescape(text []byte, equals bool) (out []byte, changed bool) {
	for i := 0; i < len(text); {
		n, c := 0, rune(0)
		switch text[i] {
		case '%':
			n, c = percent(text[i:])
		case '\\':
			n, c = backslash(text[i:])
		case '&':
			n, c = reference(text[i:])
		case '=':
			if equals {
				n, c = quotedPrintable(text[i:])
			}
		}
		if n == 0 {
			if changed {
				out = append(out, text[i])
			}
			i++
			continue
		}
		if !changed {
			changed = true
			out = append(make([]byte, 0, len(text)), text[:i]...)
		}
		switch {
		case c < 0: // nothing
		case c < 0x100:
			out = append(out, byte(c))
		default:
			out = utf8.AppendRune(out, c)
		}
		i += n
	}
	if !changed {
		return text, false
	}
	return out, true
}

// percent returns the length of the escape that text begins with, and what it
// stands for; 0 if it is none.
func percent(text []byte) (n int, c rune) {
	if len(text) > 1 && (text[1] == 'u' || text[1] == 'U') {
		if c, ok := number(text[2:], 4, 16); ok {
			return 6, c
		}
		return 0, 0
	}
	if c, ok := number(text[1:], 2, 16); ok {
		return 3, c
	}
	return 0, 0
}

func backslash(text []byte) (n int, c rune) {
	if len(text) < 2 {
		return 0, 0
	}
	switch text[1] {
	case 'u', 'x', 'U':
		if len(text) > 2 && text[2] == '{' {
			return braced(text)
		}
		for _, size := range [...]struct {
			letter byte
			digits int
		}{{'u', 4}, {'x', 2}, {'U', 8}} {
			if c, ok := number(text[2:], size.digits, 16); ok && text[1] == size.letter {
				return 2 + size.digits, c
			}
		}
		return 0, 0
	case 'n':
		return 2, '\n'
	case 'r':
		return 2, '\r'
	case '\r', '\n', 't', 'f', 'v', 'a':
		return 2, ' '
	}
	for digits := 3; digits > 0; digits-- {
		if c, ok := number(text[1:], digits, 8); ok {
			return 1 + digits, c & 0xff
		}
	}
	return 2, rune(text[1])
}

// braced reads \u{2b}, of JavaScript and Rust.
func braced(text []byte) (n int, c rune) {
	for digits := 1; digits <= 6; digits++ {
		if end := 3 + digits; end < len(text) && text[end] == '}' {
			if c, ok := number(text[3:], digits, 16); ok {
				return end + 1, c
			}
		}
	}
	return 0, 0
}

// reference reads a character reference of HTML or XML.
func reference(text []byte) (n int, c rune) {
	const longest = 16
	if len(text) > 2 && text[1] == '#' {
		base, digits := 10, 2
		if text[2]|0x20 == 'x' {
			base, digits = 16, 3
		}
		end := digits
		for end < len(text) && end < longest && int(hexDigit(text[end])) < base {
			end++
		}
		if end > digits {
			if c, ok := number(text[digits:], end-digits, base); ok {
				if end < len(text) && text[end] == ';' {
					end++
				}
				return end, c
			}
		}
		return 0, 0
	}
	for end := 2; end < len(text) && end < longest; end++ {
		switch d := text[end]; {
		case d == ';':
			if c := namedASCII(string(text[1:end])); c != 0 {
				return end + 1, c
			}
			return 0, 0
		case !(d >= 'a' && d <= 'z' || d >= 'A' && d <= 'Z' || d >= '0' && d <= '9'):
			return 0, 0
		}
	}
	return 0, 0
}

// namedASCII returns the printable ASCII character that HTML has under a name,
// or 0 (https://html.spec.whatwg.org/multipage/named-characters.html). A secret
// holds no other. Package html knows all 2,231 names, for 300 KB in every program.
func namedASCII(name string) rune {
	switch name {
	case "excl":
		return '!'
	case "quot", "QUOT":
		return '"'
	case "num":
		return '#'
	case "dollar":
		return '$'
	case "percnt":
		return '%'
	case "amp", "AMP":
		return '&'
	case "apos":
		return '\''
	case "lpar":
		return '('
	case "rpar":
		return ')'
	case "ast", "midast":
		return '*'
	case "plus":
		return '+'
	case "comma":
		return ','
	case "period":
		return '.'
	case "sol":
		return '/'
	case "colon":
		return ':'
	case "semi":
		return ';'
	case "lt", "LT":
		return '<'
	case "equals":
		return '='
	case "gt", "GT":
		return '>'
	}
	return namedRest(name)
}

func namedRest(name string) rune {
	switch name {
	case "quest":
		return '?'
	case "commat":
		return '@'
	case "lsqb", "lbrack":
		return '['
	case "bsol":
		return '\\'
	case "rsqb", "rbrack":
		return ']'
	case "Hat":
		return '^'
	case "lowbar", "UnderBar":
		return '_'
	case "grave", "DiacriticalGrave":
		return '`'
	case "lcub", "lbrace":
		return '{'
	case "verbar", "vert", "VerticalLine":
		return '|'
	case "rcub", "rbrace":
		return '}'
	}
	return 0
}

func quotedPrintable(text []byte) (n int, c rune) {
	switch {
	case len(text) > 1 && text[1] == '\n':
		return 2, -1
	case len(text) > 2 && text[1] == '\r' && text[2] == '\n':
		return 3, -1
	}
	if c, ok := number(text[1:], 2, 16); ok {
		return 3, c
	}
	return 0, 0
}

// number reads that many digits.
func number(text []byte, digits, base int) (c rune, ok bool) {
	if len(text) < digits || digits > 9 {
		return 0, false
	}
	for _, d := range text[:digits] {
		v := int(hexDigit(d))
		if v >= base {
			return 0, false
		}
		c = c*rune(base) + rune(v)
		if c > utf8.MaxRune {
			return 0, false
		}
	}
	return c, true
}

// hexDigit returns the value of a digit, or 16.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// fromHex reads pairs of hexadecimal digits, whatever is between them: "736b",
// "73:6b", "0x73, 0x6b". Of each row of digits it leaves out the first offset.
func fromHex(text []byte, offset int) (out []byte) {
	for i := 0; i < len(text); {
		if hexDigit(text[i]) > 15 {
			i++
			continue
		}
		if text[i] == '0' && i+1 < len(text) && text[i+1]|0x20 == 'x' {
			i += 2
			continue
		}
		end := i
		for end < len(text) && hexDigit(text[end]) < 16 && !(text[end] == '0' && end+1 < len(text) && text[end+1]|0x20 == 'x') {
			end++
		}
		for i += offset; i+1 < end; i += 2 {
			out = append(out, hexDigit(text[i])<<4|hexDigit(text[i+1]))
		}
		i = max(i, end)
	}
	return out
}

// fromNumbers reads decimal numbers below 256, whatever is between them.
func fromNumbers(text []byte) (out []byte) {
	value, digits := 0, 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && text[i] >= '0' && text[i] <= '9' {
			value, digits = min(value*10+int(text[i]-'0'), 1000), digits+1
			continue
		}
		if digits > 0 && value < 256 {
			out = append(out, byte(value))
		}
		value, digits = 0, 0
	}
	return out
}

// rows returns the rows of at least that many digits below limit.
func rows(text []byte, least int, limit byte, digit func(byte) byte) (out [][]byte) {
	for i := 0; i < len(text); i++ {
		start := i
		for i < len(text) && digit(text[i]) < limit {
			i++
		}
		if i-start >= least {
			out = append(out, text[start:i])
		}
	}
	return out
}

// fromDigits decodes rows of digits of so many bits. Of each row it leaves out
// the first offset: where a row begins need not be where the encoding began.
func fromDigits(rows [][]byte, offset, bits int, digit func(byte) byte) (out []byte) {
	for _, row := range rows {
		value, have := 0, 0
		for _, c := range row[offset:] {
			value = value<<bits&0xffff | int(digit(c))
			if have += bits; have >= 8 {
				have -= 8
				out = append(out, byte(value>>have))
			}
		}
	}
	return out
}

// base32Digit returns the value of a digit (RFC 4648, section 6), or 32. Only
// capitals count: lower case is prose, mostly.
func base32Digit(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c - 'A'
	case c >= '2' && c <= '7':
		return c - '2' + 26
	}
	return 32
}

// texts keeps the parts of decoded bytes that can be printed, or are UTF-16. It
// drops what decoding makes of prose.
func texts(decoded []byte) []byte {
	const least = 8
	out := decoded[:0]
	for i := 0; i < len(decoded); {
		seen, end := 0, i
		for end < len(decoded) && (visible(decoded[end]) || decoded[end] == 0 || decoded[end] == ' ' || decoded[end] >= '\t' && decoded[end] <= '\r') {
			if visible(decoded[end]) {
				seen++
			}
			end++
		}
		if seen >= least || end == len(decoded) && seen >= shortestTail {
			out = append(out, decoded[i:end]...)
		}
		i = end + 1
	}
	return out
}
