package parity_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

func featureRows() []row {
	return slices.Concat(trailerRows(), expectRows(), traceRows(), upgradeRows(), duplexRows(), cancelRows(), clientRows())
}

// withBody is a request with a body of which nothing is known.
func withBody(ctx context.Context, s *side, body io.Reader) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodPost, s.base+"files", struct{ io.Reader }{body})
}

// onEOF calls f when the body has been read.
type onEOF struct {
	io.Reader
	f func()
}

func (r *onEOF) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		r.f()
	}
	return n, err
}

// trailerRows are requests with trailers.
func trailerRows() (rows []row) {
	for _, size := range []int{0, 10, 100 << 10, 2 << 20} {
		for _, fail := range []int{0, 1} {
			rows = append(rows, overBoth(bare("Trailers of a request", fmt.Sprintf("%d bytes, %d refusals", size, fail), lastWire(fail),
				func(ctx context.Context, s *side) (*http.Request, error) {
					trailer := http.Header{"X-Sum": nil}
					req, err := withBody(ctx, s, &onEOF{strings.NewReader(strings.Repeat("x", size)), func() { trailer.Set("X-Sum", "1") }})
					if err == nil {
						req.Trailer = trailer
					}
					return req, err
				}))...)
		}
	}
	return rows
}

// expectRows are requests with Expect: 100-continue.
func expectRows() (rows []row) {
	const text = "HTTP/1.1 100 Continue\r\n\r\n"
	readOn := func(n *network, w *wire1) {
		body, _ := io.ReadAll(w.req.Body)
		n.note("%d bytes after %v", len(body), time.Since(n.began))
	}
	for _, tc := range []struct {
		name string
		act  func(n *network, w *wire1) bool
	}{
		{"100 at once", func(n *network, w *wire1) bool { w.writes(text); readOn(n, w); w.ok(); return true }},
		{"100 after 300 ms", func(n *network, w *wire1) bool {
			time.Sleep(300 * time.Millisecond)
			w.writes(text)
			readOn(n, w)
			w.ok()
			return true
		}},
		{"no 100", func(n *network, w *wire1) bool { readOn(n, w); w.ok(); return true }},
		{"417", func(_ *network, w *wire1) bool { w.answer(417, "no", "Connection", "close"); return false }},
		{"413", func(_ *network, w *wire1) bool { w.answer(413, "no", "Connection", "close"); return false }},
		{"200 without the body", func(_ *network, w *wire1) bool { w.answer(200, "ok", "Connection", "close"); return false }},
	} {
		for _, size := range []int{10, 2 << 20} {
			for _, again := range []bool{true, false} {
				rows = append(rows, row{
					class: "Expect: 100-continue", name: fmt.Sprintf("%s, %d bytes, the body can be had again: %t", tc.name, size, again),
					server: func(n *network) { script1Head(func(w *wire1) bool { return tc.act(n, w) })(n) },
					calls:  once(func(ctx context.Context, s *side) result { return expecting(ctx, s, size, again) }),
					steady: true,
				})
			}
		}
	}
	return append(rows, gatedRows()...)
}

func expecting(ctx context.Context, s *side, size int, again bool) result {
	text := strings.Repeat("x", size)
	req, err := s.post(ctx, text)
	if err == nil && !again {
		req, err = withBody(ctx, s, strings.NewReader(text))
	}
	if err == nil {
		req.ContentLength = int64(size)
		req.Header.Set("Expect", "100-continue")
	}
	return do(s, req, err)
}

// gatedRows are bodies that are written only when the server has said so.
func gatedRows() (rows []row) {
	server := watch(func(n *network, number int, w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // the server says 100 now
		n.note("%s %v", body, err)
		complete(w)
	})
	r := row{class: "A pipe that is written after Got100Continue", name: "written at once", server: server, steady: true,
		calls: once(func(ctx context.Context, s *side) result {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			body, pipe := io.Pipe()
			ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got100Continue: func() {
				go func() {
					_, _ = io.WriteString(pipe, "body")
					_ = pipe.Close()
				}()
			}})
			req, err := withBody(ctx, s, body)
			if err == nil {
				req.Header.Set("Expect", "100-continue")
			}
			out := do(s, req, err)
			_ = body.Close()
			return out
		})}
	return overBoth(r)
}

