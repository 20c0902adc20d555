package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/latchkey-go/latchkey/middleware"
)

const (
	roleChunk  = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
	quotaChunk = "data: {\"error\":{\"message\":\"no money\",\"code\":\"insufficient_quota\"}}\n\n"
)

// held returns what HoldBack makes of a stream.
func held(t *testing.T, req *http.Request, body io.ReadCloser, header ...string) (*http.Response, error) {
	t.Helper()
	layer := middleware.HoldBack()(tripFunc(func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 200, "", append([]string{"Content-Type", "text/event-stream"}, header...)...)
		resp.Body, resp.ContentLength = body, -1
		return resp, nil
	}))
	return layer.RoundTrip(req)
}

func chunks(text string) *closingBody { return newClosing(text) }

// The answer that stands for an error is one: status, type and length are those
// of the error, and nothing is left of the stream.
func TestAnErrorInPlaceOfAStreamIsAnAnswer(t *testing.T) {
	body := chunks(roleChunk + quotaChunk + roleChunk)
	req := jsonPost(t, "{}")
	layer := middleware.HoldBack()(tripFunc(func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 200, "", "Content-Type", "text/event-stream", "Content-Length", "1000", "X-Request-Id", "req_1")
		resp.Body, resp.ContentLength, resp.Trailer = body, 1000, http.Header{"X-Late": {"1"}}
		return resp, nil
	}))
	resp, err := layer.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 429 || resp.Status != "429 Too Many Requests" || resp.Trailer != nil {
		t.Errorf("status %d, %q, trailer %v", resp.StatusCode, resp.Status, resp.Trailer)
	}
	if h := resp.Header; h.Get("Content-Type") != "application/json" || h["Content-Length"] != nil || h.Get("X-Request-Id") != "req_1" {
		t.Errorf("header %v", h)
	}
	if text := readBody(t, resp); !strings.HasPrefix(text, `{"error":`) || resp.ContentLength != int64(len(text)) {
		t.Errorf("length %d of %s", resp.ContentLength, text)
	}
	if !body.isClosed() {
		t.Error("the stream is still open")
	}
}

// What gives the caller anything, and what nobody knows, is not held: an error
// behind it stays in the stream.
func TestWhatHasContentIsGivenAway(t *testing.T) {
	const choice = "data: {\"choices\":[{"
	for name, tc := range map[string]struct{ path, text string }{
		"a word":                              {"chat/completions", choice + "\"delta\":{\"content\":\"a\"}}]}\n\n"},
		"a call of a tool":                    {"chat/completions", choice + "\"delta\":{\"tool_calls\":[{}]}}]}\n\n"},
		"a text":                              {"completions", choice + "\"text\":\"a\"}]}\n\n"},
		"an end":                              {"chat/completions", choice + "\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"},
		"[DONE]":                              {"chat/completions", "data: [DONE]\n\n"},
		"a chunk of nobody's":                 {"chat/completions", "data: {}\n\n"},
		"what is nearly an error":             {"chat/completions", "data: {\"choices\":[],\"error\":{\"code\":\"server_error\"}} or so\n\n"},
		"another error beside no choices":     {"chat/completions", "data: {\"choices\":[],\"error\":{\"code\":\"invalid_prompt\"}}\n\n"},
		"a delta of a response":               {"responses", "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\n"},
		"a response's event without its name": {"responses", "data: {\"type\":\"response.output_text.delta\"}\n\n"},
		"an event that is no JSON":            {"responses", "data: a\n\n"},
		"an event of another path":            {"images/edits", "data: {\"choices\":[]}\n\n"},
	} {
		req := jsonPost(t, "{}")
		req.URL.Path = "/v1/" + tc.path
		want := tc.text + quotaChunk
		if resp, err := held(t, req, chunks(want)); err != nil || resp.StatusCode != 200 || readBody(t, resp) != want {
			t.Errorf("%s: %v, %v, want the stream as it is", name, resp, err)
		}
	}
	for name, tc := range map[string]struct{ path, text string }{
		"a response that has begun":           {"responses", "event: response.created\ndata: {}\n\n"},
		"a response's event without its name": {"responses", "data: {\"type\":\"response.in_progress\"}\n\n"},
		"one that is queued":                  {"responses", "data: {\"type\":\"response.queued\"}\n\n"},
		"an empty end":                        {"completions", choice + "\"text\":\"\",\"finish_reason\":null}]}\n\n"},
	} {
		req := jsonPost(t, "{}")
		req.URL.Path = "/v1/" + tc.path
		if resp, err := held(t, req, chunks(tc.text+quotaChunk)); err != nil || resp.StatusCode != 429 {
			t.Errorf("%s: %v, %v, want the error", name, resp, err)
		}
	}
}

