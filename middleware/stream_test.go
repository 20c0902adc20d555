package middleware_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/latchkey-go/latchkey/middleware"
)

// guarded returns the answer of a service that streams body on path.
func guarded(t testing.TB, path string, body io.Reader, change func(*http.Response)) *http.Response {
	t.Helper()
	rt := middleware.StreamGuard()(tripFunc(func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 200, "", "Content-Type", "text/event-stream; charset=utf-8")
		resp.Body, resp.ContentLength = io.NopCloser(body), -1
		if change != nil {
			change(resp)
		}
		return resp, nil
	}))
	resp, err := rt.RoundTrip(post(t, api+path, ""))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

const (
	chatPath      = "/v1/chat/completions"
	responsesPath = "/v1/responses"
)

type streamCase struct {
	path, body string
	cut        bool
}

func streamCases() map[string]streamCase {
	chunk := `data: {"choices":[{"delta":{"content":"x"}}]}` + "\n\n"
	delta := "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\"}\n\n"
	return map[string]streamCase{
		"whole":                     {chatPath, chunk + "data: [DONE]\n\n", false},
		"cut":                       {chatPath, chunk, true},
		"cut in an event":           {chatPath, chunk + "data: {\"cho", true},
		"cut in the marker":         {chatPath, chunk + "data: [DON", true},
		"empty":                     {chatPath, "", true},
		"comments only":             {chatPath, ": ping\n\n: ping\n\n", true},
		"error event":               {chatPath, chunk + `data: {"error":{"message":"m"}}` + "\n\n", true},
		"no space":                  {chatPath, "data:[DONE]\n\n", false},
		"CRLF":                      {chatPath, "data: x\r\n\r\ndata: [DONE]\r\n\r\n", false},
		"CRLF is one line end":      {chatPath, "data: [DONE]\r\ndata: x\r\n\r\n", true},
		"CR":                        {chatPath, "data: x\r\rdata: [DONE]\r\r", false},
		"BOM":                       {chatPath, "\xEF\xBB\xBFdata: [DONE]\n\n", false},
		"no empty line at the end":  {chatPath, "data: [DONE]\n", false},
		"no line end at the end":    {chatPath, "data: [DONE]", false},
		"spaces after it":           {chatPath, "data: [DONE] \t\n\n", false},
		"comment before it":         {chatPath, ": c\ndata: [DONE]\n: c\n\n", false},
		"other fields beside it":    {chatPath, "event: x\nid: 1\nretry: 2\ndata: [DONE]\n\n", false},
		"marker in a comment":       {chatPath, ": data: [DONE]\n\n", true},
		"marker in text":            {chatPath, `data: {"content":"data: [DONE]"}` + "\n\n", true},
		"marker and more":           {chatPath, "data: [DONE]x\n\n", true},
		"marker as a second line":   {chatPath, "data: x\ndata: [DONE]\n\n", true},
		"marker before another":     {chatPath, "data: [DONE]\ndata: x\n\n", true},
		"marker of another field":   {chatPath, "datax: [DONE]\n\n", true},
		"marker after a long line":  {chatPath, "data: " + strings.Repeat("x", 1<<20) + "\n\ndata: [DONE]\n\n", false},
		"marker in a long line":     {chatPath, "data: [DONE]" + strings.Repeat(" ", 1<<20) + "\n\n", true},
		"bytes after the end":       {chatPath, "data: [DONE]\n\nwhatever", false},
		"responses are not chat":    {chatPath, "event: response.completed\ndata: {}\n\n", true},
		"old completions":           {"/v1/completions", chunk, true},
		"Azure's path":              {"/openai/deployments/gpt/chat/completions", chunk, true},
		"slash at the end":          {chatPath + "/", chunk, true},
		"completed":                 {responsesPath, delta + "event: response.completed\ndata: {}\n\n", false},
		"completed, of two types":   {responsesPath, "event: response.completed\ndata: {\"type\":\"x\"}\n\n", false},
		"failed":                    {responsesPath, delta + "event: response.failed\ndata: {}\n\n", false},
		"incomplete":                {responsesPath, delta + "event:response.incomplete\ndata: {}\n\n", false},
		"error":                     {responsesPath, delta + "event: error\ndata: {}\n\n", false},
		"type after the data":       {responsesPath, "data: {}\nevent: response.completed\n\n", false},
		"cut responses":             {responsesPath, delta, true},
		"cut in the last":           {responsesPath, delta + "event: response.completed\ndata: {}\n", true},
		"last without data":         {responsesPath, delta + "event: response.completed\n\n", true},
		"type of another event":     {responsesPath, "event: response.completed\n\ndata: {}\n\n" + delta, true},
		"type that only begins so":  {responsesPath, "event: response.completed.x\ndata: {}\n\n", true},
		"empty responses":           {responsesPath, "", true},
		"types in the data":         {responsesPath, `data: {"type":"response.created"}` + "\n\n" + `data: { "type" : "response.completed", "x":1}` + "\n\n", false},
		"types in the data, cut":    {responsesPath, `data: {"type":"response.created"}` + "\n\n", true},
		"marker instead of types":   {responsesPath, "data: {}\n\ndata: [DONE]\n\n", false},
		"types that cannot be read": {responsesPath, `data: {"response":{},"type":"response.completed"}` + "\n\n", false},
		"a path that is not known":  {"/v1/threads/t/runs", delta, false},
	}
}

