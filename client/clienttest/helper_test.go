package clienttest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client/clienttest"
)

const (
	key1 = "sk-CANARY-1"
	key2 = "sk-CANARY-2"
	base = "https://api.openai.com"

	chatPath   = "/v1/chat/completions"
	chatBody   = `{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"one two"}]}`
	streamBody = `{"model":"m","stream":true,"messages":[{"role":"user","content":"one two"}]}`
)

type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the body
}

// newRequest makes a request; a header is "Name: value".
func newRequest(t *testing.T, method, url, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal("the request cannot be made")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	return req
}

// send returns the answer, or the error of the round trip.
func send(rt http.RoundTripper, req *http.Request) (answer, error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b), err}, nil
}

func mustSend(t *testing.T, rt http.RoundTripper, req *http.Request) answer {
	t.Helper()
	a, err := send(rt, req)
	if err != nil || a.err != nil {
		t.Fatalf("%s %s: %v, body: %v", req.Method, req.URL.Path, err, a.err)
	}
	return a
}

// A place is one way to reach a service.
type place struct {
	name   string
	svc    *clienttest.Service
	rt     http.RoundTripper
	origin string
}

// places returns a service in memory, over HTTP/1.1 and over HTTP/2.
func places(t *testing.T) []place {
	t.Helper()
	mem := clienttest.NewService(key1)
	list := []place{{"memory", mem, mem, base}}
	for name, srv := range map[string]*clienttest.Server{"http1": clienttest.NewServer(key1), "http2": clienttest.NewTLSServer(key1)} {
		if srv.Err != nil {
			t.Fatal(srv.Err)
		}
		t.Cleanup(srv.Close)
		tr := srv.Client().Transport.(*http.Transport)
		tr.DisableCompression = true
		list = append(list, place{name, srv.Service, tr, srv.Origin})
	}
	return list
}

func (p place) post(t *testing.T, path, body string) *http.Request {
	t.Helper()
	return newRequest(t, "POST", p.origin+path, body, "Authorization: Bearer "+key1)
}
