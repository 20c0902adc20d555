package interop_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
)

// refusals are answers that an SDK keeps in its error, with the request.
func refusals() map[string]clienttest.Fault {
	return map[string]clienttest.Fault{
		"401 that echoes the key":  {EchoKey: true, Path: "/completions", Times: -1},
		"403 that echoes the key":  {EchoKey: true, Path: "/completions", Status: 403},
		"400 that echoes the key":  {EchoKey: true, Path: "/completions", Status: 400, Gzip: true},
		"503 that echoes the key":  {EchoKey: true, Path: "/completions", Status: 503, Times: 3},
		"404":                      {Path: "/completions", Status: 404, Body: `{"error":{"message":"none"}}`},
		"401 with another one's":   always(clienttest.InvalidKey),
		"redirect to another host": {Path: "/completions", Redirect: "http://localhost:1/v1/chat/completions"},
	}
}

// always is not taken back: a new key may be refused at first, and is tried again.
func always(kind clienttest.ErrorKind) clienttest.Fault {
	f := kind.Fault()
	f.Times = -1
	return f
}

func TestTheSDKsErrorNeverShowsTheKey(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		oai := r.official()
		for name, f := range refusals() {
			r.srv.Inject(f)
			var resp *http.Response
			_, err := oai.Chat.Completions.New(t.Context(), chatParams(), option.WithResponseInto(&resp))
			r.srv.ClearFaults()
			if err == nil {
				t.Errorf("%s: no error", name)
				continue
			}
			if holdsKey(err.Error()) {
				t.Errorf("%s: the error shows the key", name)
			}
			e := (*openai.Error)(nil)
			if !errors.As(err, &e) {
				continue
			}
			for what, text := range map[string]string{
				"DumpRequest":       string(e.DumpRequest(true)),
				"DumpResponse":      string(e.DumpResponse(true)),
				"RawJSON":           e.RawJSON(),
				"the header":        strings.Join(headerLines(e.Response.Header), "\n"),
				"the request":       dump(t, e.Response.Request),
				"the response into": strings.Join(headerLines(resp.Header), "\n") + dump(t, resp.Request),
			} {
				if holdsKey(text) {
					t.Errorf("%s: %s shows the key", name, what)
				}
			}
			if len(e.DumpRequest(true)) == 0 || !strings.Contains(string(e.DumpRequest(true)), prompt) {
				t.Errorf("%s: DumpRequest does not show the request", name)
			}
		}
	}, func(cfg *client.Config) { cfg.Cache = &credential.CacheOptions{Grace: -1} })
}

func headerLines(h http.Header) []string {
	var lines []string
	for name, values := range h {
		lines = append(lines, name+": "+strings.Join(values, ", "))
	}
	return lines
}

func dump(t *testing.T, req *http.Request) string {
	t.Helper()
	out, err := httputil.DumpRequest(req, false)
	if err != nil {
		t.Error(shown(err))
	}
	return string(out) + strings.Join(headerLines(req.Header), "\n")
}

func TestTheResponseCarriesTheCallersOwnRequest(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		rt := r.client.HTTPClient().Transport
		rotated := func() *http.Request {
			r.rotate()
			return newChat(t, r.srv.URL)
		}
		for name, prepare := range map[string]func() *http.Request{
			"first": func() *http.Request { return newChat(t, r.srv.URL) }, "replayed": rotated,
			"streamed body": func() *http.Request { req := rotated(); req.GetBody = nil; req.ContentLength = -1; return req },
		} {
			req := prepare()
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s: %s", name, shown(err))
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != 200 || !bytes.Contains(body, []byte(echo)) {
				t.Errorf("%s: status %d, %s", name, resp.StatusCode, shown(err))
			}
			if resp.Request != req || len(req.Header) != 1 {
				t.Errorf("%s: resp.Request is not the caller's own, or its header was changed", name)
			}
		}
	})
}

func newChat(t *testing.T, url string) *http.Request {
	t.Helper()
	body := `{"model":"` + model + `","messages":[{"role":"user","content":"` + prompt + `"}]}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

func newStream(t *testing.T, url string) *http.Request {
	t.Helper()
	req := newChat(t, url)
	body := `{"model":"` + model + `","stream":true,"messages":[{"role":"user","content":"` + prompt + `"}]}`
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	req.Body, _ = req.GetBody()
	req.ContentLength = int64(len(body))
	return req
}
