package client_test

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

func secretOf(text string) credential.Source {
	return credential.Static(credential.NewSecret(text), credential.APIKey)
}

// A fallback has an address and a credential of its own: those of the

// environment are the first endpoint's.

func TestNewRefusesAFallbackThatIsIncomplete(t *testing.T) {
	clearEnv(t)
	t.Setenv("OPENAI_API_KEY", key)
	t.Setenv("OPENAI_BASE_URL", "https://env.example/v1/")
	whole := client.Endpoint{BaseURL: "https://b.example/v1/", Source: static()}
	for name, tc := range map[string]struct {
		change func(*client.Endpoint)
		says   string
	}{
		"no BaseURL":       {func(e *client.Endpoint) { e.BaseURL = "" }, "BaseURL is empty"},
		"no Source":        {func(e *client.Endpoint) { e.Source = nil }, "Source is nil"},
		"a nil Cache":      {func(e *client.Endpoint) { e.Source = (*credential.Cache)(nil) }, "nil *credential.Cache"},
		"a BaseURL of ftp": {func(e *client.Endpoint) { e.BaseURL = "ftp://b.example" }, ""},
		"an organization":  {func(e *client.Endpoint) { e.Organization = "a b" }, "header"},
		"a weight":         {func(e *client.Endpoint) { e.Weight = -1 }, "Weight"},
	} {
		broken := whole
		tc.change(&broken)
		_, err := client.New(client.Config{Fallbacks: []client.Endpoint{whole, broken}})
		if err == nil || !strings.Contains(err.Error(), tc.says) || tc.says != "Weight" && !strings.HasPrefix(err.Error(), "client: Fallbacks[1]: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	cache, err := credential.NewCache(static(), nil)
	if err != nil {
		t.Fatal(err)
	}
	whole.Source = cache // which has options of its own
	if _, err := client.New(client.Config{Cache: &credential.CacheOptions{}, Fallbacks: []client.Endpoint{whole}}); err != nil {
		t.Errorf("a Cache for a fallback beside options of another: %v", err)
	}
}

// moved returns a client whose first endpoint is down and the request that its

// fallback gets, with its body read.

func moved(t *testing.T, cfg client.Config) (*client.Client, func() (*http.Request, string)) {
	t.Helper()
	var got *http.Request
	var body string
	first := strings.TrimPrefix(cfg.BaseURL, "https://")
	first, _, _ = strings.Cut(first, "/")
	cfg.Retry = &middleware.RetryOptions{MaxRetries: 1}
	c := inMemory(t, cfg, func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			text, err := io.ReadAll(req.Body)
			if err != nil {
				return nil, err
			}
			_ = req.Body.Close()
			body = string(text)
		}
		if strings.EqualFold(req.URL.Host, first) {
			return dead(0, req, "")
		}
		got = req
		return answer(req, 200, "{}"), nil
	})
	return c, func() (*http.Request, string) {
		t.Helper()
		if got == nil {
			t.Fatal("the fallback got nothing")
		}
		return got, body
	}
}

func send(t *testing.T, c *client.Client, method, url string, body io.Reader, header ...string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.HTTPClient().Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

// What names the account at the first endpoint stays there: the organization,

// the project, the deployment, the api-version and the query of its address.

// Everything else moves.

func TestTheFirstAccountIsNotNamedToAFallback(t *testing.T) {
	clearEnv(t)
	t.Setenv("OPENAI_ORG_ID", "org-env")
	t.Setenv("OPENAI_PROJECT_ID", "proj-env")
	dated := client.Config{
		BaseURL: "https://" + east, APIVersion: "2024-10-21",
		Fallbacks: []client.Endpoint{{BaseURL: "https://api.example.com/v1/", Source: secretOf("CANARY-b")}},
	}
	c, got := moved(t, dated)
	if err := send(t, c, "POST", "https://EAST.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21&x=1&&y", strings.NewReader("{}"),
		"OpenAI-Organization", "org-caller", "OpenAI-Project", "proj-caller", "X-Other", "1"); err != nil {
		t.Fatal(err)
	}
	req, _ := got()
	if url := req.URL.String(); url != "https://api.example.com/v1/chat/completions?x=1&y" {
		t.Errorf("the fallback got %s", url)
	}
	if h := req.Header; h["Openai-Organization"] != nil || h["Openai-Project"] != nil || h.Get("X-Other") != "1" || req.Host != "" && req.Host != "api.example.com" {
		t.Errorf("the fallback got %v at host %q", h.Get("X-Other"), req.Host)
	}

	gateway := client.Config{
		BaseURL: "https://gw.example/v1/?team=7",
		Fallbacks: []client.Endpoint{{
			BaseURL: "https://api.example.com/proxy/v1/?pool=2", Source: secretOf("CANARY-b"), Organization: "org-b", Project: "proj-b",
		}},
	}
	c, got = moved(t, gateway)
	if _, err := c.Do(t.Context(), "GET", "files/a%2Fb?x=1", nil, nil); err == nil {
		t.Error("a file was looked for at a fallback")
	}
	const there = "https://api.example.com/proxy/v1/chat/completions?pool=2"
	if err := send(t, c, "POST", "https://gw.example/v1/chat/completions", strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	if req, _ = got(); req.URL.String() != there {
		t.Errorf("the fallback got %s", req.URL)
	}
	if _, err := c.Do(t.Context(), "POST", "chat/completions?x=1", map[string]any{"model": "m"}, nil); err != nil {
		t.Fatal(err)
	}
	if req, _ = got(); req.URL.String() != there+"&x=1" {
		t.Errorf("the fallback got %s", req.URL)
	}
	if h := req.Header; h.Get("OpenAI-Organization") != "org-b" || h.Get("OpenAI-Project") != "proj-b" {
		t.Errorf("the fallback got the account %q, %q", h.Get("OpenAI-Organization"), h.Get("OpenAI-Project"))
	}
}

// A request that is not for the first endpoint is moved nowhere, and refused:

// its credential is for the addresses below the base URL alone.

func TestWhatIsNotBelowTheBaseURLIsNotMoved(t *testing.T) {
	sends := 0
	c := inMemory(t, client.Config{
		BaseURL:   "https://a.example/v1/",
		Fallbacks: []client.Endpoint{{BaseURL: "https://b.example/v1/", Source: secretOf("CANARY-b"), Priority: -1}},
	}, func(req *http.Request) (*http.Response, error) {
		sends++
		return answer(req, 200, "{}"), nil
	})
	for _, url := range []string{"https://a.example/v2/chat/completions", "https://c.example/v1/chat/completions", "http://a.example/v1/chat/completions", "https://b.example/v1/chat/completions"} {
		if err := send(t, c, "POST", url, strings.NewReader("{}")); (err == nil) != strings.Contains(url, "b.example") || err != nil && !errors.Is(err, middleware.ErrOrigin) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if sends != 1 {
		t.Errorf("%d sends, want the one to the fallback's own address", sends)
	}
	body := &closeCounter{Reader: strings.NewReader("{}"), closed: new(int)}
	if _, err := c.HTTPClient().Transport.RoundTrip(&http.Request{Method: "POST", Body: body}); err == nil || *body.closed == 0 {
		t.Errorf("without a URL: %v, closed %d times", err, *body.closed)
	}
}

func formOf(t *testing.T, parts ...string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i+1 < len(parts); i += 2 {
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {parts[i]}, "X-Other": {"1"}})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(part, parts[i+1])
	}
	_ = w.Close()
	return b.String(), w.FormDataContentType()
}

// A renaming is a body, and what the endpoint gets of it; nothing is the same.

type renaming struct{ body, contentType, want string }
