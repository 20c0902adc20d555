package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

func TestPostSendsAndDecodesJSON(t *testing.T) {
	c := inMemory(t, client.Config{Organization: "org-1", Project: "proj-1"}, func(req *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(req.Body)
		if req.Method != http.MethodPost || string(body) != `{"model":"m"}` || req.ContentLength != 13 {
			t.Errorf("sent %s %q", req.Method, body)
		}
		for name, want := range map[string]string{
			"Authorization": "Bearer " + key, "Content-Type": "application/json", "Accept": "application/json",
			"OpenAI-Organization": "org-1", "OpenAI-Project": "proj-1",
		} {
			if req.Header.Get(name) != want {
				t.Errorf("%s is not what it has to be", name)
			}
		}
		return answer(req, 200, `{"id":"r1"}`, "X-Request-Id", "req-1", "Content-Type", "application/json",
			"X-Ratelimit-Limit-Requests", "500", "X-Ratelimit-Remaining-Requests", "499", "X-Ratelimit-Reset-Requests", "6m0s",
			"X-Ratelimit-Remaining-Tokens", "-1", "X-Ratelimit-Limit-Tokens", "many", "X-Ratelimit-Reset-Tokens", "17"), nil
	})
	var out struct{ ID string }
	res, err := c.Post(t.Context(), "responses", map[string]string{"model": "m"}, &out)
	if err != nil || out.ID != "r1" {
		t.Fatalf("%v, decoded %+v", err, out)
	}
	want := middleware.RateLimit{LimitRequests: 500, RemainingRequests: 499, LimitTokens: -1, RemainingTokens: -1,
		ResetRequests: 6 * time.Minute, ResetTokens: 17 * time.Second}
	if res.StatusCode != 200 || res.RequestID != "req-1" || res.RateLimit != want || res.Header.Get("Content-Type") == "" {
		t.Errorf("the Response says %+v", res)
	}
}

func TestPostTakesNilAndRawMessages(t *testing.T) {
	c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		body := ""
		if req.Body != nil {
			data, _ := io.ReadAll(req.Body)
			body = string(data)
		}
		return answer(req, 200, `{"got":`+string(must(json.Marshal(body)))+`}`), nil
	})
	var out json.RawMessage
	if _, err := c.Post(t.Context(), "x", nil, &out); err != nil || string(out) != `{"got":""}` {
		t.Errorf("nil: %v, %s", err, out)
	}
	if _, err := c.Post(t.Context(), "x", json.RawMessage(`[1]`), &out); err != nil || string(out) != `{"got":"[1]"}` {
		t.Errorf("raw: %v, %s", err, out)
	}
	if _, err := c.Post(t.Context(), "x", 1, nil); err != nil {
		t.Errorf("nil out: %v", err)
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		return []byte(err.Error())
	}
	return data
}

func TestPostReturnsTheServicesErrorTyped(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		header []string
		want   client.Error
		text   string
	}{
		"openai": {404, `{"error":{"message":"The model does not exist","type":"invalid_request_error","param":"model","code":"model_not_found"}}`,
			[]string{"X-Request-Id", "req-1"},
			client.Error{StatusCode: 404, Code: "model_not_found", Type: "invalid_request_error", Param: "model", Message: "The model does not exist", RequestID: "req-1"},
			`client: the service answered 404 Not Found, invalid_request_error, model_not_found: "The model does not exist" (request req-1)`},
		"quota": {429, `{"error":{"message":"m","type":"insufficient_quota","code":"credit_balance_exhausted"}}`, []string{"Retry-After", "7"},
			client.Error{StatusCode: 429, Code: "credit_balance_exhausted", Type: "insufficient_quota", Message: "m", RetryAfter: 7 * time.Second},
			`client: the service answered 429 Too Many Requests, insufficient_quota, credit_balance_exhausted: "m"`},
		"azure": {401, `{"error":{"code":"PermissionDenied","message":"Principal does not have access to API/Operation."}}`, []string{"Apim-Request-Id", "apim-1"},
			client.Error{StatusCode: 401, Code: "PermissionDenied", Message: "Principal does not have access to API/Operation.", RequestID: "apim-1"},
			`client: the service answered 401 Unauthorized, PermissionDenied (assign the role Cognitive Services OpenAI User on the resource to the identity; it takes some minutes to come into effect) (request apim-1)`},
		"apim": {403, `{"statusCode":403,"message":"Quota exceeded"}`, nil,
			client.Error{StatusCode: 403, Message: "Quota exceeded"}, `client: the service answered 403 Forbidden: "Quota exceeded"`},
		"string": {400, `{"error":"Unauthorized"}`, nil,
			client.Error{StatusCode: 400, Message: "Unauthorized"}, `client: the service answered 400 Bad Request: "Unauthorized"`},
		"numbers": {400, `{"error":{"code":17,"message":["x"],"type":{}}}`, nil,
			client.Error{StatusCode: 400, Code: "17", Message: "x"}, `client: the service answered 400 Bad Request, 17: "x"`},
		"page": {403, `<html>proxy</html>`, []string{"Content-Type", "text/html; charset=utf-8"},
			client.Error{StatusCode: 403}, `client: the service answered 403 Forbidden`},
		"text": {400, "no\xff", nil, client.Error{StatusCode: 400, Message: "no\uFFFD"}, "client: the service answered 400 Bad Request: \"no\uFFFD\""},
		"null": {400, `null`, nil, client.Error{StatusCode: 400}, `client: the service answered 400 Bad Request`},
		"3xx":  {304, ``, nil, client.Error{StatusCode: 304}, `client: the service answered 304 Not Modified`},
	} {
		t.Run(name, func(t *testing.T) {
			c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
				return answer(req, tc.status, tc.body, tc.header...), nil
			})
			var out map[string]any
			res, err := c.Post(t.Context(), "x", nil, &out)
			got := (*client.Error)(nil)
			if !errors.As(err, &got) || *got != tc.want || err.Error() != tc.text {
				t.Errorf("got  %v\n     %+v\nwant %s", err, got, tc.text)
			}
			if res == nil || res.StatusCode != tc.status || out != nil {
				t.Error("the Response does not tell the status, or out was touched")
			}
		})
	}
}

