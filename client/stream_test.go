package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/internal/redact"
	"github.com/latchkey-go/latchkey/internal/redact/redacttest"
	"github.com/latchkey-go/latchkey/middleware"
)

func events(t testing.TB, c *client.Client, path string) (out []string, err error) {
	for ev, err := range c.Stream(t.Context(), path, map[string]bool{"stream": true}) {
		if err != nil {
			return out, err
		}
		out = append(out, ev.Type+"|"+string(ev.Data))
	}
	return out, nil
}

// streaming answers with an event stream, read in pieces of at most chunk bytes.
func streaming(t testing.TB, body string, chunk int, off bool) *client.Client {
	return inMemory(t, client.Config{DisableStreamGuard: off}, func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 200, "", "Content-Type", "text/event-stream; charset=utf-8")
		resp.Body, resp.ContentLength = io.NopCloser(&pieces{body, chunk}), -1
		return resp, nil
	})
}

type pieces struct {
	text string
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.text)
	p.text = p.text[n:]
	return n, nil
}

func TestStreamYieldsEventsHoweverTheyArrive(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want []string
	}{
		"chat":        {"data: {\"a\":1}\n\ndata: {\"a\":2}\n\ndata: [DONE]\n\n", []string{`|{"a":1}`, `|{"a":2}`}},
		"crlf":        {"data: 1\r\n\r\ndata: 2\r\n\r\ndata: [DONE]\r\n\r\n", []string{"|1", "|2"}},
		"cr":          {"data: 1\r\rdata: 2\r\rdata: [DONE]\r\r", []string{"|1", "|2"}},
		"mixed ends":  {"data: 1\r\n\ndata: 2\n\r\ndata: [DONE]\r\r\n", []string{"|1", "|2"}},
		"no space":    {"data:1\n\ndata:[DONE]\n\n", []string{"|1"}},
		"two spaces":  {"data:  1\n\ndata: [DONE]\n\n", []string{"| 1"}},
		"many lines":  {"data: 1\ndata: 2\ndata\ndata: 3\n\ndata: [DONE]\n\n", []string{"|1\n2\n\n3"}},
		"comments":    {": hello\n\n:\ndata: 1\n: x\n\ndata: [DONE]\n\n", []string{"|1"}},
		"byte order":  {"\xef\xbb\xbfdata: 1\n\ndata: [DONE]\n\n", []string{"|1"}},
		"types":       {"event: a\ndata: 1\n\ndata: 2\n\nevent:b\nid: 7\nretry: 1\ndata: 3\n\ndata: [DONE]\n\n", []string{"a|1", "|2", "b|3"}},
		"only a type": {"event: a\n\ndata: 2\n\ndata: [DONE]\n\n", []string{"|2"}},
		"utf-8":       {"data: \"ü€\"\n\ndata: [DONE]\n\n", []string{`|"ü€"`}},
		"long":        {"data: " + strings.Repeat("x", 100_000) + "\n\ndata: [DONE]\n\n", []string{"|" + strings.Repeat("x", 100_000)}},
		"after done":  {"data: 1\n\ndata: [DONE]\n\ndata: 2\n\n", []string{"|1"}},
	} {
		for _, chunk := range []int{1, 2, 3, 7, 64, 1 << 20} {
			got, err := events(t, streaming(t, tc.body, chunk, false), "chat/completions")
			if err != nil || fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("%s in pieces of %d: %.100q (%v), want %.100q", name, chunk, got, err, tc.want)
			}
		}
	}
}

func TestStreamYieldsTheEventsOfResponses(t *testing.T) {
	body := "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\"}\n\n"
	got, err := events(t, streaming(t, body, 5, false), "responses")
	if err != nil || len(got) != 2 || got[1] != `response.completed|{"type":"response.completed"}` {
		t.Errorf("%q, %v", got, err)
	}
}

func TestStreamThatWasCutIsAnError(t *testing.T) {
	for name, body := range map[string]string{"empty": "", "between": "data: 1\n\n", "within": "data: 1\n\ndata: 2"} {
		if _, err := events(t, streaming(t, body, 64, false), "chat/completions"); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v, want io.ErrUnexpectedEOF", name, err)
		}
		if _, err := events(t, streaming(t, body, 64, true), "chat/completions"); err != nil {
			t.Errorf("%s, without the guard: %v", name, err)
		}
	}
}

