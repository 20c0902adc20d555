package middleware_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

func TestAuthRefusesASubscriptionKeyThatCannotBeSent(t *testing.T) {
	cache := newCache(t, &keys{key: goodKey})
	for name, opts := range map[string]*middleware.AuthOptions{
		"a nil Cache":     {SubscriptionKey: (*credential.Cache)(nil)},
		"the same header": {SubscriptionKey: cache, KeyHeader: "ocp-apim-subscription-key"},
	} {
		if _, err := middleware.Auth(cache, api, opts); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// Each body is that of a service which says it in no other way.
func TestARefusalIsKnownByEachOfItsSigns(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		header []string
	}{
		"Google's reason":     {400, `{"error":{"message":"m","details":[{"reason":"x"},{"metadata":{"reason":"API_KEY_INVALID"}}]}}`, nil},
		"Google's message":    {400, `{"error":{"message":"API key not valid. Please pass a valid API key."}}`, nil},
		"Google's other one":  {400, `{"error":{"message":"API key expired. Please renew the API key."}}`, nil},
		"LiteLLM's type":      {400, `{"error":{"message":"m","type":"expired_key"}}`, nil},
		"LiteLLM's message":   {400, `{"error":{"message":"Authentication Error, m"}}`, nil},
		"AWS's header":        {403, `{"message":"m"}`, []string{"X-Amzn-ErrorType", "ExpiredTokenException:http://x/"}},
		"AWS's message":       {403, `{"message":"The security token included in the request is expired"}`, nil},
		"AWS's type":          {403, `{"__type":"x#UnrecognizedClientException","message":"m"}`, nil},
		"Azure's code":        {403, `{"error":{"code":"AuthenticationTypeDisabled","message":"m"}}`, nil},
		"the status, no body": {401, "", nil},
	} {
		src, sends := &keys{key: deadKey}, 0
		rt := newAuth(t, src, nil, func(req *http.Request) (*http.Response, error) {
			if sends++; sends > 1 {
				return answer(req, 200, ""), nil
			}
			src.set(goodKey)
			return answer(req, tc.status, tc.body, append([]string{"Content-Type", "application/json"}, tc.header...)...), nil
		})
		if resp, err := rt.RoundTrip(post(t, chat, "prompt")); err != nil || resp.StatusCode != 200 || sends != 2 {
			t.Errorf("%s: %d sends, %v; want the replay", name, sends, err)
		}
	}
}

// A refusal of the gateway is told by its challenge where its body says nothing.
func TestTheGatewaysChallengeTellsWhichKeyItRefuses(t *testing.T) {
	gateway, src := &keys{key: gatewayKey}, &keys{key: goodKey}
	sends := 0
	rt := newAuth(t, src, &middleware.AuthOptions{SubscriptionKey: newCache(t, gateway)}, func(req *http.Request) (*http.Response, error) {
		if sends++; sends > 1 {
			return answer(req, 200, ""), nil
		}
		gateway.set("another-CANARY-key")
		return answer(req, 401, "", "WWW-Authenticate", `AzureApiManagementKey realm="https://x", name="Ocp-Apim-Subscription-Key", type="header"`), nil
	})
	if resp, err := rt.RoundTrip(post(t, chat, "prompt")); err != nil || resp.StatusCode != 200 || src.count() != 1 || gateway.count() != 2 {
		t.Errorf("%v, %d reads of the key, %d of the gateway's; want 1 and 2", err, src.count(), gateway.count())
	}
}

// The Cancel channel of a request must not cost a goroutine that stays: the
// bubble would not end.
func TestACallWithACancelChannelLeavesNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &keys{key: deadKey}
		rt := newAuth(t, src, nil, func(req *http.Request) (*http.Response, error) {
			if src.count() == 1 {
				src.set(goodKey)
				return answer(req, 401, ""), nil
			}
			return answer(req, 200, ""), nil
		})
		req := post(t, chat, "prompt")
		//lint:ignore SA1019 callers still use it
		req.Cancel = make(chan struct{}) //nolint:staticcheck // callers still use it
		if resp, err := rt.RoundTrip(req); err != nil || resp.StatusCode != 200 {
			t.Errorf("the call failed: %v", err)
		}
	})
}

