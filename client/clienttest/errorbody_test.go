package clienttest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client/clienttest"
)

func TestEachErrorBodyIsWhatTheServiceDocuments(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   clienttest.ErrorKind
		status int
		want   string
		header string // one that must be there
	}{
		{"invalid key", clienttest.InvalidKey, 401, `{"error":{"message":"Incorrect API key provided: sk-proj-***GDYA. You can find your API key at https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, "X-Request-Id"},
		{"missing key", clienttest.MissingKey, 401, `"code":null}}`, "X-Request-Id"},
		{"not a member", clienttest.NotMember, 401, `"You must be a member of an organization to use the API`, "X-Request-Id"},
		{"address", clienttest.IPNotAuthorized, 401, `"message":"IP not authorized`, "X-Request-Id"},
		{"rate", clienttest.RateLimited, 429, `"code":"rate_limit_exceeded"`, "Retry-After"},
		{"quota", clienttest.QuotaExceeded, 429, `"type":"insufficient_quota","param":null,"code":"credit_balance_exhausted"`, "X-Request-Id"},
		{"overloaded", clienttest.Overloaded, 503, `"code":"server_is_overloaded"`, "X-Request-Id"},
		{"azure key", clienttest.AzureInvalidKey, 401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint. `, "Apim-Request-Id"},
		{"azure role", clienttest.AzurePermissionDenied, 401, `{"error":{"code":"PermissionDenied","message":"Principal does not have access to API/Operation."}}`, "Apim-Request-Id"},
		{"azure token", clienttest.AzureTokenExpired, 401, `{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired."}`, "Apim-Request-Id"},
		{"apim key", clienttest.APIMInvalidKey, 401, `{"statusCode":401,"message":"Access denied due to invalid subscription key.`, "Www-Authenticate"},
		{"apim none", clienttest.APIMMissingKey, 401, `{"statusCode":401,"message":"Access denied due to missing subscription key.`, "Www-Authenticate"},
		{"challenge", clienttest.CAEChallenge, 401, `"code":"InvalidAuthenticationToken"`, "Www-Authenticate"},
		{"unknown", clienttest.ErrorKind(-1), 500, `"type":"server_error"`, "X-Request-Id"},
	} {
		status, header, body := clienttest.ErrorBody(c.kind)
		if status != c.status || !strings.Contains(body, c.want) || !json.Valid([]byte(body)) || header.Get(c.header) == "" {
			t.Errorf("%s: %d %v %s", c.name, status, header, body)
		}
		if openAI := c.header == "X-Request-Id" || c.header == "Retry-After"; openAI && header.Get("X-Ratelimit-Remaining-Tokens") == "" {
			t.Errorf("%s: rate limits are missing", c.name)
		}
		header.Set("X-Ratelimit-Remaining-Tokens", "changed")
		if _, again, _ := clienttest.ErrorBody(c.kind); again.Get("X-Ratelimit-Remaining-Tokens") == "changed" {
			t.Errorf("%s: a caller can change the next header", c.name)
		}

		svc := clienttest.NewService(key1)
		svc.Inject(c.kind.Fault())
		a := mustSend(t, svc, newRequest(t, "POST", base+chatPath, chatBody, "Authorization: Bearer "+key1))
		if a.status != status || a.body != body || a.header.Get(c.header) != header.Get(c.header) {
			t.Errorf("%s: injected, it is %d %s", c.name, a.status, a.body)
		}
	}
	_, header, _ := clienttest.ErrorBody(clienttest.CAEChallenge)
	if v := header.Get("Www-Authenticate"); !strings.HasPrefix(v, "Bearer ") || !strings.Contains(v, `error="insufficient_claims", claims="`) {
		t.Errorf("the challenge is %s", v)
	}
}
