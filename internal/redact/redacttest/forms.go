// Package redacttest writes a secret in the forms in which a server may echo
// it, for tests of what must not show it.
package redacttest

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
)

// A Form is a secret as a server may write it.
type Form struct {
	// Name says how it was encoded.
	Name string
	// Text is the encoded secret. It may hold zeros and ends of lines.
	Text string
	// Exact reports whether the form is replaced where it stands. The text
	// around another form may be withheld.
	Exact bool
}

// Forms returns the secret in every form.
func Forms(secret string) []Form {
	forms := exact(secret)
	forms = append(forms, escaped(secret)...)
	forms = append(forms, digits(secret)...)
	return append(forms, layered(secret)...)
}

func exact(s string) []Form {
	encoded := base64.StdEncoding.EncodeToString
	return []Form{
		{"plain", s, true},
		{"JSON", inJSON(s), true},
		{"JSON with slashes", strings.ReplaceAll(inJSON(s), "/", `\/`), true},
		{"JSON of .NET", dotNET(s), true},
		{"JSON, all escaped", each(s, `\u%04x`), true},
		{"URL query", url.QueryEscape(s), true},
		{"URL path", url.PathEscape(s), true},
		{"URL, all escaped", each(s, "%%%02X"), true},
		{"URL, lower case", each(s, "%%%02x"), true},
		{"base64", encoded([]byte(s)), true},
		{"base64url", base64.RawURLEncoding.EncodeToString([]byte(s)), true},
		{"base64 of a header", encoded([]byte("Bearer " + s + "\r\n")), true},
		{"base64 of user and password", encoded([]byte("me:" + s)), true},
	}
}

func escaped(s string) []Form {
	return []Form{
		{"HTML", strings.NewReplacer("+", "&#43;", "/", "&#x2F;", "=", "&#61;", "-", "&#45;").Replace(html.EscapeString(s)), false},
		{"HTML, named", strings.NewReplacer("+", "&plus;", "/", "&sol;", "=", "&equals;", "-", "&#x2d;", "_", "&lowbar;").Replace(html.EscapeString(s)), false},
		{"HTML, decimal", each(s, "&#%d;"), false},
		{"HTML, hexadecimal", each(s, "&#x%X;"), false},
		{"\\x", each(s, `\x%02x`), false},
		{"octal", each(s, `\%03o`), false},
		{"\\u{}", each(s, `\u{%x}`), false},
		{"%u", each(s, "%%u%04X"), false},
		{"quoted-printable", each(s, "=%02X"), false},
		{"upper case", strings.ToUpper(s), false},
		{"lower case", strings.ToLower(s), false},
		{"wrapped", wrapped(s, 7, "\n"), false},
		{"wrapped, CRLF", wrapped(s, 5, "\r\n\t"), false},
		{"spaced", wrapped(s, 1, " "), false},
		{"quoted-printable, soft breaks", wrapped(s, 9, "=\r\n"), false},
		{"UTF-16LE", utf(s, binary.LittleEndian), false},
		{"UTF-16BE", utf(s, binary.BigEndian), false},
		{"UTF-16 in JSON", zeros(s), false},
	}
}

func digits(s string) []Form {
	b := []byte(s)
	encoded := base64.StdEncoding.EncodeToString(b)
	return []Form{
		{"hexadecimal", hex.EncodeToString(b), false},
		{"hexadecimal, capitals", strings.ToUpper(hex.EncodeToString(b)), false},
		{"hexadecimal behind a digit", "7" + hex.EncodeToString(b), false},
		{"hexadecimal, colons", strings.TrimSuffix(each(s, "%02x:"), ":"), false},
		{"hexadecimal, spaces", fmt.Sprintf("% x", b), false},
		{"hexadecimal, list", each(s, "0x%02x, "), false},
		{"decimal list", fmt.Sprint(b), false},
		{"decimal list of JSON", strings.ReplaceAll(fmt.Sprint(b), " ", ","), false},
		{"base64, wrapped", wrapped(encoded, 16, "\n"), false},
		{"base64, wrapped by CRLF", wrapped(encoded, 19, "\r\n "), false},
		{"base64, wrapped in JSON", wrapped(encoded, 16, `\n`), false},
		{"base64 behind letters", "token" + base64.RawStdEncoding.EncodeToString([]byte("xy"+s)), true},
		{"base64 with slashes escaped", strings.NewReplacer("/", `\/`, "+", `\u002b`).Replace(encoded), strings.Trim(encoded, "/+") == encoded && !strings.ContainsAny(encoded, "/+")},
		{"base32", base32.StdEncoding.EncodeToString(b), false},
	}
}

func layered(s string) []Form {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return []Form{
		{"JSON in JSON", inJSON(dotNET(s)), false},
		{"URL in a URL", url.QueryEscape(url.QueryEscape(s)), false},
		{"JSON, then URL", url.QueryEscape(dotNET(s)), false},
		{"URL, then JSON", each(each(s, "%%%02x"), `\u%04x`), false},
		{"HTML, then URL", url.QueryEscape(each(s, "&#%d;")), false},
		{"HTML, then JSON", inJSON(each(s, "&#x%x;")), false},
		{"base64 twice", b64(b64(s)), false},
		{"base64 of a URL's form", b64(each(s, "%%%02x")), false},
		{"base64 of UTF-16", b64(utf(s, binary.LittleEndian)), false},
		{"base64 of hexadecimal", b64(hex.EncodeToString([]byte(s))), false},
		{"hexadecimal of base64", hex.EncodeToString([]byte(b64(s))), false},
		{"hexadecimal in JSON", inJSON(each(s, `\x%02x`)), false},
		{"base64, then URL", each(b64(s), "%%%02x"), false},
		{"base64 of JSON of .NET", b64(`{"key":"` + dotNET(s) + `"}`), false},
	}
}

func inJSON(s string) string {
	out, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return string(out[1 : len(out)-1])
}

func dotNET(s string) string {
	return strings.NewReplacer(`\`, `\\`, `+`, `\u002B`, `"`, `\u0022`, `<`, `\u003C`, `&`, `\u0026`, `-`, `\u002D`).Replace(s)
}

// zeros is UTF-16LE that went through JSON.
func zeros(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString(inJSON(s[i:i+1]) + `\u0000`)
	}
	return b.String()
}

// each formats every byte.
func each(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

func wrapped(s string, width int, end string) string {
	var b strings.Builder
	for i := 0; i < len(s); i += width {
		if i > 0 {
			b.WriteString(end)
		}
		b.WriteString(s[i:min(len(s), i+width)])
	}
	return b.String()
}

func utf(s string, order binary.AppendByteOrder) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

// Printable returns the form as it can stand in a header field: what cannot is
// written as Go does.
func (f Form) Printable() string {
	quoted := strconv.QuoteToASCII(f.Text)
	if quoted == `"`+f.Text+`"` {
		return f.Text
	}
	return strings.Trim(quoted, `"`)
}