// An answer that holds no stream which can be read is passed on as it is.
func TestWhatIsNoStreamIsNotHeld(t *testing.T) {
	for name, tc := range map[string]struct {
		text   string
		header []string
	}{
		"compressed":   {quotaChunk, []string{"Content-Encoding", "gzip"}},
		"a page":       {"<html>busy</html>", nil},
		"nothing":      {"", nil},
		"comments":     {": ping\n\n", nil},
		"another type": {quotaChunk, []string{"Content-Type", "text/plain"}},
	} {
		header := tc.header
		layer := middleware.HoldBack()(tripFunc(func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 200, tc.text, "Content-Type", "text/event-stream")
			for i := 0; i+1 < len(header); i += 2 {
				resp.Header.Set(header[i], header[i+1])
			}
			return resp, nil
		}))
		if resp, err := layer.RoundTrip(jsonPost(t, "{}")); err != nil || resp.StatusCode != 200 || readBody(t, resp) != tc.text {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
	req := jsonPost(t, "{}")
	req.Method = http.MethodHead
	if resp, err := held(t, req, nil); err != nil || resp.Body != nil {
		t.Errorf("HEAD: %v, %v", resp, err)
	}
}

// A stream that breaks before its content is closed, and its error is that of a
// connection; one whose call has ended has the error of the call.
func TestAHeldStreamThatBreaksIsClosed(t *testing.T) {
	broken := errors.New("cable cut")
	for name, tc := range map[string]struct{ err, want error }{
		"in good order":  {io.EOF, io.EOF},
		"inside a chunk": {io.ErrUnexpectedEOF, io.EOF},
		"otherwise":      {broken, broken},
	} {
		body := &closingBody{Reader: io.MultiReader(strings.NewReader(roleChunk), iotest.ErrReader(tc.err)), closed: make(chan struct{})}
		if resp, err := held(t, jsonPost(t, "{}"), body); resp != nil || !errors.Is(err, tc.want) || errors.Is(err, io.ErrUnexpectedEOF) || !body.isClosed() {
			t.Errorf("%s: %v, closed: %t", name, err, body.isClosed())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	body := &closingBody{Reader: io.MultiReader(strings.NewReader(roleChunk), leaving{cancel}), closed: make(chan struct{})}
	if resp, err := held(t, jsonPost(t, "{}").WithContext(ctx), body); resp != nil || !errors.Is(err, context.Canceled) || !body.isClosed() {
		t.Errorf("a call that has ended: %v, closed: %t", err, body.isClosed())
	}
}

// A leaving reader ends the call, and then the body.
type leaving struct{ leave func() }

func (l leaving) Read([]byte) (int, error) { l.leave(); return 0, io.EOF }

// An atMost reader brings so many bytes at once.
type atMost struct {
	r io.Reader
	n int
}

func (a atMost) Read(p []byte) (int, error) { return a.r.Read(p[:min(a.n, len(p))]) }

// What is held is at most 8 KiB, and the error that ends it comes once all of it
// was read, and stays.
func TestNoMoreIsHeldThan8KiB(t *testing.T) {
	text := strings.Repeat(": "+strings.Repeat("a", 996)+"\n\n", 20)
	source := strings.NewReader(text)
	body := &closingBody{Reader: atMost{source, 1500}, closed: make(chan struct{})}
	resp, err := held(t, jsonPost(t, "{}"), body)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(text) - source.Len(); n != 8<<10 {
		t.Errorf("%d bytes are held, want 8192", n)
	}
	if readBody(t, resp) != text || !body.isClosed() {
		t.Error("the stream is not whole, or not closed")
	}
	broken := errors.New("cable cut")
	short := "data: [DONE]\n\n"
	resp, err = held(t, jsonPost(t, "{}"), io.NopCloser(iotest.DataErrReader(once{io.MultiReader(strings.NewReader(short), &endingOnce{broken}, strings.NewReader("more"))})))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if text, err := io.ReadAll(resp.Body); !errors.Is(err, broken) || string(text) != short {
			t.Errorf("%q, %v", text, err)
		}
		short = ""
	}
}
