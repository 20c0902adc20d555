package middleware

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/internal/sse"
	"github.com/latchkey-go/latchkey/internal/wire"
)

// ErrNotStream says that a request asked for an event stream, and that the
// answer, which has a status of 2xx, is not one: it is empty, a page of HTML, a
// JSON document or an error. The text of the error tells which. It comes at the
// end of the body, together with [io.ErrUnexpectedEOF].
var ErrNotStream = errors.New("middleware: the answer is not an event stream")

// errStreamCut says that a stream ended, as far as HTTP can tell in good
// order, before the service had said that it was done.
var errStreamCut = fmt.Errorf("middleware: stream ended before its terminal event: %w", io.ErrUnexpectedEOF)

// StreamGuard returns a layer that makes an error of a stream that was cut
// short, and of what is no stream. A proxy that gives up, or a server that
// restarts, often ends the body in good order; without this layer half an
// answer looks like a whole one, and a login page like an empty one.
//
// It watches answers with status 2xx and Content-Type text/event-stream. On a
// path that ends with /chat/completions or /completions the stream must bring
// "data: [DONE]"; on one that ends with /responses an event response.completed,
// response.failed, response.incomplete or error, or [DONE]. If it does not, the
// Read that would return io.EOF returns an error that wraps
// [io.ErrUnexpectedEOF]. On other paths it is not known how a stream ends.
//
// On every path, an answer that claims to be an event stream and is not one ends with
// an error that wraps [ErrNotStream] and io.ErrUnexpectedEOF. If the
// request asks for a stream, an empty answer ends with the same error, and the
// layer reads the answer as a stream whatever its Content-Type is. Compressed
// bodies pass through.
//
// A request asks for a stream if Accept names text/event-stream and nothing else,
// or if its query holds stream=true. If the answer is empty or its type is not
// JSON, a request also asks for a stream by "stream": true in its JSON body;
// GetBody must return that body once more.
//
// The bytes are never changed, held back or kept, but for the first 4 KiB of
// what is no event stream.
func StreamGuard() Middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return &streamGuard{belowOf(next)}
	}
}

type streamGuard struct{ below }

func (l *streamGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next(req)
	if err != nil || !mayHoldStream(req, resp) {
		return resp, err
	}
	d, asked := dialectOf(req), true
	if is := eventStream(resp.Header); d == otherStream || !is {
		if asked = asksForStream(req, resp); !asked && !is {
			return resp, nil
		}
	}
	body := resp.Body
	g := &guardState{src: func() (io.ReadCloser, *http.Request) { return body, req }}
	g.scan.init(d, asked)
	resp.Body = g
	return resp, nil
}

// mayHoldStream passes over answers without a body, and compressed ones.
func mayHoldStream(req *http.Request, resp *http.Response) bool {
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299 || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusResetContent,
		resp.Body == nil, req.Method == http.MethodHead:
		return false
	}
	encoding := first(resp.Header, "Content-Encoding")
	return encoding == "" || strings.EqualFold(encoding, "identity")
}

func dialectOf(req *http.Request) dialect {
	if req.URL == nil {
		return otherStream
	}
	switch path := strings.TrimSuffix(req.URL.Path, "/"); {
	case strings.HasSuffix(path, "/completions"):
		return doneStream
	case strings.HasSuffix(path, "/responses"):
		return typedStream
	}
	return otherStream
}

// eventStream reports whether any Content-Type is that of an event stream,
// whatever parameters it has.
func eventStream(h http.Header) bool {
	const want = "text/event-stream"
	for _, got := range h["Content-Type"] {
		got = strings.TrimLeft(got, " \t")
		if len(got) < len(want) || !strings.EqualFold(got[:len(want)], want) {
			continue
		}
		if rest := strings.TrimLeft(got[len(want):], " \t"); rest == "" || rest[0] == ';' || rest[0] == ',' {
			return true
		}
	}
	return false
}

// asksForStream reports whether the caller wants a stream. The body of the
// request is read only if the answer is odd: JSON is what nearly all calls are
// answered with, and they must not pay for it.
func asksForStream(req *http.Request, resp *http.Response) bool {
	accept := req.Header["Accept"]
	switch {
	case sse.Asked(req.Context()), len(accept) == 1 && accept[0] == "text/event-stream", req.URL != nil && strings.Contains("&"+req.URL.RawQuery+"&", "&stream=true&"):
		return true
	case req.Method != http.MethodPost || len(accept) > 1 || resp.ContentLength != 0 && strings.Contains(first(resp.Header, "Content-Type"), "json"):
		return false
	}
	if req.GetBody == nil || keepsBody(req.Context()) {
		return false // the body may still be on its way
	}
	body, err := req.GetBody()
	if err != nil {
		return false
	}
	defer func() { _ = body.Close() }() // a copy
	var asked struct {
		Stream bool `json:"stream"`
	}
	return json.NewDecoder(body).Decode(&asked) == nil && asked.Stream
}

type guardState struct {
	// src returns the body, and the request that was sent for it: what the answer
	// echoes of the credentials in it, and of those of the sends before, must not
	// get into an error. It hides both, as a hidden.Value does.
	src  func() (io.ReadCloser, *http.Request)
	scan streamScan
	err  error // what the stream ended with
}

// Read passes the bytes on and looks at them.
func (g *guardState) Read(p []byte) (int, error) {
	body, _ := g.src()
	n, err := body.Read(p)
	if g.scan.done {
		return n, err
	}
	if n > 0 {
		g.scan.write(p[:n])
	}
	if err == io.EOF && !g.scan.complete() {
		if g.err == nil {
			g.err = g.verdict()
		}
		err = g.err
	}
	return n, err
}

// Close closes the stream.
func (g *guardState) Close() error {
	body, _ := g.src()
	return body.Close()
}

// verdict tells what is wrong with a stream that ended before its time.
func (g *guardState) verdict() error {
	foreign := g.scan.parser.Foreign()
	_, req := g.src()
	secrets := append(credentialsIn(req.Header), carriedIn(req.Context())...)
	clean := redactCut(string(foreign), len(foreign) == keptText, secrets)
	what, e, refused := wire.Instead([]byte(clean))
	switch {
	case g.scan.parser.IsStream() && !refused:
		return errStreamCut
	case g.scan.parser.IsStream():
		return errorInStream(e)
	case refused:
		return &notStreamError{"middleware: the service answered with an error in place of an event stream: " + shownError(e)}
	}
	return &notStreamError{"middleware: the answer to a request for an event stream is " + what}
}

func errorInStream(e wire.Error) error {
	return fmt.Errorf("middleware: the service ended the stream with an error: %s: %w", shownError(e), io.ErrUnexpectedEOF)
}

// shownError is what of a service's error stands in the text of another one.
func shownError(e wire.Error) string {
	const most = 300
	text := e.Message
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	parts := make([]string, 0, 3)
	for _, s := range [...]string{e.Type, e.Code} {
		if s != "" {
			parts = append(parts, s[:min(len(s), most)])
		}
	}
	if text != "" || len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("%q", text))
	}
	return strings.Join(parts, ", ")
}

type notStreamError struct{ text string }

func (e *notStreamError) Error() string { return e.text }

// Is knows the two errors that it stands for.
func (e *notStreamError) Is(target error) bool {
	return target == ErrNotStream || target == io.ErrUnexpectedEOF
}