// A log without Auth below it takes what the request carries for the credential.
func TestALogWithoutAuthHidesWhatTheRequestCarries(t *testing.T) {
	for header, value := range map[string]string{
		"Authorization": "Bearer " + goodKey, "Api-Key": goodKey, "X-Api-Key": goodKey, "Ocp-Apim-Subscription-Key": goodKey,
	} {
		var out bytes.Buffer
		log := middleware.Log(jsonLogger(&out), nil)
		req := post(t, chat, "")
		req.Header.Set(header, value)
		resp, err := log(tripFunc(func(req *http.Request) (*http.Response, error) {
			return answer(req, 200, "", "X-Request-Id", "of "+goodKey), nil
		})).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
		if out.Len() == 0 || shows(out.String()) {
			t.Errorf("%s: nothing is logged, or the key", header)
		}
	}
}

func TestAFailureIsLoggedAtTheLevelThatIsHigher(t *testing.T) {
	for level, want := range map[slog.Level]string{slog.LevelInfo: "WARN", slog.LevelError: "ERROR"} {
		var out bytes.Buffer
		log := middleware.Log(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), &middleware.LogOptions{Level: level})
		_, _ = log(tripFunc(failure(errors.New("down")))).RoundTrip(post(t, chat, ""))
		if got := logLines(t, &out)[0]["level"]; got != want {
			t.Errorf("Level %v: a failure is logged at %v, want %s", level, got, want)
		}
	}
}

// What is no credential is not taken for one: the text of an error stays whole.
func TestTheGuardRedactsNothingButCredentials(t *testing.T) {
	rt := middleware.StreamGuard()(tripFunc(func(req *http.Request) (*http.Response, error) {
		return answer(req, 200, "<html><title>text/event-stream of my-program</title></html>", "Content-Type", "text/event-stream"), nil
	}))
	req := post(t, chat, "")
	req.Header = http.Header{"Accept": {"text/event-stream"}, "User-Agent": {"my-program"}, "Idempotency-Key": {"my-program"}}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil || !strings.Contains(err.Error(), "text/event-stream of my-program") {
		t.Errorf("got %v", err)
	}
}

func TestAnOriginOverPlainHTTPFollowsNoRedirect(t *testing.T) {
	src := &keys{key: goodKey}
	auth, err := middleware.Auth(newCache(t, src), "http://gateway.internal:8080", &middleware.AuthOptions{PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	rt := auth(tripFunc(func(req *http.Request) (*http.Response, error) { return answer(req, 200, ""), nil }))
	req := post(t, "http://gateway.internal:8080/v1/x", "")
	if _, err := rt.RoundTrip(req); err != nil {
		t.Errorf("a request that follows none: %v", err)
	}
	req.Response = answer(nil, 307, "")
	if _, err := rt.RoundTrip(req); !errors.Is(err, middleware.ErrOrigin) || src.count() != 1 {
		t.Errorf("a redirect: %v, want ErrOrigin", err)
	}
}

func TestAnOriginIsNamedAsItIsWritten(t *testing.T) {
	auth, err := middleware.Auth(newCache(t, &keys{key: goodKey}), "https://[2001:db8::1]:8443", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = auth(tripFunc(failure(nil))).RoundTrip(post(t, chat, ""))
	if err == nil || !strings.Contains(err.Error(), "https://[2001:db8::1]:8443") {
		t.Errorf("got %v, want the origin with its brackets", err)
	}
	for _, port := range []string{"8a43", "8443a", "+443", "0x1bb"} {
		req := post(t, chat, "")
		req.URL = &url.URL{Scheme: "https", Host: "api.example.com:" + port, Path: "/v1/x"}
		rt := newAuth(t, &keys{key: goodKey}, nil, func(req *http.Request) (*http.Response, error) {
			t.Errorf("sent to port %s", port)
			return answer(req, 200, ""), nil
		})
		if _, err := rt.RoundTrip(req); !errors.Is(err, middleware.ErrOrigin) {
			t.Errorf("port %s: %v, want ErrOrigin", port, err)
		}
	}
}
