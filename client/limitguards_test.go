package client_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

func lost() (io.ReadCloser, error) { return nil, errors.New("it is gone") }

func copyOf(req *http.Request) (io.ReadCloser, error) {
	if req.GetBody == nil {
		return lost()
	}
	return req.GetBody()
}

func setBody(req *http.Request, text string) {
	req.ContentLength = int64(len(text))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	req.Body, _ = req.GetBody()
}

// What the body of a request does not tell, or is not JSON, is reserved at its worst;
// a WebSocket is, too.
func TestWhatCannotBeReadIsReservedAtItsWorst(t *testing.T) {
	const worst = 6000
	for name, change := range map[string]func(req *http.Request){
		"a body that comes once":     func(req *http.Request) { req.GetBody = nil },
		"a body that is had no more": func(req *http.Request) { req.GetBody = lost },
		"a body that breaks": func(req *http.Request) {
			body, _ := req.GetBody()
			req.GetBody = func() (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader(`{"max_tokens":5,`), iotest.ErrReader(io.ErrUnexpectedEOF))), nil
			}
			req.Body = body
		},
		"another media type":          func(req *http.Request) { req.Header.Set("Content-Type", "text/plain") },
		"a compressed body":           func(req *http.Request) { req.Header.Set("Content-Encoding", "gzip") },
		"an object that is not whole": func(req *http.Request) { setBody(req, `{"max_tokens":5,`) },
		"an upgrade": func(req *http.Request) {
			req.Method, req.Body, req.GetBody, req.ContentLength = http.MethodGet, nil, nil, 0
			req.Header.Set("Upgrade", "other")
		},
	} {
		l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Tokens: 1e6})
		c := limitedClient(t, l, client.Config{}, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(w, `{}`)
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.BaseURL()+"chat/completions", strings.NewReader(`{"max_tokens":5}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		change(req)
		_ = drained(c.HTTPClient().Do(req))
		if got, _ := used(l, "tokens"); got != worst {
			t.Errorf("%s: %d tokens counted, want %d", name, got, worst)
		}
	}
}

// A request that is not one for a stream of JSON is sent as it is.
func TestIncludeUsageLeavesOtherRequestsAlone(t *testing.T) {
	const text = `{"stream":true}`
	for name, change := range map[string]func(req *http.Request){
		"a body that comes once": func(req *http.Request) { req.GetBody = nil },
		"another method":         func(req *http.Request) { req.Method = http.MethodPut },
		"a compressed body":      func(req *http.Request) { req.Header.Set("Content-Encoding", "x-none") },
		"another media type":     func(req *http.Request) { req.Header.Set("Content-Type", "text/plain") },
		"a body that is gone":    func(req *http.Request) { req.GetBody = lost },
		"an array":               func(req *http.Request) { setBody(req, `["stream",true]`) },
		"a string":               func(req *http.Request) { setBody(req, `"stream"`) },
		"nothing":                func(req *http.Request) { setBody(req, "") },
		"a value that is none":   func(req *http.Request) { setBody(req, `{"stream":true,"x":y}`) },
		"a name that is none":    func(req *http.Request) { setBody(req, `{"stream":true,x:1}`) },
	} {
		want := text
		var got atomic.Value
		c, _ := usageClient(t, client.Config{IncludeUsage: true, DisableStreamGuard: true}, func(w http.ResponseWriter, req *http.Request) {
			b, _ := io.ReadAll(req.Body)
			got.Store(string(b))
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.BaseURL()+"chat/completions", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		change(req)
		if body, err := copyOf(req); err == nil {
			b, _ := io.ReadAll(body)
			want = string(b)
		}
		if err := drained(c.HTTPClient().Do(req)); err != nil || got.Load() != want {
			t.Errorf("%s: sent %v, %v", name, got.Load(), err)
		}
	}
}

// The length of the answer that is given on is not that of the one that came, and a
// chunk whose usage is no object stays.
func TestIncludeUsageTellsNoWrongLength(t *testing.T) {
	body := eventStream(contentChunk("a"), usageChunk, `{"choices":[],"usage":[]}`, "[DONE]")
	c, _ := usageClient(t, client.Config{IncludeUsage: true, DisableStreamGuard: true}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, body) // short enough for a Content-Length
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.BaseURL()+"chat/completions", strings.NewReader(`{"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.ContentLength != -1 || resp.Header.Get("Content-Length") != "" || string(got) != strings.Replace(body, "data: "+usageChunk+"\n\n", "", 1) {
		t.Errorf("length %d, header %q, %v: %s", resp.ContentLength, resp.Header.Get("Content-Length"), err, got)
	}
}