func TestStreamGuardMakesAnErrorOfACutStream(t *testing.T) {
	for name, tc := range streamCases() {
		for size, body := range map[string]io.Reader{
			"whole": strings.NewReader(tc.body), "bytewise": iotest.OneByteReader(strings.NewReader(tc.body)), "EOF with data": iotest.DataErrReader(strings.NewReader(tc.body)),
		} {
			if len(tc.body) > 1<<16 && size == "bytewise" {
				continue
			}
			got, err := io.ReadAll(guarded(t, tc.path, body, nil).Body)
			if string(got) != tc.body || (err != nil) != tc.cut || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, %s: %d of %d bytes and %v; want an error: %t", name, size, len(got), len(tc.body), err, tc.cut)
			}
		}
	}
}

func TestStreamGuardLeavesOtherAnswersAlone(t *testing.T) {
	for name, change := range map[string]func(*http.Response){
		"an error":         func(r *http.Response) { r.StatusCode = 500 },
		"JSON":             func(r *http.Response) { r.Header.Set("Content-Type", "application/json") },
		"another type":     func(r *http.Response) { r.Header.Set("Content-Type", "text/event-streams") },
		"no type":          func(r *http.Response) { r.Header.Del("Content-Type") },
		"compressed":       func(r *http.Response) { r.Header.Set("Content-Encoding", "gzip") },
		"another response": func(r *http.Response) { r.StatusCode = 101 },
	} {
		var own io.ReadCloser
		resp := guarded(t, chatPath, strings.NewReader("x"), func(r *http.Response) { change(r); own = r.Body })
		if resp.Body != own {
			t.Errorf("%s: the body was wrapped", name)
		}
	}
}

func TestStreamGuardPassesErrorsAndCloseOn(t *testing.T) {
	broken := errors.New("broken")
	body := &trackedBody{Reader: io.MultiReader(strings.NewReader("data: x\n\n"), errReader{broken})}
	resp := guarded(t, chatPath, nil, func(r *http.Response) { r.Body = body })
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, broken) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want the connection's own error", err)
	}
	if _ = resp.Body.Close(); body.closed.Load() != 1 {
		t.Error("the body was not closed")
	}
	resp = guarded(t, chatPath, strings.NewReader("data: x"), nil)
	for range 3 {
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v; want the same error from every Read", err)
		}
	}
}

func TestStreamGuardAllocatesNothingPerChunk(t *testing.T) {
	chunk := []byte(`data: {"choices":[{"delta":{"content":"x"}}]}` + "\n\n")
	resp := guarded(t, chatPath, &looped{chunk: chunk}, nil)
	buf := make([]byte, len(chunk))
	if got := testing.AllocsPerRun(100, func() { _, _ = resp.Body.Read(buf) }); got != 0 {
		t.Errorf("%v allocations per chunk, want none", got)
	}
}

// looped returns the same chunk for ever.
type looped struct{ chunk []byte }

func (l *looped) Read(p []byte) (int, error) { return copy(p, l.chunk), nil }

func FuzzStreamGuard(f *testing.F) {
	for _, seed := range []string{"data: [DONE]", "data: [DONE]\r\n\r\n", "event: response.completed\rdata: {}\r\r", "\xEF\xBB\xBFdata:[DONE]\n", `data: {"type": "error"}` + "\n\n"} {
		f.Add([]byte(seed), uint8(3), false)
		f.Add([]byte("data: x\r\n\n\r: c\n"+seed), uint8(1), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, chunk uint8, typed bool) {
		path := chatPath
		if typed {
			path = responsesPath
		}
		whole, err := io.ReadAll(guarded(t, path, bytes.NewReader(body), nil).Body)
		parts, partsErr := io.ReadAll(guarded(t, path, &chunked{body, int(chunk%16) + 1}, nil).Body)
		if !bytes.Equal(whole, body) || !bytes.Equal(parts, body) {
			t.Error("the bytes were changed")
		}
		if (err == nil) != (partsErr == nil) {
			t.Errorf("whole: %v; in chunks of %d: %v", err, chunk%16+1, partsErr)
		}
	})
}

// chunked returns at most size bytes at once, the last with io.EOF.
type chunked struct {
	body []byte
	size int
}

func (c *chunked) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), c.size)], c.body)
	if c.body = c.body[n:]; len(c.body) == 0 {
		return n, io.EOF
	}
	return n, nil
}
