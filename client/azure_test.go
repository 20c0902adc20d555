package client_test

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
	"github.com/latchkey-go/latchkey/middleware"
)

// sentURL returns where a client with that environment and configuration sends
// a chat, or what New says.
func sentURL(t *testing.T, env map[string]string, cfg client.Config) (string, error) {
	t.Helper()
	azuretest.ClearEnv(t)
	for name, value := range env {
		t.Setenv(name, value)
	}
	got := ""
	cfg.Source = static()
	cfg.Transport = tripFunc(func(req *http.Request) (*http.Response, error) {
		got = req.URL.String()
		return answer(req, 200, "{}"), nil
	})
	c, err := client.New(cfg)
	if err != nil {
		return "", err
	}
	_, err = c.Post(t.Context(), "chat/completions", map[string]string{"model": "gpt"}, nil)
	return got, err
}

func TestAzuresEndpointIsCompletedByItsVersion(t *testing.T) {
	const r, dated = "https://r.openai.azure.com", "2024-10-21"
	deployed := r + "/openai/deployments/gpt/chat/completions?api-version=" + dated
	v1 := r + "/openai/v1/chat/completions"
	type env = map[string]string
	for i, tc := range []struct {
		env  env
		cfg  client.Config
		want string
	}{
		{env{"AZURE_OPENAI_ENDPOINT": r + "/"}, client.Config{}, v1},
		{env{"AZURE_OPENAI_ENDPOINT": r, "OPENAI_API_VERSION": dated}, client.Config{}, deployed},
		{env{"AZURE_OPENAI_ENDPOINT": r, "OPENAI_API_VERSION": "v1"}, client.Config{}, v1},
		{env{"AZURE_OPENAI_ENDPOINT": r, "OPENAI_API_VERSION": "preview"}, client.Config{}, v1 + "?api-version=preview"},
		{env{"AZURE_OPENAI_ENDPOINT": r, "OPENAI_API_VERSION": "2025-04-01-preview"}, client.Config{APIVersion: dated}, deployed},
		{env{"AZURE_OPENAI_ENDPOINT": r, "OPENAI_BASE_URL": r + "/openai/v1/"}, client.Config{}, v1},
		{env{"AZURE_OPENAI_ENDPOINT": "https://other.openai.azure.com", "OPENAI_API_VERSION": dated}, client.Config{BaseURL: r}, deployed},
		{env{"OPENAI_BASE_URL": r + "/openai/v1/", "OPENAI_API_VERSION": dated}, client.Config{}, v1},
		{env{"OPENAI_API_VERSION": dated}, client.Config{BaseURL: "https://api.openai.com/v1"}, "https://api.openai.com/v1/chat/completions"},
		{nil, client.Config{BaseURL: r, APIVersion: dated}, deployed},
		{nil, client.Config{BaseURL: r + "/openai", APIVersion: dated}, deployed},
		{nil, client.Config{BaseURL: r + "/openai/?api-version=" + dated}, deployed},
		{nil, client.Config{BaseURL: r + "/openai/deployments/mine/", APIVersion: dated}, strings.Replace(deployed, "/gpt/", "/mine/", 1)},
		{nil, client.Config{BaseURL: r, APIVersion: dated, Deployment: "a b"}, strings.Replace(deployed, "/gpt/", "/a%20b/", 1)},
		{nil, client.Config{BaseURL: r + "/openai/v1"}, v1},
		{nil, client.Config{BaseURL: "https://r.services.ai.azure.com/api/projects/p/openai/v1/"}, "https://r.services.ai.azure.com/api/projects/p/openai/v1/chat/completions"},
		{nil, client.Config{BaseURL: "https://r.services.ai.azure.com/models"}, "https://r.services.ai.azure.com/models/chat/completions"},
		{env{"AZURE_OPENAI_ENDPOINT": "https://gw.example/team"}, client.Config{}, "https://gw.example/team/openai/v1/chat/completions"},
		{env{"AZURE_OPENAI_ENDPOINT": "https://gw.example/team/openai"}, client.Config{APIVersion: dated}, "https://gw.example/team/openai/deployments/gpt/chat/completions?api-version=" + dated},
	} {
		if got, err := sentURL(t, tc.env, tc.cfg); got != tc.want {
			t.Errorf("%d: sent to %q (%v), want %q", i, got, err, tc.want)
		}
	}
}

