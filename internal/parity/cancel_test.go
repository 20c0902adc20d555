package parity_test

import (
	"context"
	"io"
	"net/http"
	"time"
)

// cancelRows are the two ways to end a request that are older than contexts,
// and ones that end before they begin.
func cancelRows() (rows []row) {
	for _, place := range []struct {
		name   string
		server func(*network)
		but    *exception
	}{
		{"waiting for the header", handle(slow(time.Hour)), nil},
		{"in the body", stalling(0, 200, "text/plain", "some text"), nil},
		{"in a retry's wait", failing(1, busy(503, "Retry-After", "30")), except(whyWait, inOutcome, inWait)},
	} {
		for _, how := range []struct {
			name   string
			cancel func(s *side, req *http.Request) func()
		}{
			{"Request.Cancel", func(_ *side, req *http.Request) func() {
				ch := make(chan struct{})
				req.Cancel = ch //nolint:staticcheck // it still has to work
				return func() { close(ch) }
			}},
			{"Transport.CancelRequest", func(s *side, req *http.Request) func() {
				return func() {
					if c, ok := s.transport.(interface{ CancelRequest(*http.Request) }); ok {
						c.CancelRequest(req)
						return
					}
					s.note("the transport has no CancelRequest")
				}
			}},
		} {
			r := row{class: "Canceled as before there were contexts", name: how.name + ", " + place.name, server: place.server, but: place.but, steady: true}
			r.calls = once(func(ctx context.Context, s *side) result {
				ctx, end := context.WithTimeout(ctx, time.Minute)
				defer end()
				req, err := s.post(ctx, "{}")
				if err != nil {
					return result{err: err}
				}
				timer := time.AfterFunc(limit, how.cancel(s, req))
				defer timer.Stop()
				resp, err := s.transport.RoundTrip(req)
				return read(resp, err)
			})
			if place.but != nil {
				r.class, r.must = r.class+", in a retry's wait", within(limit)
			}
			rows = append(rows, overBoth(r)...)
		}
	}
	return append(rows, malformedRows()...)
}

// malformedRows are requests that cannot be sent: each fails at once, and its
// body is closed.
func malformedRows() (rows []row) {
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
	}{
		{"no URL", func(r *http.Request) { r.URL = nil }},
		{"no header", func(r *http.Request) { r.Header = nil }},
		{"no host", func(r *http.Request) { r.URL.Host = "" }},
		{"another scheme", func(r *http.Request) { r.URL.Scheme = "ftp" }},
		{"a header name with a space", func(r *http.Request) { r.Header["a b"] = []string{"c"} }},
		{"a header value with a line break", func(r *http.Request) { r.Header.Set("A", "b\nc") }},
		{"a method with a space", func(r *http.Request) { r.Method = "PO ST" }},
		{"a negative length", func(r *http.Request) { r.ContentLength = -7 }},
	} {
		rows = append(rows, overBoth(row{
			class: "A request that is malformed", name: tc.name, server: handle(slow(0)), steady: true,
			calls: once(func(ctx context.Context, s *side) result {
				body := &closing{Reader: http.NoBody}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"files", body)
				if err != nil {
					return result{err: err}
				}
				req.ContentLength = 0
				tc.change(req)
				resp, err := s.transport.RoundTrip(req)
				r := read(resp, err)
				s.note("the body was closed: %t", body.closed)
				return r
			}),
		})...)
	}
	return rows
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}
