package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

const invalidKey = `{"error":{"message":"Incorrect API key provided.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`

// service answers 200 to goodKey and 401 to every other.
func service(t testing.TB, sent *[]string) tripFunc {
	return func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				t.Error(err)
			}
			_ = req.Body.Close()
		}
		key := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
		*sent = append(*sent, key)
		if key == goodKey {
			return answer(req, 200, "ok"), nil
		}
		return answer(req, 401, invalidKey), nil
	}
}

func TestAuthReplacesARejectedKeyAndSendsAgain(t *testing.T) {
	src := &keys{key: deadKey}
	var sent []string
	bodies := 0
	base := service(t, &sent)
	rt := newAuth(t, src, nil, func(req *http.Request) (*http.Response, error) {
		data, _ := io.ReadAll(req.Body)
		if string(data) == "prompt" {
			bodies++
		}
		src.set(goodKey)
		return base(req)
	})
	req := post(t, chat, "prompt")
	resp, err := rt.RoundTrip(req)
	if err != nil || resp.StatusCode != 200 || readBody(t, resp) != "ok" {
		t.Fatalf("the call failed: %v", err)
	}
	if len(sent) != 2 || sent[0] != deadKey || sent[1] != goodKey || bodies != 2 || src.count() != 2 {
		t.Errorf("%d sends, %d whole bodies, %d reads; want 2 each, the second with the new key", len(sent), bodies, src.count())
	}
	if resp.Request != req || len(req.Header) != 0 {
		t.Error("the response does not carry the caller's own, unchanged request")
	}
}

func TestAuthReturnsTheServicesOwn401WhenNothingElseIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &keys{key: deadKey}
		var sent []string
		rt := newAuth(t, src, nil, service(t, &sent))
		for call := range 3 {
			resp, err := rt.RoundTrip(post(t, chat, "prompt"))
			if err != nil || resp.StatusCode != 401 || readBody(t, resp) != invalidKey {
				t.Fatalf("call %d did not get the service's 401: %v", call, err)
			}
		}
		if len(sent) > 4 {
			t.Errorf("%d sends for three calls, want two for the first and then one each", len(sent))
		}
	})
}

func TestAuthSendsAtMostFourTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		src := &keys{key: "sk-CANARY-0"}
		sends := 0
		rt := newAuth(t, src, nil, func(req *http.Request) (*http.Response, error) {
			sends++
			n++
			src.set(fmt.Sprintf("sk-CANARY-%d", n)) // a store that always has another one
			return answer(req, 401, invalidKey), nil
		})
		resp, err := rt.RoundTrip(post(t, chat, "prompt"))
		if err != nil || resp.StatusCode != 401 || sends != 4 {
			t.Errorf("%d sends, err %v; want 4 and the 401", sends, err)
		}
	})
}

func TestAuthDoesNotReplaceWhatAnotherKeyCannotCure(t *testing.T) {
	for name, body := range map[string]string{
		"azure role":       `{"error":{"code":"PermissionDenied","message":"Principal does not have access to API/Operation."}}`,
		"not a member":     `{"error":{"message":"You must be a member of an organization to use the API","code":null}}`,
		"organization":     `{"error":{"message":"OpenAI-Organization header should match organization for API key","code":"mismatched_organization"}}`,
		"ip":               `{"error":{"message":"Your IP is refused","code":"ip_not_authorized"}}`,
		"no key":           `{"error":{"message":"You didn't provide an API key. You need to","type":"invalid_request_error","code":null}}`,
		"apim missing key": `{"statusCode":401,"message":"Access denied due to missing subscription key. Make sure to include"}`,
	} {
		t.Run(name, func(t *testing.T) {
			src := &keys{key: deadKey}
			sends := 0
			rt := newAuth(t, src, nil, func(req *http.Request) (*http.Response, error) {
				sends++
				return answer(req, 401, body), nil
			})
			resp, err := rt.RoundTrip(post(t, chat, "prompt"))
			if err != nil || resp.StatusCode != 401 || readBody(t, resp) != body {
				t.Fatalf("want the service's own 401, got %v", err)
			}
			if sends != 1 || src.count() != 1 {
				t.Errorf("%d sends, %d reads; want 1 and 1", sends, src.count())
			}
		})
	}
}

