package middleware

import (
	"io"
	"net/http"
	"sync/atomic"
)

// A hiddenBody is the body of an answer. From the one of net/http a printer by
// reflection walks to the connection's write buffer or, over HTTP/2, to the
// table of header compression, and both hold the credential. It stops at an
// atomic.Pointer, which is an address to it. A func would do the same for an
// allocation per call.
type hiddenBody struct {
	body atomic.Pointer[io.ReadCloser]
}

func (b *hiddenBody) Read(p []byte) (int, error) { return (*b.body.Load()).Read(p) }
func (b *hiddenBody) Close() error               { return (*b.body.Load()).Close() }

// A hiddenConn is the body of "101 Switching Protocols", which is written to.
type hiddenConn struct {
	*hiddenBody
	write func(p []byte) (int, error)
}

func (c hiddenConn) Write(p []byte) (int, error) { return c.write(p) }

// hide puts the body of resp out of sight.
func (o *outgoing) hide(resp *http.Response) {
	if resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	o.body = resp.Body
	o.answer.body.Store(&o.body)
	resp.Body = &o.answer
	if conn, ok := o.body.(io.Writer); ok {
		resp.Body = hiddenConn{&o.answer, conn.Write}
	}
}