// traceRows are what httptrace sees.
func traceRows() (rows []row) {
	for _, fail := range []int{0, 1} {
		early := watch(func(_ *network, number int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(103)
			w.WriteHeader(103)
			if number <= fail {
				busy(503)(w, r)
				return
			}
			complete(w)
		})
		r := row{class: "1xx seen by httptrace", name: fmt.Sprintf("%d refusals", fail), server: early,
			calls: once(func(ctx context.Context, s *side) result {
				sends := map[int]int{}
				ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					if sends[code]++; sends[code] <= 2 {
						s.note("%d %v", code, h)
					}
					return nil
				}})
				req, err := s.post(ctx, "{}")
				return do(s, req, err)
			})}
		rows = append(rows, overBoth(r)...)
	}
	r := row{class: "The hooks of httptrace", name: "POST", server: handle(slow(0)), calls: once(func(ctx context.Context, s *side) result {
		req, err := s.post(traced(ctx, s.network), "{}")
		return do(s, req, err)
	})}
	return append(rows, overBoth(r)...)
}

// traced notes each hook of one request.
func traced(ctx context.Context, n *network) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(addr string) { n.note("GetConn %s", addr) },
		GotConn:              func(i httptrace.GotConnInfo) { n.note("GotConn %t", i.Reused) },
		WroteHeaders:         func() { n.note("WroteHeaders") },
		WroteRequest:         func(i httptrace.WroteRequestInfo) { n.note("WroteRequest %v", i.Err) },
		GotFirstResponseByte: func() { n.note("GotFirstResponseByte") },
	})
}

// clientRows are what a program sets on the HTTP client and the request.
func clientRows() (rows []row) {
	rows = append(rows, overBoth(
		row{class: "What the HTTP client does", name: "cookies", server: watch(func(n *network, _ int, w http.ResponseWriter, r *http.Request) {
			n.note("%s", r.Header.Get("Cookie"))
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "1", Path: "/"})
			complete(w)
		}), calls: func(ctx context.Context, s *side) (out []result) {
			s.bare.Jar, _ = cookiejar.New(nil)
			for range 2 {
				req, err := s.post(ctx, "{}")
				out = append(out, do(s, req, err))
			}
			return out
		}},
		row{class: "A request with another Host", name: "POST", server: mirror(0), but: except(whyOrigin, inOutcome),
			calls: once(func(ctx context.Context, s *side) result {
				req, err := s.post(ctx, "{}")
				if err == nil {
					req.Host = "inside.example"
				}
				return do(s, req, err)
			})},
		bare("What the HTTP client does", "a header in lower case", watch(func(n *network, _ int, w http.ResponseWriter, r *http.Request) {
			n.note("%v %v", r.Header["X-Custom"], r.Header["User-Agent"])
			complete(w)
		}), func(ctx context.Context, s *side) (*http.Request, error) {
			req, err := s.post(ctx, "{}")
			if err == nil {
				req.Header["x-custom"] = []string{"1", "2"}
				req.Header["User-Agent"] = nil
			}
			return req, err
		}),
		bare("What the HTTP client does", "Request.Close", mirror(0), func(ctx context.Context, s *side) (*http.Request, error) {
			req, err := s.post(ctx, "{}")
			if err == nil {
				req.Close = true
			}
			return req, err
		}),
	)...)
	return slices.Concat(rows, moreClientRows(), []row{largeUploadRow()})
}

// moreClientRows are what is left of a request and of a connection.
func moreClientRows() []row {
	return overBoth(
		row{class: "What the HTTP client does", name: "the caller's request is as it was", server: handle(slow(0)),
			calls: once(func(ctx context.Context, s *side) result {
				req, err := s.post(ctx, "{}")
				if err != nil {
					return result{err: err}
				}
				resp, err := s.bare.Do(req)
				if err != nil {
					return result{err: err}
				}
				s.note("%v, the answer's request is the caller's: %t", req.Header, resp.Request == req)
				return read(resp, nil)
			})},
		row{class: "What the HTTP client does", name: "a body that is closed early leaves the connection", dials: true,
			server: handle(func(_ int, w http.ResponseWriter, r *http.Request) {
				refuse(200, "text/plain", strings.Repeat("x", 1000))(w, r)
			}),
			calls: func(ctx context.Context, s *side) (out []result) {
				for range 3 {
					req, err := s.post(ctx, "{}")
					if err != nil {
						return append(out, result{err: err})
					}
					resp, err := s.bare.Do(req)
					if err != nil {
						return append(out, result{err: err})
					}
					_, _ = io.CopyN(io.Discard, resp.Body, 1000)
					_ = resp.Body.Close()
					out = append(out, result{status: resp.StatusCode})
				}
				return out
			}},
		row{class: "What the HTTP client does", name: "100 calls at once", server: handle(slow(time.Second)), steady: true,
			calls: func(ctx context.Context, s *side) []result {
				return atOnce(100, func() result { return chat(ctx, s) })
			}},
	)
}

// largeUploadRow is a body that no layer may keep as a whole.
func largeUploadRow() row {
	return bare("What the HTTP client does", "an upload of 16 MiB", lastWire(0), func(ctx context.Context, s *side) (*http.Request, error) {
		return withBody(ctx, s, bytes.NewReader(make([]byte, 16<<20)))
	})
}
