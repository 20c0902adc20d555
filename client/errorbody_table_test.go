package client_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// A refusalRow is an error body: what of it a program sees, and what comes of
// the call.
type refusalRow struct {
	body, code, typ, message string
	noCure                   bool   // as a 401: another key does not help
	refusedAt                int    // the status, other than 401, that refuses the key
	spent                    bool   // as a 429: waiting does not help
	hint                     string // at the status hintAt
	hintAt                   int
}

func refusals() []refusalRow {
	rows := append(refusalsOfOpenAI(), refusalsOfAzure()...)
	return append(rows, refusalsOfGateways()...)
}

func refusalsOfOpenAI() []refusalRow {
	openAI := func(message, typ, code string) string {
		return `{"error":{"message":"` + message + `","type":"` + typ + `","param":null,"code":"` + code + `"}}`
	}
	row := func(message, typ, code string) refusalRow {
		return refusalRow{body: openAI(message, typ, code), code: code, typ: typ, message: message}
	}
	spent := func(r refusalRow) refusalRow { r.spent = true; return r }
	noCure := func(r refusalRow) refusalRow { r.noCure = true; return r }
	return []refusalRow{
		row("Incorrect API key provided: sk-***.", "invalid_request_error", "invalid_api_key"),
		row("The model does not exist", "invalid_request_error", "model_not_found"),
		row("Rate limit reached", "tokens", "rate_limit_exceeded"),
		row("The server is overloaded", "server_error", "server_is_overloaded"),
		spent(row("You exceeded your current quota", "insufficient_quota", "insufficient_quota")),
		spent(row("No credit", "insufficient_quota", "credit_balance_exhausted")),
		spent(row("Hard limit", "billing", "billing_hard_limit_reached")),
		noCure(row("You must be a member of an organization to use the API", "invalid_request_error", "")),
		noCure(row("IP not authorized", "invalid_request_error", "ip_not_authorized")),
		noCure(row("OpenAI-Organization header should match organization for API key", "invalid_request_error", "mismatched_organization")),
		noCure(row("You didn't provide an API key.", "invalid_request_error", "")),
		noCure(row("You have insufficient permissions for this operation.", "invalid_request_error", "missing_scope")),
		{body: `{"error":{"message":"m","code":17}}`, code: "17", message: "m"},
		{body: `{"error":{"message":["a","b"],"type":"t"}}`, typ: "t", message: "a; b"},
		{body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, typ: "overloaded_error", message: "Overloaded"},
		{body: "event: error\ndata: {\"error\":{\"message\":\"m\",\"code\":\"c\"}}\n\n", code: "c", message: "m"},
	}
}

func refusalsOfAzure() []refusalRow {
	return []refusalRow{
		{body: `{"error":{"code":"PermissionDenied","message":"Principal does not have access to API/Operation."}}`, code: "PermissionDenied", message: "Principal does not have access to API/Operation.",
			noCure: true, hint: "Cognitive Services OpenAI User", hintAt: 401},
		{body: `{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}`, code: "DeploymentNotFound", message: "The API deployment does not exist.", hint: "deployment", hintAt: 404},
		{body: `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}`, code: "401", message: "Access denied due to invalid subscription key or wrong API endpoint.",
			hint: "another resource", hintAt: 401},
		{body: `{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid, audience is incorrect, or have expired."}`, message: "Unauthorized. Access token is missing, invalid, audience is incorrect, or have expired.",
			hint: "scope", hintAt: 401},
		{body: `{"statusCode":401,"message":"Access denied due to missing subscription key."}`, message: "Access denied due to missing subscription key.", noCure: true, hint: "SubscriptionKey", hintAt: 401},
		{body: `{"error":{"code":"AuthenticationTypeDisabled","message":"Key based authentication is disabled for this resource."}}`, code: "AuthenticationTypeDisabled",
			message: "Key based authentication is disabled for this resource.", hint: "takes no keys", hintAt: 403, refusedAt: 403},
		{body: `{"error":{"code":"Forbidden","message":{"lang":"en-us","value":"Public access is disabled."}}}`, code: "Forbidden", message: "Public access is disabled.", hint: "privatelink", hintAt: 403},
		{body: `{"error":{"code":"content_filter","message":"filtered","param":"prompt","innererror":{"code":"x"}}}`, code: "content_filter", message: "filtered"},
	}
}

