package middleware

import (
	"io"
	"net/http"
)

// An observedConn is the body of "101 Switching Protocols", which is written to.
type observedConn struct {
	*observedBody
	write func(p []byte) (int, error)
}

func (c observedConn) Write(p []byte) (int, error) { return c.write(p) }

// hide puts the body of resp out of the sight of printers, and under the eyes
// of those who observe.
func (b *observedBody) hide(resp *http.Response, s *sending, room *io.ReadCloser) {
	if bodyless(resp) {
		s.end(nil)
	}
	if resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	conn, _ := resp.Body.(io.Writer)
	b.watch(resp, s, room)
	resp.Body = b
	if conn != nil {
		resp.Body = observedConn{b, conn.Write}
	}
}
