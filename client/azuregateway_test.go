package client_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
	"github.com/latchkey-go/latchkey/middleware"
)

// A gateway wants its subscription key, the service behind it a token.
type gateway struct {
	keys, tokens       *clienttest.Service
	keySent, tokenSent atomic.Int64
}

func (g *gateway) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(req.URL.Path, "/team/openai/") {
		return answer(req, 404, `{"statusCode":404,"message":"Resource not found"}`), nil
	}
	g.keys.SetFlavor(clienttest.APIM)
	g.tokens.SetFlavor(clienttest.AzureOpenAI)
	g.keySent.Add(1)
	resp, err := g.keys.RoundTrip(clone(req))
	if err != nil || resp.StatusCode != 200 {
		return resp, err
	}
	g.tokenSent.Add(1)
	out := clone(req)
	out.URL.Path = strings.TrimPrefix(out.URL.Path, "/team")
	return g.tokens.RoundTrip(out)
}

func clone(req *http.Request) *http.Request {
	out := req.Clone(req.Context())
	if req.Body != nil {
		data, _ := io.ReadAll(req.Body)
		req.Body, out.Body = io.NopCloser(bytes.NewReader(data)), io.NopCloser(bytes.NewReader(data))
	}
	return out
}

func TestAGatewaysKeyGoesBesideTheCredential(t *testing.T) {
	azuretest.ClearEnv(t)
	g := &gateway{keys: clienttest.NewService("sub-CANARY-1"), tokens: clienttest.NewService("eyJ.CANARY-1")}
	keys, tokens := credentialtest.NewStore("sub-CANARY-1"), credentialtest.NewStore("")
	token := func(s string) credential.Value {
		return credential.Value{Secret: credential.NewSecret(s), Scheme: credential.BearerToken}
	}
	tokens.SetValue(token("eyJ.CANARY-1"))
	c, err := client.New(client.Config{BaseURL: "https://gw.example/team/openai/v1/", Source: tokens, SubscriptionKey: keys, Transport: g})
	if err != nil {
		t.Fatal(err)
	}
	call := func(step string, keyReads, tokenReads int) {
		t.Helper()
		if _, err := c.Post(t.Context(), "chat/completions", chatRequest, nil); err != nil {
			t.Errorf("%s: %v", step, err)
		}
		if keys.Reads() != keyReads || tokens.Reads() != tokenReads {
			t.Errorf("%s: %d reads of the key, %d of the token; want %d, %d", step, keys.Reads(), tokens.Reads(), keyReads, tokenReads)
		}
	}
	call("at first", 1, 1)
	g.keys.Rotate("sub-CANARY-2")
	keys.Rotate("sub-CANARY-2")
	call("the gateway's key is rotated", 2, 1)
	g.tokens.Rotate("eyJ.CANARY-2")
	tokens.SetValue(token("eyJ.CANARY-2"))
	call("the token is replaced", 2, 2)
	g.keys.Rotate("sub-CANARY-3")
	keys.Rotate("sub-CANARY-3")
	g.tokens.Rotate("eyJ.CANARY-3")
	tokens.SetValue(token("eyJ.CANARY-3"))
	call("both", 3, 3)
}

