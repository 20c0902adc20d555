package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// forward is a step of a redirect; the target is what Location says.
type target struct {
	name, location string
	hops           int // requests that stay on the origin, the first included
	stays          bool
}

var targets = []target{
	{"other host", "https://evil.example/", 1, false},
	{"subdomain", "https://x.api.example.com/", 1, false},
	{"parent domain", "https://example.com/", 1, false},
	{"our name as a prefix", "https://api.example.com.evil.example/", 1, false},
	{"other port", "https://api.example.com:8443/v1/chat/completions", 1, false},
	{"https to http", "http://api.example.com/v1/chat/completions", 1, false},
	{"http on our port", "http://api.example.com:443/", 1, false},
	{"user information", "https://user:pass@api.example.com/", 1, false},
	{"our name as a user", "https://api.example.com@evil.example/", 1, false},
	{"without a scheme", "//evil.example/v1/chat/completions", 1, false},
	{"backslash", `https:\\evil.example\`, 1, false},
	{"trailing dot", "https://api.example.com./", 1, false},
	{"address", "https://127.0.0.1/", 1, false},
	{"address of a metadata service", "http://169.254.169.254/latest/meta-data/", 1, false},
	{"file", "file:///etc/passwd", 1, false},
	{"chain of three", "https://api.example.com/hop1", 3, false},
	{"relative", "/v1/elsewhere", 2, true},
	{"same origin spelled out", "https://API.example.com:443/v1/elsewhere", 2, true},
}

var headers = []struct {
	name   string
	scheme credential.Scheme
}{
	{"", credential.APIKey},
	{"", credential.BearerToken},
	{"api-key", credential.APIKey},
	{"Ocp-Apim-Subscription-Key", credential.APIKey},
	{"X-Api-Key", credential.APIKey},
	{"X-Gateway-Key", credential.APIKey},
}

// TestRedirectsNeverCarryACredentialOffItsOrigin is P7 as a matrix.
func TestRedirectsNeverCarryACredentialOffItsOrigin(t *testing.T) {
	cases := 0
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, to := range targets {
			for _, h := range headers {
				cases++
				if err := redirected(t, code, to, h.name, h.scheme); err != nil {
					t.Errorf("%d to %s with the header %q: %v", code, to.name, h.name, err)
				}
			}
		}
	}
	if cases < 450 {
		t.Errorf("%d cases, want at least 450", cases)
	}
	t.Logf("%d redirects", cases)
}

// redirected makes one call that is redirected and says what went wrong.
func redirected(t *testing.T, code int, to target, header string, scheme credential.Scheme) error {
	src := &counted{v: credential.Value{Secret: credential.NewSecret(key), Scheme: scheme}}
	var hour atomic.Int64
	onOrigin := 0
	var leak error
	c := inMemory(t, client.Config{
		Source: src, KeyHeader: header,
		// The value is too old at each look, so that the source hears of each.
		Cache: &credential.CacheOptions{Now: func() time.Time { return time.Unix(hour.Add(7200), 0) }},
	}, func(req *http.Request) (*http.Response, error) {
		if req.URL.Scheme != "https" || !strings.EqualFold(strings.TrimSuffix(req.URL.Host, ":443"), "api.example.com") || req.URL.User != nil {
			leak = fmt.Errorf("a request to %s was sent", req.URL.Host)
			return answer(req, 200, ""), nil
		}
		onOrigin++
		switch req.URL.Path {
		case "/v1/chat/completions":
			return answer(req, code, "", "Location", to.location), nil
		case "/hop1":
			return answer(req, code, "", "Location", "/hop2"), nil
		case "/hop2":
			return answer(req, code, "", "Location", "https://evil.example/"), nil
		}
		return answer(req, 200, "ok"), nil
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/v1/chat/completions", strings.NewReader("prompt"))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer placeholder")
	resp, err := c.HTTPClient().Do(req)
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	switch {
	case leak != nil:
		return leak
	case to.stays && (err != nil || resp.StatusCode != 200):
		return fmt.Errorf("a redirect within the origin failed: %w", err)
	case !to.stays && err == nil:
		return errors.New("it did not fail")
	case !to.stays && !errors.Is(err, middleware.ErrOrigin):
		return fmt.Errorf("want ErrOrigin: %w", err)
	case onOrigin != to.hops || src.reads.Load() != int64(to.hops):
		return fmt.Errorf("%d requests on the origin and %d reads of the source, want %d", onOrigin, src.reads.Load(), to.hops)
	}
	return nil
}

// The same with real listeners: nothing so much as connects to the other one.
func TestRedirectsNeverConnectElsewhere(t *testing.T) {
	var mu sync.Mutex
	connections := 0
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		connections++
	}))
	defer evil.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		var seen atomic.Int64
		good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Api-Key") == key {
				seen.Add(1)
			}
			http.Redirect(w, r, evil.URL, code)
		}))
		c, err := client.New(client.Config{Source: static(), BaseURL: good.URL, KeyHeader: "api-key"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Post(t.Context(), "chat/completions", map[string]string{"a": "b"}, nil)
		if !errors.Is(err, middleware.ErrOrigin) || seen.Load() != 1 {
			t.Errorf("%d: %v after %d requests, want ErrOrigin after one", code, err, seen.Load())
		}
		good.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	if connections != 0 {
		t.Errorf("%d requests reached the other server", connections)
	}
}
