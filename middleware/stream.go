package middleware

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// errStreamCut says that a stream ended, as far as HTTP can tell in good
// order, before the service had said that it was done.
var errStreamCut = fmt.Errorf("middleware: stream ended before its terminal event: %w", io.ErrUnexpectedEOF)

// StreamGuard returns a layer that makes an error of a stream that was cut
// short. A proxy that gives up, or a server that restarts, often ends the body
// in good order; without this layer half an answer looks like a whole one.
//
// It watches answers with status 2xx and Content-Type text/event-stream. On a
// path that ends with /chat/completions or /completions the stream must bring
// "data: [DONE]"; on one that ends with /responses an event response.completed,
// response.failed, response.incomplete or error, or [DONE]. If it does not, the
// Read that would return io.EOF returns an error that wraps
// [io.ErrUnexpectedEOF]. Other paths, and compressed bodies, pass through.
//
// The bytes are never changed, held back or kept.
func StreamGuard() Middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return &streamGuard{next: next.RoundTrip}
	}
}

type streamGuard struct {
	next func(*http.Request) (*http.Response, error) // a func, so that no printer by reflection walks into it
}

func (l *streamGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next(req)
	if err != nil || resp.StatusCode < 200 || resp.StatusCode > 299 || resp.Body == nil || req.Method == http.MethodHead {
		return resp, err
	}
	d := dialectOf(req)
	if d == otherStream || !eventStream(resp.Header) {
		return resp, nil
	}
	body := resp.Body
	g := &guardState{src: func() io.ReadCloser { return body }}
	g.scan.dialect = d
	resp.Body = g
	return resp, nil
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

func eventStream(h http.Header) bool {
	const want = "text/event-stream"
	got := first(h, "Content-Type")
	if len(got) < len(want) || !strings.EqualFold(got[:len(want)], want) {
		return false
	}
	if rest := strings.TrimLeft(got[len(want):], " \t"); rest != "" && rest[0] != ';' {
		return false
	}
	encoding := first(h, "Content-Encoding")
	return encoding == "" || strings.EqualFold(encoding, "identity")
}

type guardState struct {
	src  func() io.ReadCloser // a func, for the printers' sake
	scan streamScan
}

// Read passes the bytes on and looks at them.
func (g *guardState) Read(p []byte) (int, error) {
	n, err := g.src().Read(p)
	if !g.scan.done {
		if n > 0 {
			g.scan.write(p[:n])
		}
		if err == io.EOF && !g.scan.complete() {
			err = errStreamCut
		}
	}
	return n, err
}

// Close closes the stream.
func (g *guardState) Close() error { return g.src().Close() }