func TestAGatewaysKeyInsteadOfTheCredential(t *testing.T) {
	azuretest.ClearEnv(t)
	server := clienttest.NewServer("sub-CANARY-1")
	defer server.Close()
	server.SetFlavor(clienttest.APIM)
	store := credentialtest.NewStore("sub-CANARY-1")
	c, err := client.New(client.Config{
		BaseURL: server.Origin + "/team/openai/v1/", Source: store, KeyHeader: "Ocp-Apim-Subscription-Key", Cache: &credential.CacheOptions{Grace: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, next := range []string{"sub-CANARY-1", "sub-CANARY-2"} {
		server.Rotate(next)
		store.Rotate(next)
		if _, err := c.Post(t.Context(), "chat/completions", chatRequest, nil); err != nil {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	server.Rotate("")
	_, err = c.Post(t.Context(), "chat/completions", chatRequest, nil)
	if e := (*client.Error)(nil); !errors.As(err, &e) || !strings.Contains(e.Hint(), "subscription") {
		t.Errorf("got %v", err)
	}
}

// Both secrets are covered, wherever the gateway echoes them.
func TestAGatewayThatEchoesShowsNeitherSecret(t *testing.T) {
	azuretest.ClearEnv(t)
	for _, status := range []int{302, 400, 401, 500} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			echo := r.Header.Get("Ocp-Apim-Subscription-Key") + " " + r.Header.Get("Authorization")
			w.Header().Set("X-Echo", echo)
			w.Header().Set("WWW-Authenticate", "AzureApiManagementKey "+echo)
			w.WriteHeader(status)
			if status < 400 {
				return // such bodies pass as they are
			}
			_, _ = io.WriteString(w, `{"statusCode":401,"message":"invalid subscription key `+echo+`"}`)
		}))
		c, err := client.New(client.Config{
			BaseURL: server.URL, Retry: &middleware.RetryOptions{MaxRetries: -1}, SubscriptionKey: credential.Static(credential.NewSecret("sub-CANARY-1"), credential.APIKey),
			Source: credential.Static(credential.NewSecret("eyJ.CANARY-1"), credential.BearerToken),
		})
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Post(t.Context(), "chat/completions", chatRequest, nil)
		text := fmt.Sprintf("%v %+v", res, err)
		if e := (*client.Error)(nil); errors.As(err, &e) {
			text += e.Message
		}
		if strings.Contains(text, "CANARY") || res == nil {
			t.Errorf("status %d: a secret shows", status)
		}
		server.Close()
	}
}

func TestAzuresRefusalsSayWhatToDo(t *testing.T) {
	azuretest.ClearEnv(t)
	for wants, tc := range map[string]struct {
		status int
		body   string
	}{
		"Cognitive Services OpenAI User":  {401, `{"error":{"code":"PermissionDenied","message":"Principal does not have access to API/Operation."}}`},
		"another scope or tenant":         {401, `{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired."}`},
		"another tenant":                  {400, `{"error":{"code":"Tenant provided in token does not match resource token","message":"x"}}`},
		"private endpoint":                {403, `{"error":{"code":"403","message":"Public access is disabled. Please configure private endpoint."}}`},
		"takes no keys":                   {403, `{"error":{"code":"AuthenticationTypeDisabled","message":"Key based authentication is disabled for this resource."}}`},
		"no deployment of that name":      {404, `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}`},
		"API Management wants a key":      {401, `{"statusCode":401,"message":"Access denied due to missing subscription key."}`},
		"does not know this subscription": {401, `{"statusCode":401,"message":"Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription."}`},
		"key is of another resource":      {401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}`},
	} {
		c := inMemory(t, client.Config{BaseURL: "https://r.openai.azure.com", Cache: &credential.CacheOptions{Grace: -1}}, func(req *http.Request) (*http.Response, error) {
			return answer(req, tc.status, tc.body), nil
		})
		_, err := c.Post(t.Context(), "chat/completions", chatRequest, nil)
		if e := (*client.Error)(nil); !errors.As(err, &e) || !strings.Contains(e.Hint(), wants) {
			t.Errorf("got %v, want a hint with %q", err, wants)
		}
	}
}

func TestConnectionErrorsToAzureSayWhatToDo(t *testing.T) {
	azuretest.ClearEnv(t)
	for wants, cause := range map[string]error{
		"privatelink.openai.azure.com": &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "r.openai.azure.com", IsNotFound: true}},
		"check the clock":              x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired},
		"Config.RootCAs":               x509.UnknownAuthorityError{},
	} {
		c := inMemory(t, client.Config{BaseURL: "https://r.openai.azure.com"}, func(*http.Request) (*http.Response, error) { return nil, cause })
		_, err := c.Post(t.Context(), "chat/completions", chatRequest, nil)
		if err == nil || !strings.Contains(err.Error(), wants) {
			t.Errorf("got %v, want an error with %q", err, wants)
		}
	}
}

// A hint names the cloud that the endpoint is in.
func TestHintsNameTheCloudOfTheEndpoint(t *testing.T) {
	azuretest.ClearEnv(t)
	const token, private = `{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid, audience is incorrect (x), or have expired."}`, `{"error":{"code":"403","message":"Public access is disabled."}}`
	for base, want := range map[string][3]string{
		"https://r.openai.azure.com":                                     {"https://cognitiveservices.azure.com/.default, that of the public cloud", "privatelink.openai.azure.com", "privatelink.openai.azure.com"},
		"https://r.openai.azure.us":                                      {"https://cognitiveservices.azure.us/.default, that of Azure Government", "privatelink.openai.azure.us", "privatelink.openai.azure.us"},
		"https://r.cognitiveservices.azure.cn":                           {"https://cognitiveservices.azure.cn/.default, that of 21Vianet", "privatelink.cognitiveservices.azure.cn", "privatelink.cognitiveservices.azure.cn"},
		"https://gw.example/openai/deployments/d?api-version=2024-10-21": {"or that of the resource's cloud", "privatelink.openai.azure.com", "privatelink.openai.azure.com"},
	} {
		for i, answered := range []func(*http.Request) (*http.Response, error){
			func(req *http.Request) (*http.Response, error) { return answer(req, 401, token), nil },
			func(req *http.Request) (*http.Response, error) { return answer(req, 403, private), nil },
			func(*http.Request) (*http.Response, error) {
				return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
			},
		} {
			c := inMemory(t, client.Config{BaseURL: base, Cache: &credential.CacheOptions{Grace: -1}}, answered)
			if _, err := c.Post(t.Context(), "chat/completions", chatRequest, nil); err == nil || !strings.Contains(err.Error(), want[i]) {
				t.Errorf("%s: got %v, want %q", base, err, want[i])
			}
		}
	}
}