func TestAuthReplacesOnEveryCurable401(t *testing.T) {
	for name, tc := range map[string][2]string{
		"openai":             {"", invalidKey},
		"invalid auth":       {"", `{"error":{"message":"Invalid Authentication","type":"invalid_request_error","code":null}}`},
		"azure key":          {"", `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}`},
		"azure token":        {"", `{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired."}`},
		"apim":               {"", `{"statusCode":401,"message":"Access denied due to invalid subscription key. Make sure to provide"}`},
		"not json":           {"", "<html>no</html>"},
		"wrong types":        {"", `{"error":{"code":[1],"message":{"a":1}}}`},
		"empty":              {"", ""},
		"string error":       {"", `{"error":"Unauthorized"}`},
		"cae beats the body": {`Bearer error="insufficient_claims", claims="eyJ9"`, `{"error":{"code":"PermissionDenied"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			src := &keys{key: deadKey}
			rt := newAuth(t, src, nil, func(req *http.Request) (*http.Response, error) {
				if req.Header.Get("Authorization") == "Bearer "+goodKey {
					return answer(req, 200, ""), nil
				}
				src.set(goodKey)
				return answer(req, 401, tc[1], "WWW-Authenticate", tc[0]), nil
			})
			if resp, err := rt.RoundTrip(post(t, chat, "prompt")); err != nil || resp.StatusCode != 200 {
				t.Errorf("not cured: %v", err)
			}
		})
	}
}

func TestAuthNeverReplaysABodyThatCannotBeHadAgain(t *testing.T) {
	src := &keys{key: deadKey}
	var sent []string
	base := service(t, &sent)
	rt := newAuth(t, src, nil, func(req *http.Request) (*http.Response, error) {
		defer src.set(goodKey)
		return base(req)
	})
	req := post(t, chat, "prompt")
	req.GetBody = nil
	resp, err := rt.RoundTrip(req)
	if err != nil || resp.StatusCode != 401 || len(sent) != 1 {
		t.Fatalf("%d sends, err %v; want the 401 of one send", len(sent), err)
	}
	resp, err = rt.RoundTrip(post(t, chat, "prompt"))
	if err != nil || resp.StatusCode != 200 || len(sent) != 2 {
		t.Errorf("%d sends, err %v; want the next call to have the new key at once", len(sent), err)
	}
}

func TestAuthDropsEveryCredentialOfTheCaller(t *testing.T) {
	for _, tc := range []struct {
		header string
		scheme credential.Scheme
		want   map[string]string
	}{
		{"", credential.APIKey, map[string]string{"Authorization": "Bearer " + goodKey}},
		{"api-key", credential.APIKey, map[string]string{"Api-Key": goodKey}},
		{"API-KEY", credential.BearerToken, map[string]string{"Authorization": "Bearer " + goodKey}},
		{"Ocp-Apim-Subscription-Key", credential.APIKey, map[string]string{"Ocp-Apim-Subscription-Key": goodKey}},
		{"X-Gateway-Key", credential.APIKey, map[string]string{"X-Gateway-Key": goodKey}},
		{"X-Gateway-Key", credential.BearerToken, map[string]string{"Authorization": "Bearer " + goodKey}},
		{"x-gateway-key", credential.BearerToken, map[string]string{"Authorization": "Bearer " + goodKey}},
	} {
		var got http.Header
		rt := newAuth(t, credential.Static(credential.NewSecret(goodKey), tc.scheme), &middleware.AuthOptions{KeyHeader: tc.header},
			func(req *http.Request) (*http.Response, error) { got = req.Header; return answer(req, 200, ""), nil })
		req := post(t, chat, "prompt")
		for _, name := range []string{"Authorization", "authorization", "AUTHORIZATION", "api-key", "Api-Key", "X-Api-Key", "x-api-key",
			"ocp-apim-subscription-key", "Ocp-Apim-Subscription-Key", tc.header} {
			if name != "" {
				req.Header[name] = []string{"Bearer sk-CANARY-of-the-caller"}
			}
		}
		req.Header.Set("Accept", "application/json")
		before := len(req.Header)
		if _, err := rt.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(tc.want)+1 || got.Get("Accept") == "" || len(req.Header) != before {
			t.Errorf("KeyHeader %q: %d headers sent, want %d; the caller's request must stay", tc.header, len(got), len(tc.want)+1)
		}
		for name, value := range tc.want {
			if vv := got[name]; len(vv) != 1 || vv[0] != value {
				t.Errorf("KeyHeader %q: %s does not carry the credential", tc.header, name)
			}
		}
	}
}

// net/http sends again by itself what was never written, and over HTTP/2 what
// was not processed. With one of these headers it sends any request again that
// a broken connection may have carried.
func TestAuthKeepsGetBodyFromTheTransportWhereItWouldSendUncounted(t *testing.T) {
	for header, want := range map[string]bool{"": true, "Idempotency-Key": false, "X-Idempotency-Key": false} {
		rt := newAuth(t, &keys{key: goodKey}, nil, func(req *http.Request) (*http.Response, error) {
			if got := req.GetBody != nil; got != want {
				t.Errorf("%q: GetBody reached the transport: %t", header, got)
			}
			return answer(req, 200, ""), nil
		})
		req := post(t, chat, "prompt")
		if header != "" {
			req.Header.Set(header, "1")
		}
		if _, err := rt.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAuthReturnsTheErrorOfTheSourceAndClosesTheBody(t *testing.T) {
	cause := &credential.SourceError{Source: "keys", Err: credential.ErrNotFound}
	rt := newAuth(t, &keys{key: goodKey, err: cause}, nil, func(*http.Request) (*http.Response, error) {
		t.Error("sent without a credential")
		return nil, io.EOF
	})
	req := post(t, chat, "prompt")
	body := &closeCounter{Reader: strings.NewReader("x")}
	req.Body = body
	if _, err := rt.RoundTrip(req); !errors.Is(err, credential.ErrNotFound) {
		t.Errorf("got %v, want the source's error", err)
	}
	if body.closed != 1 {
		t.Errorf("the body was closed %d times, want once", body.closed)
	}
}

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }

func TestRetryLeavesErrorsOfTheSourceAlone(t *testing.T) {
	cause := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED} // of a custom source, which wraps nothing
	src := &keys{key: goodKey, err: cause}
	retry, err := middleware.Retry(&middleware.RetryOptions{BaseDelay: 1})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	inner := newAuth(t, src, nil, nil)
	_, err = retry(tripFunc(func(req *http.Request) (*http.Response, error) {
		asked++
		return inner.RoundTrip(req)
	})).RoundTrip(post(t, chat, "prompt"))
	if !errors.Is(err, syscall.ECONNREFUSED) || asked != 1 {
		t.Errorf("%v after %d attempts, want the source's error after one", err, asked)
	}
}

// HTTP/2 calls it an unexpected EOF.
func TestRetrySendsAgainWhenAnHTTP2ConnectionIsLost(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			_, _ = io.Copy(io.Discard, r.Body)
			(*r.Context().Value(connKey{}).(*net.Conn)).Close()
		}
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, &c) }
	server.StartTLS()
	defer server.Close()
	retry, err := middleware.Retry(&middleware.RetryOptions{BaseDelay: 1})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := retry(server.Client().Transport).RoundTrip(post(t, server.URL, "prompt"))
	if err != nil || resp.ProtoMajor != 2 || n.Load() != 2 {
		t.Fatalf("%v after %d sends, want an answer over HTTP/2 to the second", err, n.Load())
	}
	_ = resp.Body.Close()
}

type connKey struct{}

func TestAuthRedactsWhatAHostileServerEchoes(t *testing.T) {
	for status := range map[int]bool{307: true, 400: true, 401: true, 403: true, 429: true, 500: true} {
		rt := newAuth(t, &keys{key: goodKey}, nil, func(req *http.Request) (*http.Response, error) {
			resp := answer(req, status, `{"error":{"code":"PermissionDenied","message":"`+goodKey+`"}}`,
				"Location", "https://evil.example/?k="+goodKey, "WWW-Authenticate", "Bearer "+goodKey)
			resp.Status = "401 " + goodKey
			resp.Trailer = http.Header{"X-Echo": {goodKey}}
			return resp, nil
		})
		resp, err := rt.RoundTrip(post(t, chat, "prompt"))
		if err != nil {
			t.Fatal(err)
		}
		said := resp.Status + fmt.Sprint(resp.Header) + fmt.Sprint(resp.Trailer) + readBody(t, resp)
		if strings.Contains(said, goodKey) {
			t.Errorf("status %d: the echoed key came through", status)
		}
	}
}

func TestAuthRedactsTransportErrors(t *testing.T) {
	cause := errors.New("boom")
	rt := newAuth(t, &keys{key: goodKey}, nil, func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("malformed HTTP status code %q: %w", goodKey, cause)
	})
	_, err := rt.RoundTrip(post(t, chat, "prompt"))
	if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), goodKey) {
		t.Error("the error is nil or shows the key")
	}
	if !errors.Is(err, cause) {
		t.Error("the error does not match its cause any more")
	}
}

func TestAuthRefusesNonsense(t *testing.T) {
	cache := newCache(t, &keys{key: goodKey})
	if _, err := middleware.Auth(nil, api, nil); err == nil {
		t.Error("a nil cache was accepted")
	}
	for _, name := range []string{"a b", "a\r\nb", "é", "Authorization", "host", "cookie", "content-length", "x:y"} {
		if _, err := middleware.Auth(cache, api, &middleware.AuthOptions{KeyHeader: name}); err == nil {
			t.Errorf("KeyHeader %q was accepted", name)
		}
	}
}

func BenchmarkAuth(b *testing.B) {
	resp := answer(nil, 200, "")
	rt := newAuth(b, &keys{key: goodKey}, nil, func(*http.Request) (*http.Response, error) { return resp, nil })
	req := post(b, chat, "prompt")
	req.Header = http.Header{"Accept": {"*/*"}, "Content-Type": {"application/json"}, "User-Agent": {"x"}, "X-A": {"y"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rt.RoundTrip(req); err != nil {
			b.Fatal(err)
		}
	}
}
