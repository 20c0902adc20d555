package azureidentity

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// maxClaims bounds what is passed on of a challenge.
const maxClaims = 8 << 10

// claimsOf returns the claims of a continuous access evaluation challenge, as
// JSON; empty if the header has none that can be passed on. The parameter is
// base64 in either alphabet, with or without padding.
func claimsOf(challenge string) string {
	if parameter(challenge, "error") != "insufficient_claims" {
		return ""
	}
	encoded := strings.TrimRight(parameter(challenge, "claims"), "=")
	if encoded == "" || len(encoded) > maxClaims {
		return ""
	}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		var object map[string]json.RawMessage
		if claims, err := e.DecodeString(encoded); err == nil && json.Unmarshal(claims, &object) == nil {
			return string(claims)
		}
	}
	return ""
}

// parameter returns an auth-param of the header (RFC 9110, section 11.2). Names
// are compared in any case; values may be quoted.
func parameter(header, name string) string {
	for rest := header; rest != ""; {
		key, value, ok := strings.Cut(rest, "=")
		if !ok {
			return ""
		}
		if i := strings.LastIndexAny(key, " ,\t"); i >= 0 {
			key = key[i+1:]
		}
		if strings.HasPrefix(value, `"`) {
			value, rest, _ = strings.Cut(value[1:], `"`)
		} else {
			end := strings.IndexAny(value, ", \t")
			if end < 0 {
				end = len(value)
			}
			value, rest = value[:end], value[end:]
		}
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}
