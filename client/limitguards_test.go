package client_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// What the body of a request does not tell, or is not JSON, is reserved at its worst;
// a WebSocket is, too.
func TestWhatCannotBeReadIsReservedAtItsWorst(t *testing.T) {
	const worst = 6000
	for name, change := range map[string]func(req *http.Request){
		"a body that comes once": func(req *http.Request) { req.GetBody = nil },
		"another media type":     func(req *http.Request) { req.Header.Set("Content-Type", "text/plain") },
		"a compressed body":      func(req *http.Request) { req.Header.Set("Content-Encoding", "gzip") },
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
	} {
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
		if err := drained(c.HTTPClient().Do(req)); err != nil || got.Load() != text {
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
