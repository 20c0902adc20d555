package middleware

import (
	"strings"

	"github.com/latchkey-go/latchkey/internal/wire"
)

// curable reports whether a 401 with this WWW-Authenticate header and body
// may go away with another credential. The list is of refusals that cannot;
// a 401 that nobody knows counts as curable, for the Cache bounds its cost.
//
// Wording and codes: OpenAI's error guide
// (https://platform.openai.com/docs/guides/error-codes), and what Azure OpenAI
// and API Management answer.
func curable(challenge string, body []byte) bool {
	if strings.Contains(challenge, "insufficient_claims") {
		return true // a continuous access evaluation challenge
	}
	e := wire.ParseError(body)
	switch strings.ToLower(e.Code) {
	case "permissiondenied", // Azure: the role is missing, whatever the token
		"mismatched_organization", "invalid_organization", "mismatched_project",
		"ip_not_authorized", "missing_scope":
		return false
	}
	m := strings.ToLower(e.Message)
	for _, refusal := range [...]string{
		"must be a member of an organization",
		"principal does not have access",
		"insufficient permissions for this operation",
		"organization header should match",
		"no such organization",
		"ip not authorized",
		"ip address is not authorized",
		"your ip address",
		"didn't provide an api key",
		"missing subscription key",
		"does not match resource t", // Azure: "Token tenant ... does not match resource tenant"
	} {
		if strings.Contains(m, refusal) {
			return false
		}
	}
	return true
}
