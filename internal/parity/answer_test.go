package parity_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// fields notes what net/http tells of an answer.
func fields(n *network, resp *http.Response) {
	n.note("%s %s, length %d, uncompressed %t, encoding %q, transfer %v, type %q, vary %q", resp.Proto, resp.Status, resp.ContentLength,
		resp.Uncompressed, resp.Header.Get("Content-Encoding"), resp.TransferEncoding, resp.Header.Get("Content-Type"), resp.Header.Get("X-Custom"))
}

// noted makes one request, and notes the answer's fields and trailer.
func noted(s *side, req *http.Request, err error) result {
	if err != nil {
		return result{err: err}
	}
	resp, err := s.bare.Do(req)
	if err != nil {
		return result{err: err}
	}
	fields(s.network, resp)
	r := read(resp, nil)
	s.note("trailer %v", resp.Trailer)
	return r
}

// answerRows are answers in each form that net/http knows.
func answerRows() (rows []row) {
	add := func(class, name string, but *exception, h handler, change func(*http.Request)) {
		r := row{class: class, name: name, but: but, server: handle(h), calls: once(func(ctx context.Context, s *side) result {
			req, err := s.post(ctx, "{}")
			if err == nil && change != nil {
				change(req)
			}
			return noted(s, req, err)
		})}
		rows = append(rows, overBoth(r)...)
	}
	for _, status := range []int{200, 400} {
		for _, c := range compressions() {
			add("Compressed answers", fmt.Sprintf("%d, %s", status, c.name), redacted(status), c.handler(status), c.change)
		}
		but := (*exception)(nil)
		if status == 400 {
			but = except(whyTrailer, inOutcome)
		}
		add("Trailers of an answer", fmt.Sprint(status, ", announced"), but, func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			refuse(status, "text/plain", "text")(w, r)
			w.Header().Set("X-Sum", "1")
		}, nil)
		add("Trailers of an answer", fmt.Sprint(status, ", not announced"), but, func(_ int, w http.ResponseWriter, r *http.Request) {
			refuse(status, "text/plain", "text")(w, r)
			_ = http.NewResponseController(w).Flush()
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		}, nil)
		add("Long answers", fmt.Sprint(status, ", 10 MiB"), capped(status), func(_ int, w http.ResponseWriter, r *http.Request) {
			refuse(status, "text/plain", strings.Repeat("x", 10<<20))(w, r)
		}, nil)
		add("Long answers", fmt.Sprint(status, ", 60 KiB"), redacted(status), func(_ int, w http.ResponseWriter, r *http.Request) {
			refuse(status, "text/plain", strings.Repeat("x", 60<<10))(w, r)
		}, nil)
		for _, size := range []int{200, 300, 900} {
			but := redacted(status)
			if size > 256 {
				but = except(whyHeader, inOutcome)
			}
			add("Long headers of answers", fmt.Sprintf("%d, %d KiB", status, size), but, func(_ int, w http.ResponseWriter, r *http.Request) {
				for i := range size {
					w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1000))
				}
				refuse(status, "text/plain", "text")(w, r)
			}, nil)
		}
	}
	return slices.Concat(rows, headerRows(), pacedRows(), rawAnswerRows())
}

const whyRedacted = "the body of a refusal is searched for the credential before it is passed on: it comes decompressed, in one piece and without a length"

// redacted is the exception for answers that are refusals.
func redacted(status int) *exception {
	if status < 400 {
		return nil
	}
	return except(whyRedacted, inOutcome).maybe() // some forms have no length and are not compressed
}

const whyTrailer = "the trailer of a refusal is dropped: it could echo the credential after the answer was looked at"

func capped(status int) *exception {
	if status < 400 {
		return nil
	}
	return except(whyCap, inOutcome)
}

type compression struct {
	name    string
	handler func(status int) handler
	change  func(*http.Request)
}

func compressions() []compression {
	zipped := func(text string) func(int) handler {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		return func(status int) handler {
			return func(_ int, w http.ResponseWriter, r *http.Request) {
				refuse(status, "text/plain", b.String(), "Content-Encoding", "gzip", "X-Custom", r.Header.Get("Accept-Encoding"))(w, r)
			}
		}
	}
	broken := func(status int) handler {
		return func(_ int, w http.ResponseWriter, r *http.Request) {
			refuse(status, "text/plain", "no gzip at all", "Content-Encoding", "gzip")(w, r)
		}
	}
	accept := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Accept-Encoding", value) }
	}
	return []compression{
		{"gzip, asked by net/http", zipped("some text"), nil},
		{"gzip, asked by the caller", zipped("some text"), accept("gzip")},
		{"gzip, unasked", zipped("some text"), accept("identity")},
		{"gzip, empty", zipped(""), nil},
		{"gzip, long", zipped(strings.Repeat("some text ", 3000)), nil},
		{"gzip that is none", broken, nil},
	}
}