func refusalsOfGateways() []refusalRow {
	return []refusalRow{
		{body: `{"error":"model 'x' not found"}`, message: "model 'x' not found"},
		{body: `{"error":["a","b"]}`, message: "a; b"},
		{body: `{"error":[{"code":2001,"message":"configure the gateway"}]}`, code: "2001", message: "configure the gateway"},
		{body: `{"error":"invalid_client","error_description":"AADSTS7000215: wrong"}`, code: "invalid_client", message: "AADSTS7000215: wrong"},
		{body: `{"error":"insufficient_quota","message":"no credit"}`, code: "insufficient_quota", message: "no credit", spent: true},
		{body: `{"errors":[{"code":"billing_hard_limit_reached","message":"m"}]}`, code: "billing_hard_limit_reached", message: "m", spent: true},
		{body: `{"detail":{"error":{"type":"insufficient_quota","message":"m"}}}`, typ: "insufficient_quota", message: "m", spent: true},
		{body: `{"detail":"Not authenticated"}`, message: "Not authenticated"},
		{body: `{"detail":"Principal does not have access to API/Operation."}`, message: "Principal does not have access to API/Operation.", noCure: true, hint: "role", hintAt: 401},
		{body: `{"detail":[{"loc":["body","n"],"msg":"too large","type":"value_error"}]}`, typ: "value_error", message: "too large"},
		{body: `{"type":"https://x/limit","title":"Too many","status":429,"detail":"wait"}`, typ: "https://x/limit", message: "Too many: wait"},
		{body: `{"title":"Invalid","status":400,"errors":{"Model":["required"]}}`, message: "required"},
		{body: `{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}`, code: "10000", message: "Authentication error"},
		{body: `{"fault":{"faultstring":"quota violation","detail":{"errorcode":"policies.ratelimit"}}}`, code: "policies.ratelimit", message: "quota violation"},
		{body: `{"Message":"User is not authorized"}`, message: "User is not authorized"},
		{body: `{"__type":"x#ThrottlingException","message":"slow down"}`, typ: "ThrottlingException", message: "slow down"},
		{body: `{"code":1004,"msg":"login fail"}`, code: "1004", message: "login fail"},
		{body: `{"object":"error","message":"no such model","type":"NotFoundError","code":404}`, code: "404", typ: "NotFoundError", message: "no such model"},
		{body: `{"object":"error","message":{"detail":[{"msg":"Field required"}]}}`, message: "Field required"},
		{body: `[{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]`, code: "API_KEY_INVALID", typ: "INVALID_ARGUMENT", message: "API key not valid", refusedAt: 400},
		{body: `{"status":"failed","why":["x"]}`, message: `{"status":"failed","why":["x"]}`},
		{body: `"{\"error\":{\"message\":\"twice\"}}"`, message: "twice"},
		{body: "<html><head><title>502 Bad Gateway</title></head></html>", message: "502 Bad Gateway"},
		{body: `<Error><Code>AccessDenied</Code><Message>no</Message></Error>`, code: "AccessDenied", message: "no"},
		{body: "upstream connect error", message: "upstream connect error"},
		{body: `{"error":{"message":"cut`, message: `{"error":{"message":"cut`},
		{body: ""},
	}
}

// outcome makes a call that is answered with the status and the body, and
// returns its error, the sends and the reads of the store.
func outcome(t *testing.T, status int, body string) (err *client.Error, sends, reads int64) {
	t.Helper()
	src := &counted{v: credential.Value{Secret: credential.NewSecret(key)}}
	c := inMemory(t, client.Config{
		Source: src, Cache: &credential.CacheOptions{Grace: -1}, Retry: &middleware.RetryOptions{BaseDelay: time.Nanosecond, Budget: -1},
	}, func(req *http.Request) (*http.Response, error) {
		sends++
		return answer(req, status, body, "Content-Type", "application/json"), nil
	})
	_, callErr := c.Post(t.Context(), "chat/completions", chatRequest, nil)
	if !errors.As(callErr, &err) {
		t.Fatalf("%d, %.60s: %v is not the service's error", status, body, callErr)
	}
	return err, sends, src.reads.Load()
}

func TestEveryErrorBodyIsTold(t *testing.T) {
	rows := refusals()
	if len(rows) < 40 {
		t.Errorf("only %d bodies", len(rows))
	}
	for _, row := range rows {
		for _, status := range []int{400, 401, 403, 404, 429, 500, 503} {
			e, sends, reads := outcome(t, status, row.body)
			if e.StatusCode != status || e.Code != row.code || e.Type != row.typ || e.Message != row.message {
				t.Errorf("%d, %.60s: got %+v", status, row.body, *e)
			}
			wantSends, wantReads := int64(1), int64(1)
			switch {
			case status == 401 && !row.noCure, status == row.refusedAt:
				wantSends, wantReads = 2, 2 // the store is asked for another key, once
			case status >= 500, status == 429 && !row.spent:
				wantSends = 3
			}
			if sends != wantSends || reads != wantReads {
				t.Errorf("%d, %.60s: %d sends and %d reads of the store, want %d and %d", status, row.body, sends, reads, wantSends, wantReads)
			}
			if status == row.hintAt && !strings.Contains(e.Hint(), row.hint) || row.hintAt == 0 && e.Hint() != "" {
				t.Errorf("%d, %.60s: the hint is %q, want %q", status, row.body, e.Hint(), row.hint)
			}
			quiet := status == 401 || row.code == "401" || row.code == "invalid_api_key" // a part of the key may be quoted
			if text := strconv.Quote(row.message); row.message != "" && strings.Contains(e.Error(), text) == quiet {
				t.Errorf("%d, %.60s: the text is %s", status, row.body, e.Error())
			}
		}
	}
	t.Logf("%d bodies", len(rows))
}
