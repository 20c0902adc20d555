package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

// A region is an endpoint of a test. What it answers is decided by say, which
// is asked for each request; nil is a chat that was served.
type region struct {
	host string

	mu    sync.Mutex
	say   func(n int, req *http.Request, body string) (*http.Response, error)
	sends int
	last  struct{ path, query, key, body string }
}

func (r *region) set(say func(n int, req *http.Request, body string) (*http.Response, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.say = say
}

func (r *region) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sends
}

func (r *region) answer(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		data, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		_ = req.Body.Close()
		body = string(data)
	}
	r.mu.Lock()
	r.sends++
	n, say := r.sends, r.say
	r.last.path, r.last.query, r.last.body = req.URL.Path, req.URL.RawQuery, body
	r.last.key = req.Header.Get("Authorization") + req.Header.Get("Api-Key")
	r.mu.Unlock()
	time.Sleep(time.Millisecond) // the way there and back, in fake time
	if say != nil {
		if resp, err := say(n, req, body); resp != nil || err != nil {
			return resp, err
		}
	}
	return reply(200, `{"choices":[]}`), nil
}

func reply(status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// always says the same to each request.
func always(status int, body string, header ...string) func(int, *http.Request, string) (*http.Response, error) {
	return func(int, *http.Request, string) (*http.Response, error) { return reply(status, body, header...), nil }
}

func dead(int, *http.Request, string) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

func noSuchHost(_ int, req *http.Request, _ string) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: req.URL.Hostname(), IsNotFound: true}}
}

// A world is the regions by host.
type world map[string]*region

func (w world) RoundTrip(req *http.Request) (*http.Response, error) {
	r := w[req.URL.Host]
	if r == nil {
		return nil, errors.New("nobody at " + req.URL.Host)
	}
	return r.answer(req)
}

func newWorld(hosts ...string) world {
	w := world{}
	for _, h := range hosts {
		w[h] = &region{host: h}
	}
	return w
}

const (
	east   = "east.openai.azure.com"
	west   = "west.openai.azure.com"
	vendor = "api.openai.com"
)

// regions is a client for two regions and another vendor.
func regions(t *testing.T, w world, change func(*client.Config)) *client.Client {
	t.Helper()
	cfg := client.Config{
		BaseURL: "https://" + east, Source: credential.Static(credential.NewSecret("CANARY-east"), credential.APIKey),
		Fallbacks: []client.Endpoint{
			{BaseURL: "https://" + west, Source: credential.Static(credential.NewSecret("CANARY-west"), credential.APIKey)},
			{BaseURL: "https://" + vendor + "/v1/", Source: credential.Static(credential.NewSecret("CANARY-vendor"), credential.APIKey), Models: map[string]string{"chat": "gpt-5-mini"}},
		},
		Transport: w,
	}
	if change != nil {
		change(&cfg)
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func chat(ctx context.Context, c *client.Client) error {
	_, err := c.Post(ctx, "chat/completions", map[string]any{"model": "chat", "messages": []any{}}, nil)
	return err
}

func embed(ctx context.Context, c *client.Client) error {
	_, err := c.Post(ctx, "embeddings", map[string]any{"model": "text-embedding-3-small", "input": "a"}, nil)
	return err
}