// pacedRows are answers that come piece by piece: each has to arrive when it
// was sent.
func pacedRows() (rows []row) {
	for _, status := range []int{200, 400} {
		for _, mediaType := range []string{"text/plain", "text/event-stream", "application/json"} {
			r := row{
				class: "An answer that comes piece by piece", name: fmt.Sprint(status, ", ", mediaType), steady: true,
				server: handle(func(_ int, w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", mediaType)
					w.WriteHeader(status)
					for range 4 {
						_, _ = io.WriteString(w, ": piece\n\n")
						_ = http.NewResponseController(w).Flush()
						time.Sleep(time.Second)
					}
					_, _ = io.WriteString(w, "data: [DONE]\n\n")
				}),
				calls: once(func(ctx context.Context, s *side) result {
					req, err := s.post(ctx, "{}")
					if err != nil {
						return result{err: err}
					}
					resp, err := s.bare.Do(req)
					if err != nil {
						return result{err: err}
					}
					defer resp.Body.Close()
					return pieces(s, resp)
				}),
			}
			if status == 400 {
				r.class, r.but = "A refusal that comes piece by piece", redacted(status)
			}
			rows = append(rows, overBoth(r)...)
		}
	}
	return rows
}

// pieces notes when each piece of an answer came.
func pieces(s *side, resp *http.Response) result {
	s.note("header after %v", time.Since(s.began))
	var text []byte
	for p := make([]byte, 64); ; {
		n, err := resp.Body.Read(p)
		if text = append(text, p[:n]...); n > 0 {
			s.note("%d bytes after %v", len(text), time.Since(s.began))
		}
		if err == io.EOF {
			return result{status: resp.StatusCode, text: string(text)}
		}
		if err != nil {
			return result{status: resp.StatusCode, err: err}
		}
	}
}

// rawAnswerRows are answers of HTTP/1 in forms that net/http's server does not write.
func rawAnswerRows() (rows []row) {
	for _, tc := range []struct{ name, text string }{
		{"HTTP/1.0, until the end", "HTTP/1.0 200 OK\r\n\r\ntext"},
		{"HTTP/1.1, until the end", "HTTP/1.1 200 OK\r\n\r\ntext"},
		{"Connection: close", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ntext"},
		{"no reason", "HTTP/1.1 200 \r\nContent-Length: 4\r\n\r\ntext"},
		{"lines that end in LF", "HTTP/1.1 200 OK\nContent-Length: 4\n\ntext"},
		{"chunk extensions", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\ntext\r\n0\r\n\r\n"},
		{"a refusal, until the end", "HTTP/1.1 404 Not Found\r\n\r\ntext"},
		{"a status of 600", "HTTP/1.1 600 Odd\r\nContent-Length: 4\r\n\r\ntext"},
		{"a status of 999", "HTTP/1.1 999 Odd\r\nContent-Length: 4\r\n\r\ntext"},
		{"100, then the answer", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext"},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"304", "HTTP/1.1 304 Not Modified\r\n\r\n"},
		{"two cookies", "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 4\r\n\r\ntext"},
	} {
		rows = append(rows, row{
			class: "Forms of answers over HTTP/1", name: tc.name, but: oddStatus(tc.name),
			server: script1(func(w *wire1) bool { w.writes(tc.text); return false }),
			calls: once(func(ctx context.Context, s *side) result {
				req, err := s.post(ctx, "{}")
				return noted(s, req, err)
			}),
		})
	}
	return rows
}

func oddStatus(name string) *exception {
	if strings.HasPrefix(name, "a status of") {
		return except(whyRedacted+"; "+whyRetries, inOutcome, inSends, inWait)
	}
	return nil
}

// headerRows are the fields of a header that programs and SDKs read.
func headerRows() (rows []row) {
	for _, status := range []int{200, 400, 404, 429} {
		r := row{class: "The header of an answer", name: fmt.Sprint(status), server: handle(func(_ int, w http.ResponseWriter, r *http.Request) {
			refuse(status, "application/json", bodies[0].text, "X-Request-Id", "req-1", "Retry-After", "3600", "Openai-Processing-Ms", "12",
				"X-Ratelimit-Remaining-Requests", "7", "X-Ratelimit-Reset-Tokens", "6m0s", "Set-Cookie", "a=1", "Set-Cookie", "b=2",
				"Etag", `"1"`, "Cache-Control", "no-store", "Www-Authenticate", `Bearer realm="r"`)(w, r)
		}), calls: once(func(ctx context.Context, s *side) result {
			req, err := s.post(ctx, "{}")
			if err != nil {
				return result{err: err}
			}
			resp, err := s.bare.Do(req)
			if err == nil {
				// The one says that it was retried below, the other is gone with a body that was looked at.
				resp.Header.Del("X-Should-Retry")
				resp.Header.Del("Content-Length")
				s.note("%v", resp.Header)
			}
			return read(resp, err)
		})}
		rows = append(rows, overBoth(r)...)
	}
	return rows
}
