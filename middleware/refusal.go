package middleware

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/internal/wire"
)

// A refusal of the credential is a 401, with the exceptions that curable knows.
// Some services and gateways answer with another status. Each row of this table
// is one of them; what is not in it is none, for a 400 or a 403 is usually about
// the request, or about rights and quotas that another key does not change.
func knownRefusal(resp *http.Response, body []byte) bool {
	e := wire.ParseError(body)
	says := func(part string) bool { return strings.Contains(e.Message, part) }
	switch resp.StatusCode {
	case http.StatusBadRequest:
		switch {
		case bytes.Contains(body, []byte(`"API_KEY_INVALID"`)):
			// Google's OpenAI-compatible endpoint, for a wrong and an expired key
			// (https://cloud.google.com/apis/design/errors, ErrorInfo.reason).
			return true
		case says("API key not valid. Please pass a valid API key"), says("API key expired. Please renew the API key"):
			return true // the same without details
		}
		// LiteLLM, for a virtual key that has expired or that it does not know
		// (https://docs.litellm.ai/docs/proxy/virtual_keys).
		switch e.Type {
		case "expired_key", "token_not_found_in_db":
			return true
		}
		return strings.HasPrefix(e.Message, "Authentication Error")
	case http.StatusForbidden:
		// Bedrock and API Gateway
		// (https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html).
		kind, _, _ := strings.Cut(first(resp.Header, "X-Amzn-Errortype"), ":")
		for _, name := range [...]string{kind, e.Type, e.Code} {
			switch name[strings.LastIndexByte(name, '#')+1:] {
			case "ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId":
				return true
			}
		}
		if says("The security token included in the request is") {
			return true
		}
		// Azure, where keys are switched off: the standby may be a token.
		return e.Code == "AuthenticationTypeDisabled"
	}
	return false
}

// refused reports whether resp refuses the credential, and by what it says it.
func (a *auth) refused(resp *http.Response) (challenge string, body []byte, refused bool) {
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		challenge = strings.Join(resp.Header.Values("Www-Authenticate"), ", ")
		body = peekError(resp)
		return challenge, body, curable(challenge, body)
	case status < 400:
		return "", nil, false
	case status != http.StatusBadRequest && status != http.StatusForbidden:
	case strings.Contains(first(resp.Header, "Content-Type"), "json"): // as all of them are
		if body = peekSmall(resp); body != nil && knownRefusal(resp, body) {
			return "", body, true
		}
	}
	if a.isRefusal == nil {
		return "", nil, false
	}
	body = peekError(resp)
	return "", body, a.isRefusal(resp, body)
}

// proves reports whether an answer that does not refuse the credential shows
// that the service takes it. A redirect, a 403 and a failure may come from
// something in front of the service that does not look at it.
func proves(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return false
	}
	return status < 300 || status >= 400 && status < 500
}