func TestErrorClipsALongMessage(t *testing.T) {
	err := &client.Error{StatusCode: 400, Message: strings.Repeat("ü", 10000)}
	if n := len(err.Error()); n > 700 {
		t.Errorf("%d bytes of error text", n)
	}
}

func TestPostErrorsNeverQuoteTheBody(t *testing.T) {
	for name, body := range map[string]string{
		"syntax": `{"a":"CANARY"`, "type": `{"ID":{"x":"CANARY"}}`, "number": `{"N":77777777777777777777777777777}`, "no json": "CANARY", "empty": "",
	} {
		c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) { return answer(req, 200, body), nil })
		var out struct {
			ID string
			N  int
		}
		_, err := c.Post(t.Context(), "x", nil, &out)
		if err == nil || strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "7777") || !strings.Contains(err.Error(), "byte") {
			t.Errorf("%s: the error is missing, quotes the body, or does not say where", name)
		}
	}
}

func TestPostRefusesWhatIsNoJSON(t *testing.T) {
	c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		t.Error("it was sent")
		return nil, io.EOF
	})
	for _, in := range []any{math.NaN(), func() {}, make(chan int)} {
		if _, err := c.Post(t.Context(), "x", in, nil); err == nil {
			t.Errorf("%T was accepted", in)
		}
	}
}

type endless struct{ sent int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.sent += len(p)
	return len(p), nil
}

func TestPostStopsReadingAtTheLimit(t *testing.T) {
	for _, out := range []any{nil, new(any)} {
		body := &endless{}
		c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 200, "")
			resp.Body, resp.ContentLength = io.NopCloser(body), math.MaxInt64
			return resp, nil
		})
		_, err := c.Post(t.Context(), "x", nil, out)
		if err == nil || body.sent > client.MaxResponseBody+1<<20 {
			t.Errorf("err %v after %d bytes, want an error at %d", err, body.sent, client.MaxResponseBody)
		}
	}
}

func TestPostReturnsTheContextsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		cancel()
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	if _, err := c.Post(ctx, "x", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNewRefusesContradictions(t *testing.T) {
	clearEnv(t)
	cache, err := credential.NewCache(static(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]client.Config{
		"nil cache":        {Source: (*credential.Cache)(nil)},
		"cache twice":      {Source: cache, Cache: &credential.CacheOptions{}},
		"negative timeout": {Cache: &credential.CacheOptions{Timeout: -1}},
		"CAs without PEM":  {RootCAs: []byte("nonsense")},
		"CAs, transport":   {RootCAs: []byte("x"), Transport: http.DefaultTransport},
		"organization":     {Organization: "a\r\nb"},
		"project":          {Project: "ü"},
		"key header":       {KeyHeader: "a b"},
	} {
		if _, err := client.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := client.New(client.Config{}); err != nil {
		t.Errorf("the zero Config: %v", err)
	}
}

func TestEnvironmentIsReadAsTheOfficialSDKDoes(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", key)
	t.Setenv("OPENAI_BASE_URL", "https://env.example/v9")
	t.Setenv("OPENAI_ORG_ID", "org-env")
	t.Setenv("OPENAI_PROJECT_ID", "proj-env")
	var got *http.Request
	c, err := client.New(client.Config{Transport: tripFunc(func(req *http.Request) (*http.Response, error) { got = req; return answer(req, 200, "{}"), nil })})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Post(t.Context(), "x", nil, nil); err != nil {
		t.Fatal(err)
	}
	if got.URL.String() != "https://env.example/v9/x" || got.Header.Get("Authorization") != "Bearer "+key ||
		got.Header.Get("OpenAI-Organization") != "org-env" || got.Header.Get("OpenAI-Project") != "proj-env" {
		t.Error("the environment was not honored")
	}
	req := must2(http.NewRequestWithContext(t.Context(), http.MethodGet, "https://env.example/v9/models", nil))
	req.Header.Set("OpenAI-Organization", "org-of-the-request")
	if _, err := c.HTTPClient().Do(req); err != nil || got.Header.Get("OpenAI-Organization") != "org-of-the-request" || got.Header.Get("OpenAI-Project") != "proj-env" {
		t.Error("a request's own organization has to win")
	}
}

func must2(req *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return req
}
