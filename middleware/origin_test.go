package middleware_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/middleware"
)

func TestAuthChecksTheOriginBeforeItAsksForACredential(t *testing.T) {
	at := func(u string) func(*http.Request) {
		return func(req *http.Request) {
			parsed, err := url.Parse(u)
			if err != nil {
				panic(err)
			}
			req.URL, req.Host = parsed, ""
		}
	}
	for name, change := range map[string]func(*http.Request){
		"other host":         at("https://evil.example/v1/"),
		"subdomain":          at("https://x.api.example.com/v1/"),
		"parent":             at("https://example.com/v1/"),
		"suffix":             at("https://api.example.com.evil.example/v1/"),
		"prefix":             at("https://evilapi.example.com/v1/"),
		"port":               at("https://api.example.com:8443/v1/"),
		"port 80":            at("https://api.example.com:80/v1/"),
		"http":               at("http://api.example.com/v1/"),
		"http on 443":        at("http://api.example.com:443/v1/"),
		"websocket":          at("wss://api.example.com/v1/"),
		"upper case scheme":  func(r *http.Request) { r.URL.Scheme = "HTTPS" },
		"no scheme":          func(r *http.Request) { r.URL.Scheme = "" },
		"user":               at("https://user@api.example.com/v1/"),
		"user as host":       at("https://api.example.com@evil.example/v1/"),
		"trailing dot":       at("https://api.example.com./v1/"),
		"kelvin sign":        func(r *http.Request) { r.URL.Host = "api.example.\u212Aom" },
		"full width":         func(r *http.Request) { r.URL.Host = "api\uff0eexample.com" },
		"nul":                func(r *http.Request) { r.URL.Host = "api.example.com\x00" },
		"space":              func(r *http.Request) { r.URL.Host = " api.example.com" },
		"escaped":            func(r *http.Request) { r.URL.Host = "api.example%2ecom" },
		"empty host":         func(r *http.Request) { r.URL.Host = "" },
		"opaque":             func(r *http.Request) { r.URL.Opaque = "//evil.example/v1" },
		"nil URL":            func(r *http.Request) { r.URL = nil },
		"other Host header":  func(r *http.Request) { r.Host = "evil.example" },
		"Host header's port": func(r *http.Request) { r.Host = "api.example.com:8443" },
		"CONNECT":            func(r *http.Request) { r.Method = http.MethodConnect },
	} {
		t.Run(name, func(t *testing.T) {
			src := &keys{key: goodKey}
			rt := newAuth(t, src, nil, func(req *http.Request) (*http.Response, error) {
				t.Error("it was sent")
				return answer(req, 200, ""), nil
			})
			req := post(t, chat, "")
			body := &closeCounter{Reader: strings.NewReader("x")}
			req.Body = body
			change(req)
			_, err := rt.RoundTrip(req)
			if !errors.Is(err, middleware.ErrOrigin) {
				t.Errorf("got %v, want ErrOrigin", err)
			}
			if src.count() != 0 || body.closed != 1 {
				t.Errorf("%d reads of the source and %d closes of the body, want 0 and 1", src.count(), body.closed)
			}
		})
	}
}

func TestAuthServesItsOriginInEverySpelling(t *testing.T) {
	for _, u := range []string{
		"https://api.example.com/v1/x", "https://API.Example.COM/v1/x", "https://api.example.com:443/", "https://api.example.com",
	} {
		for _, host := range []string{"", "api.example.com", "api.example.com:443", "API.example.com"} {
			rt := newAuth(t, &keys{key: goodKey}, nil, func(req *http.Request) (*http.Response, error) { return answer(req, 200, ""), nil })
			req := post(t, u, "")
			req.Host = host
			if _, err := rt.RoundTrip(req); err != nil {
				t.Errorf("%s with the Host %q: %v", u, host, err)
			}
		}
	}
}

func TestAuthTakesOriginsOnly(t *testing.T) {
	cache := newCache(t, &keys{key: goodKey})
	for _, s := range []string{
		"https://a.example", "https://a.example/", "https://a.example:8443", "HTTPS://A.example", "https://[2001:db8::1]:8443",
		"http://localhost:8080", "http://127.0.0.1", "http://[::1]:1", "https://xn--bcher-kva.example",
	} {
		if _, err := middleware.Auth(cache, s, nil); err != nil {
			t.Errorf("%q was refused: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "a.example", "//a.example", "https://", "https:a.example", "ftp://a.example", "https://a.example/v1", "https://a.example?x", "https://a.example?",
		"https://a.example#f", "https://a.example:0", "https://a.example:65536", "https://a.example:99999999999", "https://a.example:08", "https://bücher.example",
		"http://a.example", "http://localhost.evil.example", "http://10.0.0.1", "http://0.0.0.0", "https://a.example.", "https://a b.example", "https://a\r\n.example",
		"https://user:sk-CANARY@a.example", "https://sk-CANARY@a.example", "https://a.example:sk-CANARY",
	} {
		_, err := middleware.Auth(cache, s, nil)
		if err == nil {
			t.Errorf("%q was accepted", strings.ReplaceAll(s, "CANARY", "..."))
		} else if strings.Contains(err.Error(), "CANARY") {
			t.Error("the error quotes what may be a password")
		}
	}
}

// httputil.ReverseProxy hands on a copy of the request that it received.
func TestAuthSendsTheURLOfARequestThatAServerReceived(t *testing.T) {
	rt := newAuth(t, &keys{key: goodKey}, nil, func(req *http.Request) (*http.Response, error) {
		if req.RequestURI != "" || req.URL.String() != chat {
			t.Errorf("sent with RequestURI %q to %s", req.RequestURI, req.URL)
		}
		return answer(req, 200, ""), nil
	})
	req := post(t, chat, "prompt")
	req.RequestURI = "https://evil.example/"
	if _, err := rt.RoundTrip(req); err != nil || req.RequestURI == "" {
		t.Errorf("error %v, or the caller's request was changed", err)
	}
}
