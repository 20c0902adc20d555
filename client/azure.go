package client

import (
	"net/http"
	"strings"
)

// Hint tells what to do about a refusal that is known to have one cause; it is
// empty for others. It holds nothing of the answer.
func (e *Error) Hint() string {
	m := strings.ToLower(e.Message)
	says := func(part string) bool { return strings.Contains(m, part) }
	switch e.StatusCode {
	case http.StatusUnauthorized:
		switch {
		case strings.EqualFold(e.Code, "PermissionDenied"), says("principal does not have access"):
			return "assign the role Cognitive Services OpenAI User on the Azure OpenAI resource to the identity; it takes some minutes to come into effect"
		}
	}
	return ""
}