func TestContradictoryEndpointsAreRefused(t *testing.T) {
	const r = "https://r.openai.azure.com"
	type env = map[string]string
	for wants, tc := range map[string]struct {
		env env
		cfg client.Config
	}{
		"name different servers":         {env{"AZURE_OPENAI_ENDPOINT": r, "OPENAI_BASE_URL": "https://api.openai.com/v1/"}, client.Config{}},
		"APIVersion is dated":            {nil, client.Config{BaseURL: r + "/openai/v1/", APIVersion: "2024-10-21"}},
		"needs an APIVersion":            {nil, client.Config{BaseURL: r + "/openai/deployments/d/"}},
		"malformed; want a date":         {env{"AZURE_OPENAI_ENDPOINT": r, "OPENAI_API_VERSION": "2024-1-1"}, client.Config{}},
		"unresolved Key Vault reference": {env{"AZURE_OPENAI_ENDPOINT": "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)"}, client.Config{}},
		"Deployment holds":               {nil, client.Config{BaseURL: r, APIVersion: "2024-10-21", Deployment: "../x"}},
		"same header":                    {nil, client.Config{BaseURL: r, KeyHeader: "ocp-apim-subscription-key", SubscriptionKey: static()}},
		"nil *credential.Cache":          {nil, client.Config{BaseURL: r, SubscriptionKey: (*credential.Cache)(nil)}},
	} {
		if _, err := sentURL(t, tc.env, tc.cfg); err == nil || !strings.Contains(err.Error(), wants) {
			t.Errorf("got %v, want an error with %q", err, wants)
		}
	}
}

