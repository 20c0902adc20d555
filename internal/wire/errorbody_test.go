package wire_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/internal/wire"
)

type errorShape struct {
	name, body string
	want       wire.Error
}

func errorShapes() []errorShape { return append(shapesOfServices(), shapesOfGateways()...) }

func shapesOfServices() []errorShape {
	type e = wire.Error
	return []errorShape{
		{"OpenAI", `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, e{"invalid_api_key", "invalid_request_error", "", "Incorrect API key provided"}},
		{"OpenAI, spaced", "\xef\xbb\xbf\r\n { \"error\" : { \"message\" : \"m\" } } \n", e{Message: "m"}},
		{"Azure OpenAI", `{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}`, e{Code: "DeploymentNotFound", Message: "The API deployment does not exist."}},
		{"Azure, content filter", `{"error":{"message":"filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, e{Code: "content_filter", Param: "prompt", Message: "filtered"}},
		{"Azure, OData", `{"error":{"code":"Forbidden","message":{"lang":"en-us","value":"no access"}}}`, e{Code: "Forbidden", Message: "no access"}},
		{"code as a number", `{"error":{"message":"m","code":404,"type":"NotFoundError"}}`, e{"404", "NotFoundError", "", "m"}},
		{"API Management", `{"statusCode":401,"message":"Access denied due to missing subscription key."}`, e{Message: "Access denied due to missing subscription key."}},
		{"LiteLLM", `{"error":{"message":"Authentication Error, Invalid proxy server token passed","type":"auth_error","param":"None","code":"401"}}`, e{"401", "auth_error", "None", "Authentication Error, Invalid proxy server token passed"}},
		{"error as a text", `{"error":"model 'x' not found"}`, e{Message: "model 'x' not found"}},
		{"error as a text with a code", `{"error":"no","code":"E7"}`, e{Code: "E7", Message: "no"}},
		{"error as a list of texts", `{"error":["first","second","first"]}`, e{Message: "first; second"}},
		{"error as a list of objects", `{"success":false,"result":[],"error":[{"code":2001,"message":"Please configure AI Gateway"}]}`, e{Code: "2001", Message: "Please configure AI Gateway"}},
		{"error in an error", `{"error":{"error":{"message":"deep","code":"c"}}}`, e{Code: "c", Message: "deep"}},
		{"OAuth", `{"error":"invalid_client","error_description":"AADSTS7000215: wrong","error_uri":"https://x"}`, e{Code: "invalid_client", Message: "AADSTS7000215: wrong"}},
		{"Spring", `{"timestamp":"2026","status":404,"error":"Not Found","message":"No static resource","path":"/v1"}`, e{Message: "No static resource"}},
		{"TGI", `{"error":"Input validation error","error_type":"validation"}`, e{Type: "validation", Message: "Input validation error"}},
		{"vLLM", `{"object":"error","message":"The model does not exist.","type":"NotFoundError","param":null,"code":404}`, e{"404", "NotFoundError", "", "The model does not exist."}},
		{"message as an object", `{"object":"error","message":{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required"}]},"code":null}`, e{Message: "Field required"}},
		{"message as a list", `{"error":{"message":["a","b"]}}`, e{Message: "a; b"}},
		{"Anthropic", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, e{Type: "overloaded_error", Message: "Overloaded"}},
		{"event of Responses", `{"type":"error","code":"server_error","message":"The server had an error","param":null}`, e{Code: "server_error", Type: "error", Message: "The server had an error"}},
		{"Google", `{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"t","reason":"API_KEY_INVALID"}]}}`, e{"API_KEY_INVALID", "INVALID_ARGUMENT", "", "API key not valid."}},
		{"Google, in a list", `[{"error":{"code":429,"message":"Resource exhausted","status":"RESOURCE_EXHAUSTED"}}]`, e{"429", "RESOURCE_EXHAUSTED", "", "Resource exhausted"}},
	}
}

func shapesOfGateways() []errorShape {
	type e = wire.Error
	return []errorShape{
		{"detail as a text", `{"detail":"Not authenticated"}`, e{Message: "Not authenticated"}},
		{"detail as an object", `{"detail":{"error":"rate limited","code":"slow_down"}}`, e{Code: "slow_down", Message: "rate limited"}},
		{"detail as a list", `{"detail":[{"loc":["body","messages",0,"role"],"msg":"unexpected value","type":"value_error.const"},{"loc":["body","n"],"msg":"too large","type":"value_error"}]}`, e{Type: "value_error.const", Param: "messages.0.role", Message: "unexpected value; too large"}},
		{"detail as a list of texts", `{"detail":["one"]}`, e{Message: "one"}},
		{"problem details", `{"type":"https://example.com/probs/out-of-credit","title":"You do not have enough credit.","status":403,"detail":"Your balance is 30.","instance":"/a/1"}`, e{Type: "https://example.com/probs/out-of-credit", Message: "You do not have enough credit: Your balance is 30."}},
		{"problem, blank type", `{"type":"about:blank","title":"Forbidden","status":403}`, e{Message: "Forbidden"}},
		{"problem of ASP.NET", `{"type":"https://t","title":"Validation errors occurred.","status":400,"errors":{"Model":["The Model field is required."],"N":["too large"]}}`, e{Type: "https://t", Param: "Model", Message: "The Model field is required.; too large"}},
		{"JSON:API", `{"errors":[{"status":"422","code":"E1","title":"Invalid","detail":"n is too large"}]}`, e{Code: "E1", Message: "Invalid: n is too large"}},
		{"Cloudflare", `{"success":false,"errors":[{"code":10000,"message":"Authentication error"}],"messages":[],"result":null}`, e{Code: "10000", Message: "Authentication error"}},
		{"errors as texts", `{"errors":["bad","worse"]}`, e{Message: "bad; worse"}},
		{"Apigee", `{"fault":{"faultstring":"Rate limit quota violation","detail":{"errorcode":"policies.ratelimit.QuotaViolation"}}}`, e{Code: "policies.ratelimit.QuotaViolation", Message: "Rate limit quota violation"}},
		{"WSO2", `{"fault":{"code":900902,"message":"Missing Credentials","description":"Make sure"}}`, e{Code: "900902", Message: "Missing Credentials"}},
		{"AWS", `{"Message":"User is not authorized to access this resource"}`, e{Message: "User is not authorized to access this resource"}},
		{"AWS, typed", `{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token is expired"}`, e{Type: "ExpiredTokenException", Message: "The security token is expired"}},
		{"Lambda", `{"errorMessage":"timed out","errorType":"Sandbox.Timedout"}`, e{Type: "Sandbox.Timedout", Message: "timed out"}},
		{"Databricks", `{"error_code":"PERMISSION_DENIED","message":"no"}`, e{Code: "PERMISSION_DENIED", Message: "no"}},
		{"Kong", `{"message":"No API key found in request","request_id":"1"}`, e{Message: "No API key found in request"}},
		{"msg", `{"code":1004,"msg":"login fail"}`, e{Code: "1004", Message: "login fail"}},
		{"Kubernetes", `{"kind":"Status","status":"Failure","message":"forbidden","reason":"Forbidden","code":403}`, e{Code: "403", Message: "forbidden"}},
		{"Elastic", `{"error":{"type":"security_exception","reason":"unable to authenticate"},"status":401}`, e{Type: "security_exception", Message: "unable to authenticate"}},
		{"encoded twice", `"{\"error\":{\"message\":\"inner\"}}"`, e{Message: "inner"}},
		{"two documents", `{"error":{"message":"m"}}{"more":1}`, e{Message: "m"}},
		{"an event", "event: error\ndata: {\"error\":{\"message\":\"m\",\"code\":\"c\"}}\n\n", e{Code: "c", Message: "m"}},
		{"an event without end", `data: {"error":"x"}`, e{Message: "x"}},
		{"a page", "<!DOCTYPE html>\n<HTML><head><title>502 Bad\n Gateway</title></head><body><center><h1>x</h1></center></body></html>", e{Message: "502 Bad Gateway"}},
		{"a page without title", "<html><body><H1 class=\"a\">It <b>works</b> &amp; hangs</H1></body></html>", e{Message: "It works & hangs"}},
		{"an empty page", "<html></html>", e{}},
		{"XML", `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access <![CDATA[<Denied>]]></Message></Error>`, e{Code: "AccessDenied", Message: "Access"}},
		{"SOAP", `<s:Envelope><s:Fault><faultcode>s:Client</faultcode><faultstring>no</faultstring></s:Fault></s:Envelope>`, e{Code: "s:Client", Message: "no"}},
		{"other XML", `<a>b</a>`, e{Message: "<a>b</a>"}},
		{"text", "upstream connect error", e{Message: "upstream connect error"}},
		{"text that looks like a list", "[2026-01-01] down", e{Message: "[2026-01-01] down"}},
		{"JSON that was cut", `{"error":{"message":"m`, e{Message: `{"error":{"message":"m`}},
		{"unknown", `{"status":"failed","why":["x"]}`, e{Message: `{"status":"failed","why":["x"]}`}},
		{"error: null", `{"error":null}`, e{Message: `{"error":null}`}},
		{"an empty object", `{}`, e{}}, {"an empty list", `[]`, e{}}, {"null", `null`, e{}}, {"nothing", ``, e{}},
		{"not UTF-8", "a\xffb", e{Message: "a\uFFFDb"}},
		{"two spellings", `{"Message":"a","message":""}`, e{Message: "a"}},
	}
}

func TestAnErrorBodySaysWhyInEveryKnownShape(t *testing.T) {
	for _, tc := range errorShapes() {
		if got := wire.ParseError([]byte(tc.body)); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestOfAnUnknownBodyTheBeginningIsTold(t *testing.T) {
	body := `{"x":"` + strings.Repeat("é", 400) + `"}`
	got := wire.ParseError([]byte(body)).Message
	if len(got) > 500 || len(got) < 490 || !strings.HasPrefix(body, got) || !utf8.ValidString(got) {
		t.Errorf("%d bytes of %d: %.40q", len(got), len(body), got)
	}
}

func TestErrorsAreLookedForInBounds(t *testing.T) {
	deep := strings.Repeat(`{"error":`, 20) + `{"message":"m"}` + strings.Repeat("}", 20)
	if got := wire.ParseError([]byte(deep)).Message; got != deep {
		t.Errorf("20 levels deep: %.60q, want the body itself", got)
	}
	many := `{"errors":["1","2","3","4","5"]}`
	if got := wire.ParseError([]byte(many)).Message; got != "1; 2; 3" {
		t.Errorf("of five messages: %q, want three", got)
	}
	for _, body := range []string{strings.Repeat("text ", 1000), "<title>" + strings.Repeat("t", 1000), `{"object":"` + strings.Repeat("o", 1000) + `"}`} {
		if what, _, _ := wire.Instead([]byte(body)); len(what) > 250 {
			t.Errorf("%.20q is described in %d bytes", body, len(what))
		}
	}
}

func TestASpentQuotaIsKnownInEveryEnvelope(t *testing.T) {
	for _, body := range []string{
		`{"error":{"code":"insufficient_quota"}}`, `{"error":{"type":"insufficient_quota","code":null}}`, `{"error":[{"code":"credit_balance_exhausted"}]}`,
		`{"errors":[{"code":"billing_hard_limit_reached"}]}`, `{"detail":{"error":{"code":"project_spend_limit_exceeded"}}}`, `{"error":"organization_usage_limit_exceeded","message":"m"}`,
		`{"Code":"insufficient_quota"}`, `[{"error":{"type":"organization_spend_limit_exceeded"}}]`,
	} {
		if !wire.ParseError([]byte(body)).QuotaSpent() {
			t.Errorf("%s: not known", body)
		}
	}
	for _, body := range []string{`{"error":{"code":"rate_limit_exceeded","message":"insufficient_quota"}}`, `insufficient_quota`, ``} {
		if wire.ParseError([]byte(body)).QuotaSpent() {
			t.Errorf("%s: taken for a spent quota", body)
		}
	}
}

func TestAnErrorInAnEventIsFound(t *testing.T) {
	type e = wire.Error
	for _, tc := range []struct {
		typ, data string
		want      e
		ok        bool
	}{
		{"", `{"error":{"message":"m","code":"c"}}`, e{Code: "c", Message: "m"}, true},
		{"", "{\n\t\"id\" : 1 ,\r\n\"error\"\n: {\"message\":\"m\"}}", e{Message: "m"}, true},
		{"odd", `{"choices":[],"error":{"message":"m"}}`, e{Message: "m"}, true},
		{"", `{"error":"text"}`, e{Message: "text"}, true},
		{"", `{"error":["text"]}`, e{Message: "text"}, true},
		{"error", `{"code":"c","message":"m"}`, e{Code: "c", Message: "m"}, true},
		{"error", `plain`, e{Message: "plain"}, true},
		{"", `{"type":"error","code":"c","message":"m"}`, e{Code: "c", Type: "error", Message: "m"}, true},
		{"response.created", `{"type":"error","message":"m"}`, e{Type: "error", Message: "m"}, true},
		{"response.failed", `{"response":{"error":{"code":"server_error","message":"m"}}}`, e{Code: "server_error", Message: "m"}, true},
		{"", `{"type":"response.failed","response":{"error":{"message":"m"}}}`, e{Message: "m"}, true},
		{"response.failed", `{"response":{}}`, e{Message: "the response has failed, and the service does not say why"}, true},
		{"", `{"error":{"message":"cut`, e{Message: `{"error":{"message":"cut`}, true},
		{"", `{"error":null}`, e{}, false}, {"", `{"error" : null,"choices":[]}`, e{}, false}, {"error", `{"error":null}`, e{}, false},
		{"", `{"error":{}}`, e{}, false}, {"", `{"error":""}`, e{}, false}, {"", `{"error":false}`, e{}, false}, {"", `{"error":[]}`, e{}, false},
		{"", `{"choices":[{"delta":{"content":"error"}}]}`, e{}, false},
		{"", `{"choices":[{"delta":{"content":"{\"error\":{\"message\":\"m\"}}"}}]}`, e{}, false},
		{"", `{"choices":[{"error":{"message":"m"}}]}`, e{}, false},
		{"response.created", `{"type":"response.created","response":{"error":null}}`, e{}, false},
		{"response.incomplete", `{"type":"response.incomplete","response":{"error":null}}`, e{}, false},
		{"", `the "error"`, e{}, false}, {"", ``, e{}, false}, {"", `["error"]`, e{}, false},
	} {
		got, ok := wire.InEvent(tc.typ, []byte(tc.data))
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("%s, %s: %+v, %t; want %+v, %t", tc.typ, tc.data, got, ok, tc.want, tc.ok)
		}
	}
}

func TestABodyThatHoldsOnlyAnErrorIsTold(t *testing.T) {
	for body, want := range map[string]bool{
		`{"error":{"message":"m"}}`: true, "\n{\"error\":{\"code\":402},\"user_id\":\"u\"}": true, `{"id":"x","error":{"message":"m"}}`: true,
		`{"object":"error","message":"m"}`: true, `{"type":"error","error":{"message":"m"}}`: true, `{"success":false,"errors":[{"message":"m"}],"result":null}`: true,
		`{"error":null}`: false, `{"id":"resp_1","object":"response","status":"failed","error":{"message":"m"},"output":[]}`: false,
		`{"error":{"message":"m"},"choices":[{"index":0}]}`: false, `{"data":[{"error":1}]}`: false, `{"object":"list","error":"x"}`: false,
		`{}`: false, ``: false, `null`: false, `[{"error":{"message":"m"}}]`: false, `{"error":{"message":"cut`: false, `{"detail":"error"}`: false,
	} {
		if _, ok := wire.OnlyError([]byte(body)); ok != want {
			t.Errorf("%s: %t, want %t", body, ok, want)
		}
	}
}

func TestWhatCameInsteadOfAStreamIsNamed(t *testing.T) {
	for body, want := range map[string]string{
		"": "empty", " \r\n": "empty", `{"object":"chat.completion","choices":[]}`: `a JSON document ("chat.completion")`, `{"a":1}`: "a JSON document",
		`[1]`: "a JSON document", `{"cut":`: "a JSON document", "<!doctype html><title>Sign in</title>": `an HTML page ("Sign in")`, "<html>": "an HTML page",
		"<?xml version='1.0'?><a/>": "a document of XML", "upstream down": `text ("upstream down")`, `{"error":{"message":"m"}}`: "an error",
	} {
		what, e, refused := wire.Instead([]byte(body))
		if what != want || refused != (want == "an error") || refused && e.Message != "m" {
			t.Errorf("%s: %s, %+v, %t; want %s", body, what, e, refused, want)
		}
	}
}

func FuzzParseError(f *testing.F) {
	for _, tc := range errorShapes() {
		f.Add([]byte(tc.body), "error")
		f.Add([]byte(tc.body), "")
	}
	f.Fuzz(func(t *testing.T, body []byte, typ string) {
		e := wire.ParseError(body)
		if again := wire.ParseError(body); again != e {
			t.Errorf("%+v, then %+v", e, again)
		}
		for _, text := range []string{e.Code, e.Type, e.Param, e.Message} {
			if len(text) > 3*len(body)+200 {
				t.Errorf("%d bytes of a body of %d", len(text), len(body))
			}
		}
		if in, ok := wire.InEvent(typ, body); ok && in == (wire.Error{}) && len(body) > 20 && typ == "" {
			t.Errorf("an error that says nothing: %q", body)
		}
		if only, ok := wire.OnlyError(body); ok && only != e {
			t.Errorf("%+v alone, %+v else", only, e)
		}
		_, _, _ = wire.Instead(body)
	})
}
