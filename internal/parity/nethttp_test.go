package parity_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	whyOrigin = "a request to another origin than the base URL's fails, and carries no credential (P7)"
	whyCap    = "the body of a refusal is cut at 64 KiB"
	whyHeader = "an answer's header is 256 KiB at most"
)

// wire notes how a request looks on the wire, but for its credential.
func wire(n *network, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	sum := sha256.Sum256(body)
	n.note("%s %s, Host %s, length %d, %v, %d bytes %x, %v, trailer %v", r.Method, r.URL, r.Host, r.ContentLength,
		r.TransferEncoding, len(body), sum[:4], err, r.Trailer)
}

// mirror notes each request, and answers the first sends up to fail with a 503.
func mirror(fail int) func(*network) {
	return watch(func(n *network, number int, w http.ResponseWriter, r *http.Request) {
		wire(n, r)
		if number <= fail {
			busy(503)(w, r)
			return
		}
		complete(w)
	})
}

// bare is a row for one request with net/http's client.
func bare(class, name string, server func(*network), request func(ctx context.Context, s *side) (*http.Request, error)) row {
	return row{class: class, name: name, server: server, calls: once(func(ctx context.Context, s *side) result {
		req, err := request(ctx, s)
		return do(s, req, err)
	})}
}

// overBoth are the rows over both protocols.
func overBoth(rows ...row) (out []row) {
	for _, r := range rows {
		for _, p := range []protocol{http1, http2Plain} {
			r.protocol = p
			out = append(out, r)
		}
	}
	return out
}

func netHTTPRows() []row {
	return slices.Concat(methodRows(), goodStatusRows(), redirectRows(), bodyRows(), brokenBodyRows(), answerRows())
}

func methodRows() (rows []row) {
	for _, method := range []string{"GET", "HEAD", "DELETE", "POST", "PUT", "PATCH", "OPTIONS"} {
		for _, b := range []struct {
			name string
			body func() io.Reader
		}{
			{"no body", func() io.Reader { return nil }},
			{"http.NoBody", func() io.Reader { return http.NoBody }},
			{"an empty body", func() io.Reader { return strings.NewReader("") }},
			{"a body", func() io.Reader { return strings.NewReader("body") }},
		} {
			for _, fail := range []int{0, 1} {
				rows = append(rows, overBoth(bare("Each method", fmt.Sprintf("%s, %s, %d refusals", method, b.name, fail), lastWire(fail),
					func(ctx context.Context, s *side) (*http.Request, error) {
						return http.NewRequestWithContext(ctx, method, s.base+"files/1?x=%2F", b.body())
					}))...)
			}
		}
	}
	return rows
}

// lastWire is mirror with the notes of the answered request alone: net/http
// does not send again.
func lastWire(fail int) func(*network) {
	return watch(func(n *network, number int, w http.ResponseWriter, r *http.Request) {
		if number <= fail {
			busy(503)(w, r)
			return
		}
		wire(n, r)
		complete(w)
	})
}

func goodStatusRows() (rows []row) {
	for status := 200; status < 400; status++ {
		for _, p := range []protocol{http1, http2Plain} {
			rows = append(rows, row{
				class: "Status 200 to 399", name: fmt.Sprint(status), protocol: p,
				server: handle(func(_ int, w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Location", "/v1/elsewhere")
					refuse(status, "text/plain", "text")(w, r)
				}),
				calls: once(func(ctx context.Context, s *side) result {
					s.bare.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
					req, err := s.post(ctx, "{}")
					return do(s, req, err)
				}),
			})
		}
	}
	return rows
}

func redirectRows() (rows []row) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []struct {
			name, location string
			but            *exception
		}{
			{"the same origin", "/v1/elsewhere", nil},
			{"the same origin, absolute", "http://127.0.0.1/v1/elsewhere", nil},
			{"another host", "http://other.example/v1/elsewhere", except(whyOrigin, inOutcome)},
			{"another port", "http://127.0.0.1:8080/v1/elsewhere", except(whyOrigin, inOutcome)},
		} {
			r := bare("A redirect", fmt.Sprintf("%d to %s", status, to.name), watch(
				func(n *network, _ int, w http.ResponseWriter, r *http.Request) {
					if !strings.HasSuffix(r.URL.Path, "elsewhere") {
						w.Header().Set("Location", to.location)
						w.WriteHeader(status)
						return
					}
					wire(n, r)
					complete(w)
				}),
				func(ctx context.Context, s *side) (*http.Request, error) { return s.post(ctx, "{}") })
			if r.but = to.but; r.but != nil {
				r.class = "A redirect to another origin"
			}
			rows = append(rows, overBoth(r)...)
		}
	}
	return rows
}

// bodyRows are bodies that net/http cannot have again, of each size around
// what latchkey keeps.
func bodyRows() (rows []row) {
	for _, size := range []int{0, 1, 1000, 1 << 20, 1<<20 + 1, 3 << 20} {
		for _, declared := range []bool{true, false} {
			for _, fail := range []int{0, 1} {
				name := fmt.Sprintf("%d bytes, the length is declared: %t, %d refusals", size, declared, fail)
				rows = append(rows, overBoth(bare("A body without GetBody", name, lastWire(fail),
					func(ctx context.Context, s *side) (*http.Request, error) {
						req, err := http.NewRequestWithContext(ctx, "POST", s.base+"files", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", size))})
						if err == nil && declared {
							req.ContentLength = int64(size)
						}
						return req, err
					}))...)
			}
		}
	}
	return rows
}

// A brokenBody fails after text, and notes what is done with it.
type brokenBody struct {
	io.Reader
	err error
	n   *network
}

func (b *brokenBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func (b *brokenBody) Close() error {
	b.n.note("closed")
	return nil
}

// brokenBodyRows are bodies that fail, and lengths that are wrong.
func brokenBodyRows() (rows []row) {
	for _, tc := range []struct {
		name   string
		text   string
		err    error
		length int64
	}{
		{"whole", "body", io.EOF, 4},
		{"fails at once", "", errCause, -1},
		{"fails in the middle", "body", errCause, 8},
		{"fails in the middle, undeclared", long, errCause, -1},
		{"fails with ErrUnexpectedEOF", "body", io.ErrUnexpectedEOF, -1},
		{"shorter than declared", "body", io.EOF, 8},
		{"longer than declared", "body", io.EOF, 2},
	} {
		rows = append(rows, overBoth(bare("A body that fails, or has another length", tc.name,
			handle(slow(time.Second)), // or the answer and the error race
			func(ctx context.Context, s *side) (*http.Request, error) {
				req, err := http.NewRequestWithContext(ctx, "POST", s.base+"files", &brokenBody{strings.NewReader(tc.text), tc.err, s.network})
				if err == nil {
					req.ContentLength = tc.length
				}
				return req, err
			}))...)
	}
	for i := range rows {
		calls := rows[i].calls
		rows[i].calls = func(ctx context.Context, s *side) []result {
			out := calls(ctx, s)
			s.mu.Lock()
			defer s.mu.Unlock()
			slices.Sort(s.notes)
			s.notes = slices.Compact(s.notes) // a body may be closed twice
			return out
		}
	}
	return rows
}
