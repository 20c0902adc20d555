package client_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
)

func TestBaseURLTakesWhatPeopleHave(t *testing.T) {
	clearEnv(t)
	for base, want := range map[string]string{
		"":                                      "https://api.openai.com/v1/chat/completions",
		"https://a.example":                     "https://a.example/chat/completions",
		"https://a.example/v1":                  "https://a.example/v1/chat/completions",
		" https://a.example/v1/\n":              "https://a.example/v1/chat/completions",
		"https://a.example/v1?x=1":              "https://a.example/v1/chat/completions?x=1",
		"https://a.example/a%2Fb/":              "https://a.example/a%2Fb/chat/completions",
		"https://a.example:8443/p/q":            "https://a.example:8443/p/q/chat/completions",
		"http://localhost:1234/v1":              "http://localhost:1234/v1/chat/completions",
		"https://R.openai.azure.com/openai/v1/": "https://R.openai.azure.com/openai/v1/chat/completions",
	} {
		got := ""
		c, err := client.New(client.Config{Source: static(), BaseURL: base, Transport: tripFunc(func(req *http.Request) (*http.Response, error) {
			got = req.URL.String()
			return answer(req, 200, "{}"), nil
		})})
		if err != nil {
			t.Errorf("%q: %v", base, err)
			continue
		}
		if _, err := c.Post(t.Context(), "/chat/completions", nil, nil); err != nil || got != want {
			t.Errorf("%q: sent to %q (%v), want %q", base, got, err, want)
		}
	}
}

func TestBaseURLRefusesWhatIsNoBase(t *testing.T) {
	for _, base := range []string{
		"api.openai.com/v1", "ftp://a.example", "https://", "https:/a.example", "mailto:a@b", "http://a.example/v1", "https://a.example/v1#x",
		"https://a.example/../v1", "https://a.example/%2e%2e/", "https://a.example/%zz", "https://a.example/a\\b", "https://a.example:0/", "https://bücher.example",
		"https://user:sk-CANARY@a.example/", "https://sk-CANARY@a.example", "https://a.example:sk-CANARY/", "https://a.example/\x7fsk-CANARY",
	} {
		_, err := client.New(client.Config{Source: static(), BaseURL: base})
		switch {
		case err == nil:
			t.Errorf("%q was accepted", strings.ReplaceAll(base, "CANARY", "..."))
		case strings.Contains(err.Error(), "CANARY"):
			t.Error("the error quotes what may be a password")
		}
	}
}

func TestPostStaysBelowTheBaseURL(t *testing.T) {
	c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		t.Errorf("sent to %s", req.URL)
		return answer(req, 200, "{}"), nil
	})
	for _, path := range []string{
		"", "/", "?a=b", "https://evil.example/x", "//evil.example/x", "../admin", "files/../../admin", "files/%2e%2e/x", "a/./b", `a\b`, "a#b", "a\r\nb", "%zz",
		"a/%0d%0a", "mailto:x", "/\\evil.example",
	} {
		if _, err := c.Post(t.Context(), path, nil, nil); err == nil {
			t.Errorf("%q was accepted", path)
		}
	}
}

func TestPostKeepsEscapesAndQueries(t *testing.T) {
	for path, want := range map[string]string{
		"files/a%2Fb":                 "/v1/files/a%2Fb",
		"files/a b":                   "/v1/files/a%20b",
		"responses/r1?include[]=a&x=": "/v1/responses/r1?include[]=a&x=",
		"/models/ü":                   "/v1/models/%C3%BC",
	} {
		got := ""
		c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
			got = req.URL.RequestURI()
			return answer(req, 200, "{}"), nil
		})
		if _, err := c.Post(t.Context(), path, nil, nil); err != nil || got != want {
			t.Errorf("%q: sent to %q (%v), want %q", path, got, err, want)
		}
	}
}

func FuzzBaseURL(f *testing.F) {
	f.Add("https://a.example/v1", "chat/completions")
	f.Add("http://localhost:1/", "../x")
	f.Add("https://[::1]:8443/a%2Fb/?q", "files/%2e%2e")
	f.Fuzz(func(t *testing.T, base, path string) {
		clearEnv(t)
		var sent *url.URL
		c, err := client.New(client.Config{Source: static(), BaseURL: base, Transport: tripFunc(func(req *http.Request) (*http.Response, error) {
			sent = req.URL
			return answer(req, 200, "{}"), nil
		})})
		if err != nil {
			return
		}
		if _, err := c.Post(t.Context(), path, nil, nil); err != nil {
			return
		}
		// New has accepted the base: the host is one that stands in it, and no
		// path leads out of what was called first.
		text := strings.ToLower(base)
		if base == "" {
			text = client.DefaultBaseURL
		}
		if sent == nil || sent.User != nil || sent.Host == "" || !strings.Contains(text, "://"+strings.ToLower(sent.Host)) && !strings.Contains(text, "/"+strings.ToLower(sent.Host)) {
			t.Fatalf("base %q, path %q: sent to %v", base, path, sent)
		}
		if sent.Scheme != "https" && (sent.Scheme != "http" || !strings.Contains(text, "http://")) {
			t.Fatalf("base %q: sent by %s", base, sent.Scheme)
		}
		root := c.String()
		root = root[strings.Index(root, "://")+3:]
		root = root[strings.IndexByte(root, '/'):strings.LastIndex(root, ", ")]
		root, _, _ = strings.Cut(root, "?")
		if strings.Contains(root, "...") {
			return // a part of it is not shown
		}
		if !strings.HasPrefix(sent.EscapedPath(), root) || strings.Contains(sent.Path, "/../") {
			t.Fatalf("base %q, path %q: sent to %v, out of %s", base, path, sent, root)
		}
	})
}
