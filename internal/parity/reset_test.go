package parity_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

const (
	whyHead   = "a part of the answer had come: the request was carried out and may be billed, and the answer's end does not come back"
	whyStream = "a stream that ends before its terminal event is an error, not a short answer"
)

// A fault is what becomes of one send over HTTP/1.
type fault struct {
	where, name string
	// text is what is written of an answer with that head and body.
	text func(head, body string) string
	// reset says that the connection is reset after it, not closed.
	reset bool
	why   string // the reason for which latchkey does not send again
}

// act answers the request, or does not; the connection ends with it.
func (f *fault) act(w *wire1) {
	if strings.Contains(w.bodyText(), `"stream":true`) {
		w.writes(f.text(headOf("text/event-stream"), chunks))
	} else {
		w.writes(f.text(headOf("application/json"), completion))
	}
	if f.reset {
		w.conn.reset()
	}
}

func headOf(mediaType string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: " + mediaType + "\r\n"
}

// faults are closes and resets at each point of an exchange.
func faults() (all []fault) {
	always := func(text string) func(string, string) string {
		return func(string, string) string { return text }
	}
	whole := func(head, body string) string {
		return head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
	}
	chunked := func(head, body string) string {
		return head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", len(body)/2, body[:len(body)/2])
	}
	for _, tc := range []struct {
		where, name string
		text        func(head, body string) string
		why         string
	}{
		{"before the answer", "before the first byte", always(""), ""},
		{"in the head", "in the status line", always("HTTP/1.1 20"), whyHead},
		{"in the head", "in the header", func(head, _ string) string { return head + "X-A" }, whyHead},
		{"in the head", "before the empty line", func(head, _ string) string { return head }, whyHead},
		{"in the body", "after the header", func(head, body string) string { return strings.TrimSuffix(whole(head, body), body) }, ""},
		{"in the body", "in the body", func(head, body string) string { return strings.TrimSuffix(whole(head, body), body[len(body)/2:]) }, ""},
		{"in the body", "in a chunk", func(head, body string) string { c := chunked(head, body); return c[:len(c)-5] }, ""},
		{"in the body", "between chunks", func(head, body string) string { return chunked(head, body) + "\r\n" }, ""},
		{"in the body", "in the last line of chunks", func(head, body string) string {
			return chunked(head, body) + fmt.Sprintf("\r\n%x\r\n%s\r\n0\r\n", len(body)-len(body)/2, body[len(body)/2:])
		}, ""},
		{"after the answer", "after the body", whole, ""},
	} {
		all = append(all,
			fault{where: "Closed " + tc.where, name: tc.name, text: tc.text, why: tc.why},
			fault{where: "Reset " + tc.where, name: tc.name, text: tc.text, why: tc.why, reset: true})
	}
	for _, tc := range []struct{ name, text string }{
		{"no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n"},
		{"a status that is none", "HTTP/1.1 2xx OK\r\n\r\n"},
		{"a header without a colon", "HTTP/1.1 200 OK\r\nno header\r\n\r\n"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"},
	} {
		all = append(all, fault{where: "A malformed answer", name: tc.name, text: always(tc.text), why: whyHead})
	}
	return all
}

// A caller is a way to call openai-go.
type caller struct {
	name string
	call func(context.Context, *side) result
}

func callers() []caller {
	return []caller{
		{"POST", func(ctx context.Context, s *side) result { return chat(ctx, s) }},
		{"GET", list},
		{"stream", stream},
	}
}

// resetRows are all faults, on the first and on a later request of a
// connection, once and always.
func resetRows() (rows []row) {
	for _, f := range faults() {
		for _, c := range callers() {
			for _, last := range []int{1, 0} {
				for _, reused := range []bool{false, true} {
					rows = append(rows, faultRow(f, c, last, reused))
				}
			}
		}
	}
	return slices.Concat(rows, bodyResetRows(), streamRows())
}

func faultRow(f fault, c caller, last int, reused bool) row {
	first, on := 1, "a new connection"
	if reused {
		first, on = 2, "a used connection"
	}
	r := row{
		class: f.where + map[int]string{1: ", once", 0: ", always"}[last],
		name:  f.name + ", " + c.name + ", " + on,
		server: script1(func(w *wire1) bool {
			if w.number < first || last > 0 && w.number > first {
				w.well()
				return true
			}
			f.act(w)
			return false
		}),
		calls: func(ctx context.Context, s *side) (out []result) {
			if reused {
				out = append(out, c.call(ctx, s))
			}
			return append(out, c.call(ctx, s))
		},
	}
	if f.why != "" && last == 1 {
		r.but = except(f.why, inOutcome)
	}
	return r
}

// well answers a request as the service does when all is well.
func (w *wire1) well() {
	if strings.Contains(w.bodyText(), `"stream":true`) {
		w.answer(200, chunks, "Content-Type", "text/event-stream")
		return
	}
	w.ok()
}

func (w *wire1) bodyText() string {
	b := readAll(w.req.Body)
	w.req.Body = readCloser(b)
	return b
}

// chunks is a stream of events with its end.
const chunks = `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"fo"}}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"ur"},"finish_reason":"stop"}]}

data: [DONE]

`

// streamRows are streams that end well, in a number of spacings, and not.
func streamRows() (rows []row) {
	event := `{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"four"}}]}`
	for _, tc := range []struct {
		name, body string
		but        *exception
	}{
		{"whole", chunks, nil},
		{"whole, CRLF", strings.ReplaceAll(chunks, "\n", "\r\n"), nil},
		{"whole, with comments", ": ping\n\n" + strings.ReplaceAll(chunks, "\n\n", "\n\n: ping\n\n"), nil},
		{"whole, no space", strings.ReplaceAll(chunks, "data: ", "data:"), nil},
		{"whole, no empty line at the end", strings.TrimSuffix(chunks, "\n"), nil},
		{"whole, and more after it", chunks + "data: more\n\n", nil},
		{"an error in an event", "data: " + bodies[0].text + "\n\n", nil},
		{"an event without its end", "data: " + event + "\n\n", except(whyStream, inOutcome)},
		{"nothing", "", except(whyStream, inOutcome)},
		{"half an event", "data: " + event[:40], except(whyStream, inOutcome)},
	} {
		class := "A stream that ends well, or with an error of its own"
		if tc.but != nil {
			class = "A stream without its end"
		}
		for _, p := range []protocol{http1, http2Plain} {
			rows = append(rows, row{
				class: class, name: tc.name, protocol: p, but: tc.but, calls: once(stream),
				server: handle(func(_ int, w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					_, _ = io.WriteString(w, tc.body)
				}),
			})
		}
	}
	return rows
}
