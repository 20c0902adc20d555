package clienttest

import (
	"net/http"
	"strings"
)

// An sse writes server-sent events (WHATWG HTML, section 9.2). Each event is one
// Write: a faultWriter counts them by that.
type sse struct {
	w    http.ResponseWriter
	ctrl *http.ResponseController
	buf  []byte
	err  error
}

// stream begins a streamed answer and counts it as a success.
func (c *call) stream() *sse {
	c.ok.Add(1)
	c.setHeader("text/event-stream; charset=utf-8")
	c.w.Header().Set("Cache-Control", "no-cache")
	c.w.WriteHeader(http.StatusOK)
	return &sse{w: c.w, ctrl: http.NewResponseController(c.w)}
}

// send writes one event and flushes it. After an error it does nothing: the
// client has left, or a fault has cut the stream.
func (s *sse) send(event string, data []byte) {
	if s.err != nil {
		return
	}
	s.buf = s.buf[:0]
	if event != "" {
		s.buf = append(append(append(s.buf, "event: "...), event...), '\n')
	}
	s.buf = append(append(append(s.buf, "data: "...), data...), "\n\n"...)
	if _, s.err = s.w.Write(s.buf); s.err == nil {
		_ = s.ctrl.Flush() // a writer that cannot flush sends it later
	}
}

// done ends a stream of chat.completion.chunk or text_completion.
func (s *sse) done() { s.send("", []byte("[DONE]")) }

// maxDeltas bounds the events of a long answer.
const maxDeltas = 64

// deltas splits an answer at its spaces, never inside a character.
func deltas(text string) []string { return strings.SplitAfterN(text, " ", maxDeltas) }
