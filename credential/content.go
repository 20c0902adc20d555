package credential

import (
	"fmt"
	"strings"
)

// A problem is why a text cannot be a key or token, in words that never quote
// it. The zero problem is none.
type problem struct {
	what string // completes "the secret cannot be used: ..."
	do   string // the one thing to do about it
}

const (
	alone     = "store the key alone"
	document  = "it is a JSON document, not a key"
	itself    = "put the key itself there"
	reference = "it is a reference to a secret, not the secret"
	toAuto    = "move it to OPENAI_CREDENTIAL, where package auto takes references"
)

// normalize returns the key in text, or why there is none. Every source is held
// to it, because a Cache checks what it has read. It drops what editors and
// shells put around a key, a byte order mark and one trailing newline, and
// admits what can stand in a header: 1 byte to 16 KiB of printable ASCII without
// spaces (RFC 9110, section 5.5; RFC 6750, section 2.1). net/http would send
// other bytes in silence, and the service would answer with a puzzling 401.
func normalize(text string) (string, problem) {
	text = strings.TrimPrefix(text, "\ufeff")
	if t, ok := strings.CutSuffix(text, "\n"); ok {
		text = strings.TrimSuffix(t, "\r")
	}
	if text == "" {
		return "", problem{what: "it is empty", do: itself}
	}
	if len(text) > maxSecret {
		return "", problem{what: fmt.Sprintf("it has %d bytes, a key has at most %d", len(text), maxSecret), do: alone}
	}
	if p := another(text); p.what != "" {
		return "", p
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' {
			return "", problem{what: fmt.Sprintf("byte %d of %d is %s", i+1, len(text), kindOfByte(c)), do: alone}
		}
	}
	return text, problem{}
}

// ofToken is the same of a token, which few people write anywhere by hand.
func (p problem) ofToken() problem {
	p.what = strings.ReplaceAll(p.what, "a key", "a token")
	if p.do == alone || p.do == itself {
		p.do = "check what issues or stores it"
	}
	return p
}

// another tells what text is if it is something else than a key.
func another(text string) problem {
	switch {
	case strings.HasPrefix(text, "\xff\xfe"), strings.HasPrefix(text, "\xfe\xff"):
		return problem{what: "it is in UTF-16, as PowerShell writes files", do: "save it in ASCII or UTF-8"}
	case strings.HasPrefix(text, "@Microsoft.KeyVault("):
		return problem{
			what: "it is an unresolved Key Vault reference: the platform could not read the vault",
			do:   "give the app's identity the role Key Vault Secrets User on the vault",
		}
	case isPlaceholder(text):
		return problem{what: "it is a placeholder that nothing has replaced", do: itself}
	case text[0] == '{' || text[0] == '[':
		return problem{what: document, do: "name the field that holds the key"}
	case text[0] == '"' || text[0] == '\'' || text[0] == '`':
		return problem{what: "it is in quotes", do: "store it without the quotes"}
	case isAssignment(text):
		return problem{what: "it is an assignment, NAME=value", do: "store what follows the equals sign"}
	case hasFold(text, "Bearer "):
		return problem{what: "it begins with the word Bearer, as a header does", do: "store what follows that word"}
	}
	return elsewhere(text)
}

// elsewhere tells a text that says where a key is.
func elsewhere(text string) problem {
	scheme, _, isURL := strings.Cut(text, "://")
	isURL = isURL && isScheme(scheme)
	switch {
	case strings.HasPrefix(text, "op://"):
		return problem{what: reference, do: "start the program with op run, which replaces it"}
	case hasFold(text, "vault:"):
		return problem{what: reference, do: "write it as vault://MOUNT/PATH in OPENAI_CREDENTIAL, where package auto takes references"}
	case strings.HasPrefix(text, "arn:"):
		return problem{what: reference, do: toAuto}
	case strings.HasPrefix(text, "secretref:"), strings.HasPrefix(text, "projects/") && strings.Contains(text, "/secrets/"):
		return problem{what: reference, do: itself}
	case !isURL:
		return problem{}
	case hasFold(text, "http") && !strings.Contains(text, "/secrets/"):
		return problem{what: "it is an address, not a key", do: itself}
	}
	return problem{what: reference, do: toAuto}
}

func hasFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}

// isScheme reports whether s can be the scheme of a URL (RFC 3986, section 3.1).
func isScheme(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, letters+"0123456789+.-") == "" && strings.Contains(letters, s[:1])
}

const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	letters = lower + upper
)

// isPlaceholder tells the marks that shells, Kubernetes, templates and guides
// leave for a value: ${NAME}, $NAME, $(NAME), %NAME%, {{ NAME }}, #{NAME}#, <NAME>.
func isPlaceholder(text string) bool {
	for _, mark := range [...][2]string{{"${", "}"}, {"$(", ")"}, {"{{", "}}"}, {"#{", "}#"}, {"<", ">"}} {
		if strings.HasPrefix(text, mark[0]) && strings.HasSuffix(text, mark[1]) {
			return true
		}
	}
	if name, ok := strings.CutPrefix(text, "$env:"); ok {
		return isVariable(name)
	}
	if name, ok := strings.CutPrefix(text, "$"); ok {
		return isVariable(name)
	}
	if name, ok := strings.CutPrefix(text, "%"); ok && strings.HasSuffix(name, "%") {
		return isVariable(strings.TrimSuffix(name, "%"))
	}
	return false
}

// isVariable reports whether name is one that a variable of the environment
// has by convention.
func isVariable(name string) bool {
	return name != "" && strings.Contains(upper+"_", name[:1]) && strings.Trim(name, upper+"0123456789_") == ""
}

// isAssignment tells a line of a .env file or a script. A name in small letters
// has to speak of a key: other services' tokens have equals signs as well.
func isAssignment(text string) bool {
	for _, word := range [...]string{"export ", "set ", "SET ", "$env:"} {
		text = strings.TrimPrefix(text, word)
	}
	name, value, ok := strings.Cut(text, "=")
	name = strings.TrimRight(name, " ")
	if !ok || strings.Trim(value, "= \r\n") == "" || name == "" || len(name) > 64 || strings.Trim(name, letters+"0123456789_-.") != "" {
		return false // also the padding of base64
	}
	if isVariable(name) && strings.Contains(name, "_") {
		return true
	}
	for _, noun := range [...]string{"key", "token", "secret", "password"} {
		if strings.HasSuffix(strings.ToLower(name), noun) {
			return true
		}
	}
	return false
}

func kindOfByte(c byte) string {
	switch {
	case c == '\n' || c == '\r':
		return "a line break"
	case c == ' ' || c == '\t':
		return "white space"
	case c < ' ' || c == 0x7f:
		return "a control character"
	default:
		return "not ASCII"
	}
}
