package openaiworkload_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
	"github.com/latchkey-go/latchkey/internal/platform"
)

// background is the context of a machine that tells nothing.
var background = platform.On(context.Background(), platform.Machine{OS: "linux", DMI: "testdata/none"})

// jwt is the n-th subject token of a test. No test prints one.
func jwt(n int) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"RS256","kid":"1"}`) + "." + part(fmt.Sprintf(`{"sub":"CANARY-%d"}`, n)) + ".CANARY-signature"
}

func token(n int) func(context.Context) (credential.Secret, error) {
	return func(context.Context) (credential.Secret, error) { return credential.NewSecret(jwt(n)), nil }
}

// granted is an answer of the issuer.
func granted(secret, rest string) string {
	b, _ := json.Marshal(secret)
	return `{"access_token":` + string(b) + `,"token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:access_token"` + rest + `}`
}

// An issuer answers over TLS in place of auth.openai.com.
type issuer struct {
	srv       *httptest.Server
	transport *http.Transport

	mu       sync.Mutex
	handler  http.HandlerFunc
	requests []request
}

type request struct {
	host, path, contentType, accept string
	header                          http.Header
	params                          map[string]any
}

func newIssuer(t *testing.T, handler http.HandlerFunc) *issuer {
	t.Helper()
	i := &issuer{handler: handler}
	i.srv = httptest.NewUnstartedServer(http.HandlerFunc(i.serve))
	i.srv.Config.ErrorLog = quiet()
	i.srv.StartTLS()
	t.Cleanup(i.srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(i.srv.Certificate())
	i.transport = &http.Transport{
		DialContext:       dialing(i.srv.Listener.Addr().String()),
		TLSClientConfig:   &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}
	return i
}

// quiet drops what a server logs about clients that go away.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// dialing reaches address in place of auth.openai.com, and all else where it is.
func dialing(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, to string) (net.Conn, error) {
		if to == "auth.openai.com:443" {
			to = address
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
}

func (i *issuer) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var params map[string]any
	_ = json.Unmarshal(body, &params)
	i.mu.Lock()
	i.requests = append(i.requests, request{host: r.Host, path: r.Method + " " + r.URL.Path,
		contentType: r.Header.Get("Content-Type"), accept: r.Header.Get("Accept"), header: r.Header, params: params})
	handler := i.handler
	i.mu.Unlock()
	handler(w, r)
}

func (i *issuer) answer(handler http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.handler = handler
}

// seen returns the requests so far, and forgets them.
func (i *issuer) seen() []request {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.requests
	i.requests = nil
	return r
}

func grants(secret, rest string) http.HandlerFunc { return says(200, granted(secret, rest)) }

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// A memory is a server without a network, for fake time.
type memory func(*http.Request) (*http.Response, error)

func (m memory) RoundTrip(r *http.Request) (*http.Response, error) { return m(r) }

func response(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// options are complete, with a func for the subject token.
func options(transport http.RoundTripper) openaiworkload.Options {
	return openaiworkload.Options{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", Token: token(1), Transport: transport}
}

func newSource(t testing.TB, o openaiworkload.Options) *openaiworkload.Source {
	t.Helper()
	src, err := openaiworkload.New(&o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return src
}

func newCache(t testing.TB, src credential.Source) *credential.Cache {
	t.Helper()
	cache, err := credential.NewCache(src, nil)
	if err != nil {
		t.Fatalf("NewCache: %v", err)
	}
	return cache
}

// wantFault checks that err is a SourceError that says how lasting it is, and
// shows no token.
func wantFault(t testing.TB, err error, transient bool, parts ...string) {
	t.Helper()
	se := (*credential.SourceError)(nil)
	if !errors.As(err, &se) {
		t.Errorf("got a %T, want a *credential.SourceError", err)
		return
	}
	shown := fmt.Sprintf("%v %+v %#v", err, err, err)
	for inner := error(se); inner != nil; inner = errors.Unwrap(inner) {
		shown += fmt.Sprintf("%v %+v %#v", inner, inner, inner)
	}
	if strings.Contains(shown, "CANARY") {
		t.Error("the error shows a token")
		return
	}
	if se.Transient != transient {
		t.Errorf("Transient is %v, want %v: %v", se.Transient, transient, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not tell %q", err, part)
		}
	}
}

// both sends what is for OpenAI one way, and all else another.
func both(openai, platform http.RoundTripper) http.RoundTripper {
	return memory(func(r *http.Request) (*http.Response, error) {
		if r.URL.Hostname() == "auth.openai.com" {
			return openai.RoundTrip(r)
		}
		return platform.RoundTrip(r)
	})
}

// pass lets fake time go by.
func pass(d time.Duration) { <-time.After(d) }

// clearEnv takes the machine's own platform out of the test.
func clearEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_WEB_IDENTITY_TOKEN_FILE", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "WEBSITE_SITE_NAME",
		"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_EXECUTION_ENV", "ECS_CONTAINER_METADATA_URI_V4", "K_SERVICE",
	} {
		t.Setenv(name, "")
	}
}
