package middleware_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// refusals are answers of services and gateways, as they send them.
func refusals() map[string]struct {
	status  int
	body    string
	header  []string
	refused bool
} {
	return map[string]struct {
		status  int
		body    string
		header  []string
		refused bool
	}{
		"LiteLLM, expired":       {400, `{"error":{"message":"Authentication Error - Expired Key. Key Expiry time 2026-11-01","type":"expired_key","param":"None","code":"400"}}`, nil, true},
		"LiteLLM, unknown":       {400, `{"error":{"message":"Authentication Error, Invalid proxy server token passed","type":"auth_error","param":"None","code":"400"}}`, nil, true},
		"LiteLLM, by type":       {400, `{"error":{"message":"no such key","type":"token_not_found_in_db","param":"key","code":"400"}}`, nil, true},
		"LiteLLM, another 400":   {400, `{"error":{"message":"Budget has been exceeded!","type":"budget_exceeded","param":null,"code":"400"}}`, nil, false},
		"Google":                 {400, `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}]`, nil, true},
		"Google, expired":        {400, `{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}`, nil, true},
		"Google, a bad argument": {400, `{"error":{"code":400,"message":"Invalid value at 'model'","status":"INVALID_ARGUMENT"}}`, nil, false},
		"Bedrock, expired":       {403, `{"message":"The security token included in the request is expired"}`, []string{"X-Amzn-ErrorType", "ExpiredTokenException:http://internal.amazon.com/"}, true},
		"API Gateway, unknown":   {403, `{"message":"The security token included in the request is invalid."}`, []string{"x-amzn-ErrorType", "UnrecognizedClientException"}, true},
		"Bedrock, by type":       {403, `{"__type":"com.amazon.coral.service#ExpiredTokenException","Message":"x"}`, []string{"X-Amzn-ErrorType", "ExpiredTokenException"}, true},
		"Bedrock, no rights":     {403, `{"message":"User is not authorized to perform: bedrock:InvokeModel"}`, []string{"X-Amzn-ErrorType", "AccessDeniedException"}, false},
		"API Gateway, no key":    {403, `{"message":"Forbidden"}`, []string{"X-Amzn-ErrorType", "ForbiddenException"}, false},
		"Azure, keys are off":    {403, `{"error":{"code":"AuthenticationTypeDisabled","message":"Key based authentication is disabled for this resource."}}`, nil, true},
		"Azure, a firewall":      {403, `{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}`, nil, false},
		"APIM, quota":            {403, `{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 12:34:56."}`, nil, false},
		"APIM, bandwidth":        {403, `{"statusCode":403,"message":"Out of bandwidth quota."}`, nil, false},
		"OpenAI, a country":      {403, `{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","type":"request_forbidden"}}`, nil, false},
		"OpenAI, a bad request":  {400, `{"error":{"message":"Authentication is a nice word","type":"invalid_request_error"}}`, nil, false},
		"the same as a 404":      {404, `{"error":{"message":"Authentication Error","type":"expired_key"}}`, nil, false},
		"the same as a 429":      {429, `{"error":{"message":"Authentication Error","type":"expired_key"}}`, nil, false},
		"too long for an error":  {400, `{"error":{"message":"Authentication Error` + strings.Repeat("x", 4<<10) + `","type":"expired_key"}}`, nil, false},
	}
}

func TestAuthKnowsTheRefusalsThatAreNo401(t *testing.T) {
	for name, tc := range refusals() {
		src := &keys{key: deadKey}
		sends := 0
		rt := newAuth(t, src, nil, func(req *http.Request) (*http.Response, error) {
			sends++
			if sends == 1 {
				src.set(goodKey)
				return answer(req, tc.status, tc.body, append([]string{"Content-Type", "application/json; charset=utf-8"}, tc.header...)...), nil
			}
			if got := req.Header.Get("Authorization"); got != "Bearer "+goodKey {
				t.Errorf("%s: the second send has not the new key", name)
			}
			return answer(req, 200, "ok"), nil
		})
		resp, err := rt.RoundTrip(post(t, chat, "prompt"))
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]int{true: 2, false: 1}[tc.refused]
		if text := readBody(t, resp); sends != want || sends == 1 && text != tc.body {
			t.Errorf("%s: %d sends, want %d; or the answer is not the service's own", name, sends, want)
		}
	}
}

func TestAnOperatorSaysWhatElseIsARefusal(t *testing.T) {
	for name, tc := range map[string]struct {
		status  int
		body    string
		refused bool
	}{
		"its own words":  {418, `{"oops":"credential revoked"}`, true},
		"other words":    {418, `{"oops":"too hot"}`, false},
		"another status": {500, `{"oops":"credential revoked"}`, true},
		"a good answer":  {200, `credential revoked`, false},
		"a redirect":     {302, `credential revoked`, false},
	} {
		src := &keys{key: deadKey}
		sends := 0
		opts := &middleware.AuthOptions{Refused: func(resp *http.Response, body []byte) bool {
			if resp.StatusCode < 400 || strings.Contains(string(body), deadKey) {
				t.Errorf("%s: asked about a %d, or with the key in the body", name, resp.StatusCode)
			}
			return strings.Contains(string(body), "revoked")
		}}
		rt := newAuth(t, src, opts, func(req *http.Request) (*http.Response, error) {
			if sends++; sends == 1 {
				src.set(goodKey)
				return answer(req, tc.status, tc.body+deadKey), nil
			}
			return answer(req, 200, "ok"), nil
		})
		if _, err := rt.RoundTrip(post(t, chat, "prompt")); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 2, false: 1}[tc.refused]; sends != want {
			t.Errorf("%s: %d sends, want %d", name, sends, want)
		}
	}
}

// A key that was only ever answered with 400, 404 or 429 is known to be good:
// when it is revoked, its rotation has the whole grace.
func TestAnAnswerThatDoesNotRefuseTheCredentialProvesIt(t *testing.T) {
	for status, want := range map[int]bool{
		200: true, 204: true, 400: true, 404: true, 409: true, 422: true, 429: true,
		302: false, 401: false, 403: false, 407: false, 500: false, 503: false,
	} {
		p := &recorded{key: goodKey}
		mw, err := middleware.Auth(p, api, nil)
		if err != nil {
			t.Fatal(err)
		}
		rt := mw(tripFunc(func(req *http.Request) (*http.Response, error) { return answer(req, status, "{}"), nil }))
		if _, err := rt.RoundTrip(post(t, chat, "prompt")); err != nil {
			t.Fatal(err)
		}
		if got := p.accepted > 0; got != want {
			t.Errorf("%d: accepted %t, want %t", status, got, want)
		}
	}
}

// recorded is a Provider that is told.
type recorded struct {
	key      string
	accepted int
}

func (p *recorded) value() credential.Value {
	return credential.Value{Secret: credential.NewSecret(p.key), Source: "recorded"}
}

func (p *recorded) Retrieve(context.Context) (credential.Value, error) { return p.value(), nil }

func (p *recorded) Replace(context.Context, credential.Rejection) (credential.Value, error) {
	return credential.Value{}, credential.ErrRejected
}

func (p *recorded) Accept(credential.Value) { p.accepted++ }