func TestStreamReturnsTheServicesErrorTyped(t *testing.T) {
	want := func(err error, status int, code string) {
		t.Helper()
		if e := (*client.Error)(nil); !errors.As(err, &e) || e.StatusCode != status || e.Code != code {
			t.Errorf("got %v, want the status %d and the code %s", err, status, code)
		}
	}
	_, err := events(t, streaming(t, "data: 1\n\ndata: {\"error\":{\"message\":\"m\",\"code\":\"server_error\"}}\n\n", 9, false), "chat/completions")
	want(err, 200, "server_error")
	_, err = events(t, streaming(t, "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit\",\"message\":\"m\"}\n\n", 9, false), "responses")
	want(err, 200, "rate_limit")
	c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		return answer(req, 400, `{"error":{"code":"bad"}}`), nil
	})
	_, err = events(t, c, "chat/completions")
	want(err, 400, "bad")
	c = inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		return answer(req, 400, "data: {\"choices\":[]}\n\ndata: [DONE]\n\n", "Content-Type", "text/event-stream"), nil
	})
	got, err := events(t, c, "chat/completions")
	if want(err, 400, ""); len(got) > 0 {
		t.Errorf("%d events of a refusal", len(got))
	}
}

// odd answers with any body under any media type; none is no header at all.
func odd(t testing.TB, body, mediaType string, off bool) *client.Client {
	return inMemory(t, client.Config{DisableStreamGuard: off}, func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 200, body, "Content-Type", mediaType)
		if mediaType == "none" {
			resp.Header.Del("Content-Type")
		}
		return resp, nil
	})
}

func TestStreamTellsWhatCameInItsPlace(t *testing.T) {
	const page, document = "<!DOCTYPE html><title>Sign in</title>", `{"object":"chat.completion","choices":[{"message":{"content":"CANARY-answer"}}]}`
	for _, tc := range []struct{ body, says string }{
		{page, `an HTML page ("Sign in")`}, {document, `a JSON document ("chat.completion")`}, {"", "empty"},
		{"upstream connect error", `text ("upstream connect error")`}, {document[:40], "a JSON document"}, {"[1]", "a JSON document"},
	} {
		for _, mediaType := range []string{"text/html", "application/json", "text/plain", "text/event-stream", "none"} {
			for _, off := range []bool{false, true} {
				_, err := events(t, odd(t, tc.body, mediaType, off), "chat/completions")
				if off && tc.body == "" && mediaType == "text/event-stream" {
					continue // without the guard an empty stream is a complete one
				}
				if !errors.Is(err, middleware.ErrNotStream) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "CANARY") {
					t.Errorf("%.20q as %s, guard off: %t: %d bytes of error, want %q", tc.body, mediaType, off, len(fmt.Sprint(err)), tc.says)
				}
			}
		}
	}
	if _, err := events(t, odd(t, "", "none", false), "../x"); err == nil {
		t.Error("a bad path was accepted")
	}
}

func TestAnErrorInPlaceOfAStreamIsTheServicesOwn(t *testing.T) {
	const chunk = "data: {\"choices\":[]}\n\n"
	for _, body := range []string{
		`{"error":{"message":"m","code":"c"}}`, "{\n  \"error\": {\n    \"message\": \"m\",\n    \"code\": \"c\"\n  }\n}\n",
		chunk + `{"error":{"message":"m","code":"c"}}`, chunk + chunk + "{\"error\":\n{\"message\":\"m\",\"code\":\"c\"}}\n\n",
		chunk + "data: {\"error\":{\"message\":\"m\",\"code\":\"c\"}}", // without the empty line
	} {
		for _, mediaType := range []string{"application/json", "text/plain", "text/event-stream", "none"} {
			for _, off := range []bool{false, true} {
				_, err := events(t, odd(t, body, mediaType, off), "chat/completions")
				if e := (*client.Error)(nil); !errors.As(err, &e) || e.StatusCode != 200 || e.Code != "c" || e.Message != "m" {
					t.Errorf("%.40q as %s, guard off: %t: got %v", body, mediaType, off, err)
				}
			}
		}
	}
}

func TestAStreamIsReadUnderAnyMediaType(t *testing.T) {
	for _, mediaType := range []string{"text/plain", "none", "application/json", "text/event-stream;;", "TEXT/EVENT-STREAM ; x=\"", "text/event-stream, text/event-stream", "application/octet-stream"} {
		got, err := events(t, odd(t, "data: 1\n\ndata: [DONE] \n\n", mediaType, false), "chat/completions")
		if err != nil || fmt.Sprint(got) != "[|1]" {
			t.Errorf("%s: %q, %v", mediaType, got, err)
		}
		if _, err := events(t, odd(t, "data: 1\n\n", mediaType, false), "chat/completions"); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, middleware.ErrNotStream) {
			t.Errorf("%s, cut: %v", mediaType, err)
		}
	}
}

func TestAFailedResponseIsYieldedBeforeItsError(t *testing.T) {
	const body = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n" +
		"event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}\n\n"
	got, err := events(t, streaming(t, body, 7, false), "responses")
	if e := (*client.Error)(nil); !errors.As(err, &e) || e.Code != "server_error" || len(got) != 2 {
		t.Errorf("%q, %v", got, err)
	}
	for range streaming(t, body, 7, false).Stream(t.Context(), "responses", nil) {
		break // the loop may be left at any event
	}
}