// A key goes into api-key, a token into Authorization, and neither into both.
func TestAzureGetsKeysAndTokensInTheirOwnHeader(t *testing.T) {
	azuretest.ClearEnv(t)
	for name, tc := range map[string]struct {
		base, header string
		scheme       credential.Scheme
		want         string
	}{
		"key, resource":        {"https://r.openai.azure.com/openai/v1/", "", credential.APIKey, "Api-Key"},
		"key, upper case":      {"https://R.OPENAI.AZURE.COM/openai/v1/", "", credential.APIKey, "Api-Key"},
		"key, port":            {"https://r.openai.azure.com:443/openai/v1/", "", credential.APIKey, "Api-Key"},
		"key, Foundry":         {"https://r.services.ai.azure.com/openai/v1/", "", credential.APIKey, "Api-Key"},
		"key, multi-service":   {"https://r.cognitiveservices.azure.com/openai/v1/", "", credential.APIKey, "Api-Key"},
		"key, government":      {"https://r.openai.azure.us/openai/v1/", "", credential.APIKey, "Api-Key"},
		"token":                {"https://r.openai.azure.com/openai/v1/", "", credential.BearerToken, "Authorization"},
		"key, named header":    {"https://r.openai.azure.com/openai/v1/", "X-Gateway-Key", credential.APIKey, "X-Gateway-Key"},
		"key, not Azure":       {"https://openai.azure.com.evil.example/openai/v1/", "", credential.APIKey, "Authorization"},
		"key, suffix in part":  {"https://evilopenai.azure.com/openai/v1/", "", credential.APIKey, "Authorization"},
		"key, azure in a path": {"https://a.example/r.openai.azure.com/", "", credential.APIKey, "Authorization"},
	} {
		c := inMemory(t, client.Config{
			Source: credential.Static(credential.NewSecret(key), tc.scheme), BaseURL: tc.base, KeyHeader: tc.header,
		}, func(req *http.Request) (*http.Response, error) {
			for _, h := range []string{"Api-Key", "Authorization", "X-Gateway-Key", "Ocp-Apim-Subscription-Key"} {
				if (req.Header.Get(h) != "") != (h == tc.want) {
					t.Errorf("%s: %s is sent: %t", name, h, req.Header.Get(h) != "")
				}
			}
			return answer(req, 200, "{}"), nil
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tc.base+"chat/completions", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Api-Key", "sk-CANARY-other")
		req.Header.Set("Authorization", "Bearer sk-CANARY-other")
		if _, err := c.HTTPClient().Do(req); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A key of OpenAI's, which many have in their environment, does not go to Azure.
func TestTheKeyOfTheEnvironmentIsTheEndpointsOwn(t *testing.T) {
	const ours, theirs = "sk-CANARY-azure", "sk-CANARY-openai"
	for name, tc := range map[string]struct {
		endpoint, base string
		keys           []string // AZURE_OPENAI_API_KEY, OPENAI_API_KEY
		want           string
	}{
		"both, endpoint":      {"https://r.openai.azure.com", "", []string{ours, theirs}, ours},
		"OpenAI's, endpoint":  {"https://r.openai.azure.com", "", []string{"", theirs}, ""},
		"both, base URL":      {"", "https://r.openai.azure.com/openai/v1/", []string{ours, theirs}, ours},
		"OpenAI's, base URL":  {"", "https://r.openai.azure.com/openai/v1/", []string{"", theirs}, theirs},
		"both, OpenAI itself": {"", "", []string{ours, theirs}, theirs},
	} {
		azuretest.ClearEnv(t)
		t.Setenv("AZURE_OPENAI_ENDPOINT", tc.endpoint)
		t.Setenv("AZURE_OPENAI_API_KEY", tc.keys[0])
		t.Setenv("OPENAI_API_KEY", tc.keys[1])
		sent := ""
		c, err := client.New(client.Config{BaseURL: tc.base, Transport: tripFunc(func(req *http.Request) (*http.Response, error) {
			sent = req.Header.Get("Api-Key") + strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
			return answer(req, 200, "{}"), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Post(t.Context(), "responses", nil, nil)
		if sent != tc.want || errors.Is(err, credential.ErrUnavailable) != (tc.want == "") {
			t.Errorf("%s: another key was sent than the endpoint's own, or %v", name, err)
		}
	}
}

// form has the model after the file, as openai-go writes it.
func form(t *testing.T, model string) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	file, err := w.CreateFormFile("file", "a.mp3")
	if err == nil {
		_, err = file.Write(bytes.Repeat([]byte("model\r\n--"), 10_000))
	}
	if err == nil && model != "" {
		err = w.WriteField("model", model)
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.FormDataContentType()
}

// A sending is a request and where it goes, or why not.
type sending struct {
	path, contentType string
	body              io.Reader
	deployment        string
	want              string // of the path, or of the error
}

func bodies(t *testing.T) []sending {
	audio, audioType := form(t, "whisper")
	bare, bareType := form(t, "")
	const asJSON = "application/json"
	type unread struct{ io.Reader } // without GetBody
	long := func() io.Reader {
		return unread{io.MultiReader(strings.NewReader(`{"model":"gpt","x":"`), strings.NewReader(strings.Repeat("x", middleware.MaxReplayBody)), strings.NewReader(`"}`))}
	}
	late := func() io.Reader {
		return unread{io.MultiReader(strings.NewReader(`{"x":"`), strings.NewReader(strings.Repeat("x", middleware.MaxReplayBody)), strings.NewReader(`","model":"gpt"}`))}
	}
	return []sending{
		{"chat/completions", asJSON, strings.NewReader(`{"messages":[{"model":"no"}],"model":"gpt-4o"}`), "", "deployments/gpt-4o/chat/completions"},
		{"completions", asJSON, strings.NewReader(`{"model":"a/b"}`), "", "no name of one"},
		{"embeddings", asJSON, strings.NewReader(`{"model":".."}`), "", "no name of one"},
		{"embeddings", asJSON, strings.NewReader(`{"model":"ada 2?"}`), "", "deployments/ada%202%3F/embeddings"},
		{"embeddings", asJSON, strings.NewReader(`{"model":7}`), "", "malformed"},
		{"embeddings", asJSON, strings.NewReader(`{"model":"` + strings.Repeat("x", 300) + `"}`), "", "malformed"},
		{"embeddings", asJSON, strings.NewReader(`[]`), "", "malformed"},
		{"embeddings", asJSON, strings.NewReader(`{}`), "", "names no model"},
		{"embeddings", asJSON, nil, "", "no body"},
		{"audio/speech", asJSON, strings.NewReader(`{"model":"tts"}`), "", "deployments/tts/audio/speech"},
		{"images/generations", asJSON, strings.NewReader(`{"model":"img"}`), "", "deployments/img/images/generations"},
		{"audio/transcriptions", audioType, bytes.NewReader(audio), "", "deployments/whisper/audio/transcriptions"},
		{"audio/translations", audioType, bytes.NewReader(audio), "", "deployments/whisper/audio/translations"},
		{"images/edits", audioType, unread{bytes.NewReader(audio)}, "", "deployments/whisper/images/edits"},
		{"images/edits", bareType, bytes.NewReader(bare), "", "names no model"},
		{"images/edits", "multipart/form-data", bytes.NewReader(audio), "", "malformed"},
		{"chat/completions", asJSON, long(), "", "deployments/gpt/chat/completions"},
		{"chat/completions", asJSON, late(), "", "cannot be read twice to find its model; set Config.Deployment"},
		{"chat/completions", asJSON, late(), "mine", "deployments/mine/chat/completions"},
		{"chat/completions", asJSON, strings.NewReader(`{"model":"gpt"}`), "mine", "deployments/mine/chat/completions"},
		{"deployments/other/chat/completions", asJSON, strings.NewReader(`{"model":"gpt"}`), "", "deployments/other/chat/completions"},
		{"responses", asJSON, strings.NewReader(`{"model":"gpt"}`), "", "responses"},
		{"files", bareType, bytes.NewReader(bare), "", "files"},
	}
}

func TestDatedVersionsFindTheDeploymentInTheBody(t *testing.T) {
	azuretest.ClearEnv(t)
	for i, tc := range bodies(t) {
		got, body := "", []byte(nil)
		c := inMemory(t, client.Config{BaseURL: "https://r.openai.azure.com", APIVersion: "2024-10-21", Deployment: tc.deployment}, func(req *http.Request) (*http.Response, error) {
			got = strings.TrimPrefix(req.URL.EscapedPath(), "/openai/")
			if v := req.URL.Query()["api-version"]; len(v) != 1 || v[0] != "2024-10-21" {
				t.Errorf("%d: api-version is %v", i, v)
			}
			if req.Body != nil {
				body, _ = io.ReadAll(req.Body)
			}
			return answer(req, 200, "{}"), nil
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://r.openai.azure.com/openai/"+tc.path, tc.body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tc.contentType)
		resp, err := c.HTTPClient().Do(req)
		switch {
		case err != nil && (got != "" || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%d, %s: %v, want %q", i, tc.path, err, tc.want)
		case err == nil && got != tc.want:
			t.Errorf("%d, %s: sent to %q, want %q", i, tc.path, got, tc.want)
		case err == nil && resp.Request.URL.Path != "/openai/"+tc.path:
			t.Errorf("%d: the caller's request has become that of %q", i, resp.Request.URL)
		case err == nil && tc.body != nil && len(body) == 0:
			t.Errorf("%d: the body did not arrive", i)
		}
	}
}

func TestRealtimeNamesItsDeploymentInTheQuery(t *testing.T) {
	azuretest.ClearEnv(t)
	got := ""
	c := inMemory(t, client.Config{BaseURL: "https://r.openai.azure.com", APIVersion: "2024-10-01-preview"}, func(req *http.Request) (*http.Response, error) {
		got = req.URL.RequestURI()
		return answer(req, 200, "{}"), nil
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://r.openai.azure.com/openai/realtime?model=rt", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.HTTPClient().Do(req); err != nil || got != "/openai/realtime?api-version=2024-10-01-preview&deployment=rt" {
		t.Errorf("sent to %q, %v", got, err)
	}
}

// What Azure's own paths and headers look like to a server that knows them.
func TestDatedCallsAreUnderstoodByAzure(t *testing.T) {
	azuretest.ClearEnv(t)
	server := clienttest.NewTLSServer(key)
	defer server.Close()
	server.SetFlavor(clienttest.AzureOpenAI)
	t.Setenv("AZURE_OPENAI_ENDPOINT", server.Origin)
	t.Setenv("OPENAI_API_VERSION", "2024-10-21")
	t.Setenv("AZURE_OPENAI_API_KEY", key)
	t.Setenv("OPENAI_ORG_ID", "org-of-openai")
	c, err := client.New(client.Config{RootCAs: server.CertPEM})
	if err != nil {
		t.Fatal(err)
	}
	server.SetJournal(true)
	server.Inject(clienttest.Fault{Times: 2, Status: http.StatusTooManyRequests, Header: http.Header{"X-Ms-Retry-After-Ms": {"1"}}})
	res, err := c.Post(t.Context(), "chat/completions", chatRequest, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.RateLimit.RemainingRequests != 499 || res.RateLimit.LimitRequests != -1 {
		t.Errorf("the rate limit is %+v", res.RateLimit)
	}
	for _, r := range server.Requests() {
		if r.Header.Get("Openai-Organization") != "" || !strings.HasPrefix(r.Path, "/openai/deployments/") {
			t.Errorf("%s, organization %q", r.Path, r.Header.Get("Openai-Organization"))
		}
	}
}
