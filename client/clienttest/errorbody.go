package clienttest

import (
	"encoding/json"
	"net/http"
)

// An ErrorKind is a refusal that a real service is known to send.
type ErrorKind int

// The kinds of errors. Wording and status are from the services' documentation
// (developers.openai.com/docs/guides/error-codes, learn.microsoft.com) and from
// answers that users have published.
const (
	InvalidKey            ErrorKind = iota // OpenAI 401, code invalid_api_key
	MissingKey                             // OpenAI 401 without a key, code null
	NotMember                              // OpenAI 401, the key's user is in no organization
	IPNotAuthorized                        // OpenAI 401, the address is not on the allow-list
	RateLimited                            // OpenAI 429 with Retry-After, code rate_limit_exceeded
	QuotaExceeded                          // OpenAI 429 of type insufficient_quota: no retry helps
	Overloaded                             // OpenAI 503, code server_is_overloaded
	AzureInvalidKey                        // Azure OpenAI 401 for a bad api-key
	AzurePermissionDenied                  // Azure OpenAI 401 (not 403) for a missing role
	AzureTokenExpired                      // Azure OpenAI 401 for a bad or missing token, without an error object
	APIMInvalidKey                         // API Management 401 for a bad subscription key
	APIMMissingKey                         // API Management 401 without a subscription key
	CAEChallenge                           // Microsoft Entra 401 with a claims challenge in WWW-Authenticate
)

// Fault returns a [Fault] that answers the next request with ErrorBody(k).
func (k ErrorKind) Fault() Fault {
	status, header, body := ErrorBody(k)
	return Fault{Status: status, Header: header, Body: body}
}

// ErrorBody returns the answer of the real service in the situation kind. The
// header is the caller's to change. Answers of OpenAI carry x-request-id
// and x-ratelimit-*. The body of CAEChallenge for Azure OpenAI and the code of
// IPNotAuthorized are not documented; what is returned is likely. An unknown kind
// is a 500.
func ErrorBody(kind ErrorKind) (status int, header http.Header, body string) {
	header = http.Header{"Content-Type": {"application/json"}}
	switch kind {
	case AzureInvalidKey, AzurePermissionDenied, AzureTokenExpired, APIMInvalidKey, APIMMissingKey, CAEChallenge:
		setAll(header, azureHeader)
		return http.StatusUnauthorized, header, azureError(kind, header)
	}
	setAll(header, openAIHeader)
	header.Set("X-Request-Id", "req_clienttest")
	status, body = openAIError(kind, header)
	return status, header, body
}

func openAIError(kind ErrorKind, h http.Header) (int, string) {
	const invalid = "invalid_request_error"
	switch kind {
	case InvalidKey:
		return http.StatusUnauthorized, invalidKeyBody("sk-proj-***GDYA")
	case MissingKey:
		return http.StatusUnauthorized, errorJSON("You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from https://platform.openai.com/account/api-keys.", invalid, "", "")
	case NotMember:
		return http.StatusUnauthorized, errorJSON("You must be a member of an organization to use the API. Please contact us through our help center at help.openai.com.", invalid, "", "no_organization")
	case IPNotAuthorized:
		return http.StatusUnauthorized, errorJSON("IP not authorized. Your request IP does not match the configured IP allowlist for your project or organization.", invalid, "", "ip_not_authorized")
	case RateLimited:
		h.Set("Retry-After", "1")
		h.Set("Retry-After-Ms", "120")
		h.Set("X-Ratelimit-Remaining-Requests", "0")
		h.Set("X-Ratelimit-Reset-Requests", "120ms")
		return http.StatusTooManyRequests, errorJSON("Rate limit reached for gpt-4o-mini in organization org-clienttest on requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in 120ms. Visit https://platform.openai.com/account/rate-limits to learn more.", "requests", "", "rate_limit_exceeded")
	case QuotaExceeded:
		return http.StatusTooManyRequests, errorJSON("You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.", "insufficient_quota", "", "credit_balance_exhausted")
	case Overloaded:
		return http.StatusServiceUnavailable, errorJSON("The server is currently overloaded with other requests. Sorry about that! You can retry your request, or contact us through our help center at help.openai.com if the error persists.", "server_error", "", "server_is_overloaded")
	}
	return http.StatusInternalServerError, errorJSON("The server had an error while processing your request. Sorry about that!", "server_error", "", "")
}

func azureError(kind ErrorKind, h http.Header) string {
	switch kind {
	case AzureInvalidKey:
		return `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."}}`
	case AzurePermissionDenied:
		return `{"error":{"code":"PermissionDenied","message":"Principal does not have access to API/Operation."}}`
	case AzureTokenExpired:
		return `{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired."}`
	case CAEChallenge:
		// claims is {"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}
		// (learn.microsoft.com, "claims challenge").
		h.Set("Www-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNjA0MTA2NjUxIn19fQ=="`)
		return `{"error":{"code":"InvalidAuthenticationToken","message":"Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp"}}`
	}
	h.Set("Www-Authenticate", `AzureApiManagementKey realm="https://clienttest.azure-api.net/openai",name="Ocp-Apim-Subscription-Key",type="header"`)
	if kind == APIMMissingKey {
		return `{"statusCode":401,"message":"Access denied due to missing subscription key. Make sure to include subscription key when making requests to an API."}`
	}
	return `{"statusCode":401,"message":"Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription."}`
}

func invalidKeyBody(shown string) string {
	return errorJSON("Incorrect API key provided: "+shown+". You can find your API key at https://platform.openai.com/account/api-keys.", "invalid_request_error", "", "invalid_api_key")
}

// errorJSON is an error in the form of OpenAI, in which an empty param or code is null.
func errorJSON(message, kind, param, code string) string {
	type body struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	e := body{Message: message, Type: kind}
	if param != "" {
		e.Param = &param
	}
	if code != "" {
		e.Code = &code
	}
	b, _ := json.Marshal(struct { // strings always marshal
		Error body `json:"error"`
	}{e})
	return string(b)
}

type pair struct{ name, value string }

// openAIHeader and azureHeader are never written. The resets of OpenAI are
// durations; Azure sends integers, and no resets.
var (
	openAIHeader = []pair{
		{"Openai-Version", "2020-10-01"},
		{"Openai-Processing-Ms", "1"},
		{"X-Ratelimit-Limit-Requests", "500"},
		{"X-Ratelimit-Limit-Tokens", "200000"},
		{"X-Ratelimit-Remaining-Requests", "499"},
		{"X-Ratelimit-Remaining-Tokens", "199990"},
		{"X-Ratelimit-Reset-Requests", "120ms"},
		{"X-Ratelimit-Reset-Tokens", "3ms"},
	}
	azureHeader = []pair{
		{"Apim-Request-Id", "00000000-0000-4000-8000-000000000001"},
		{"X-Ms-Region", "East US"},
		{"X-Ratelimit-Remaining-Requests", "499"},
		{"X-Ratelimit-Remaining-Tokens", "199990"},
	}
)