// What the service echoes with the status 200 is no more fit for a log than
// what it echoes with 401.
func TestAnErrorInAStreamDoesNotShowTheKey(t *testing.T) {
	for _, form := range redacttest.Forms(key) {
		text, err := json.Marshal(map[string]any{"error": map[string]string{"message": "your key is " + form.Text, "code": form.Text, "type": form.Text, "param": form.Text}})
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{"data: " + string(text) + "\n\n", "event: error\ndata: " + string(text) + "\n\n", string(text), "<html><title>" + form.Printable() + "</title></html>", form.Printable()} {
			for _, off := range []bool{false, true} {
				_, err := events(t, odd(t, body, "text/event-stream", off), "chat/completions")
				if err == nil {
					t.Errorf("%s: no error", form.Name)
					continue
				}
				shown := err.Error() + fmt.Sprintf("%+v %#v", err, err)
				if e := (*client.Error)(nil); errors.As(err, &e) {
					shown += e.Message + e.Code + e.Type + e.Param
				}
				if redact.Text(shown, false, key) != shown {
					t.Errorf("%s, guard off: %t: the error shows the key", form.Name, off)
				}
			}
		}
	}
}

func TestStreamClosesTheAnswerWhenTheLoopIsLeft(t *testing.T) {
	closed := 0
	c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 200, "", "Content-Type", "text/event-stream")
		resp.Body = &closeCounter{Reader: strings.NewReader("data: 1\n\ndata: 2\n\n"), closed: &closed}
		return resp, nil
	})
	for ev, err := range c.Stream(t.Context(), "chat/completions", nil) {
		if err != nil || string(ev.Data) != "1" {
			t.Errorf("%v", err)
		}
		break
	}
	if closed != 1 {
		t.Errorf("closed %d times, want once", closed)
	}
}

type closeCounter struct {
	io.Reader
	closed *int
}

func (c *closeCounter) Close() error { *c.closed++; return nil }

func TestStreamRefusesAnEventWithoutEnd(t *testing.T) {
	for name, line := range map[string]string{"one line": "", "many lines": "data: 0123456789\n"} {
		c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 200, "", "Content-Type", "text/event-stream")
			resp.Body = io.NopCloser(&forever{line: line})
			return resp, nil
		})
		if _, err := events(t, c, "chat/completions"); err == nil || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type forever struct {
	line string
	rest string
}

func (f *forever) Read(p []byte) (int, error) {
	if f.line == "" {
		for i := range p {
			p[i] = 'x'
		}
		return len(p), nil
	}
	if len(f.rest) < len(p) {
		f.rest = strings.Repeat(f.line, len(p)/len(f.line)+2)
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// FuzzStream compares the events with the specification's, and what ends the
// sequence with what came.
func FuzzStream(f *testing.F) {
	f.Add("data: 1\n\ndata: [DONE]\n\n", 1)
	f.Add("event: a\r\ndata: 1\r\ndata: 2\r\n\r\n\xef\xbb\xbf:x\n\n", 3)
	f.Add("data\n\ndata\r\rdata:\n\r\n{\"error\":1}", 2)
	f.Fuzz(func(t *testing.T, body string, chunk int) {
		if chunk < 1 || len(body) > 1<<16 {
			return
		}
		got, err := events(t, streaming(t, body, chunk, true), "chat/completions")
		refused := (*client.Error)(nil)
		switch want := slowEvents(body); {
		case errors.As(err, &refused):
			if !strings.Contains(body, "error") && !strings.Contains(body, "failed") {
				t.Fatalf("%v, but there is none in it", err)
			}
			want = want[:min(len(got), len(want))]
			fallthrough
		case err == nil || errors.Is(err, middleware.ErrNotStream) && len(want) == 0:
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Fatalf("pieces of %d: %q (%v), want %q", chunk, got, err, want)
			}
		default:
			t.Fatalf("%v", err)
		}
	})
}

// slowEvents is the specification's algorithm, word by word, on the whole text.
func slowEvents(body string) (out []string) {
	body = strings.TrimPrefix(body, "\xef\xbb\xbf")
	body = strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(body, "\n")
	typ, data, count := "", "", 0
	for _, line := range lines[:len(lines)-1] { // the last one has no end
		if line == "" {
			if count == 1 && strings.TrimRight(data, " \t") == "[DONE]" {
				return out
			}
			if count > 0 {
				out = append(out, typ+"|"+data)
			}
			typ, data, count = "", "", 0
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			typ = value[:min(len(value), 1<<10)]
		case "data":
			if count > 0 {
				data += "\n"
			}
			data, count = data+value, count+1
		}
	}
	return out
}
