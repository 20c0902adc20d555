package middleware_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

const (
	api     = "https://api.example.com"
	chat    = api + "/v1/chat/completions"
	deadKey = "sk-CANARY-dead-0001"
	goodKey = "sk-CANARY-good-0002"
)

type tripFunc func(*http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answer builds a response as a transport would.
func answer(req *http.Request, status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// keys is a source whose key the test changes; it counts its reads.
type keys struct {
	mu    sync.Mutex
	key   string
	reads int
	err   error
}

func (k *keys) Retrieve(context.Context) (credential.Value, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads++
	return credential.Value{Secret: credential.NewSecret(k.key), Source: "keys"}, k.err
}

func (k *keys) set(key string) { k.mu.Lock(); k.key = key; k.mu.Unlock() }

func (k *keys) count() int { k.mu.Lock(); defer k.mu.Unlock(); return k.reads }

func newCache(t testing.TB, src credential.Source) *credential.Cache {
	t.Helper()
	cache, err := credential.NewCache(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

func newAuth(t testing.TB, src credential.Source, opts *middleware.AuthOptions, base tripFunc) http.RoundTripper {
	t.Helper()
	mw, err := middleware.Auth(newCache(t, src), api, opts)
	if err != nil {
		t.Fatal(err)
	}
	return mw(base)
}

func post(t testing.TB, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func readBody(t testing.TB, resp *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the body: %v", err)
	}
	_ = resp.Body.Close()
	return string(data)
}
