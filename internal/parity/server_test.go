package parity_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// A handler answers the send of that number, from 1, counted over all connections.
type handler func(number int, w http.ResponseWriter, r *http.Request)

// A watcher is a handler that notes what it sees.
type watcher func(n *network, number int, w http.ResponseWriter, r *http.Request)

func watch(h watcher) func(*network) {
	return func(n *network) {
		handle(func(number int, w http.ResponseWriter, r *http.Request) { h(n, number, w, r) })(n)
	}
}

// handle serves net/http's own server, over HTTP/1 and unencrypted HTTP/2.
func handle(h handler) func(*network) {
	return serving(h, func(srv *http.Server, l net.Listener) net.Listener {
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetUnencryptedHTTP2(true)
		return l
	})
}

// serving serves net/http's own server; secure prepares it, and its listener.
func serving(h handler, secure func(*http.Server, net.Listener) net.Listener) func(*network) {
	return func(n *network) {
		listener := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
		srv := &http.Server{ErrorLog: noLog()}
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			n.onClose(cancel) // a server that has not read the body does not notice the end of a connection
			h(n.count(), w, r.WithContext(ctx))
		})
		front := secure(srv, listener)
		n.servers.Go(func() { _ = srv.Serve(front) })
		n.onClose(func() { _ = srv.Close() })
		n.serve = func(_ *network, _ int, c *conn) { listener.give(c) }
	}
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) give(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return hostAddr{} }

func readCloser(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }

// A wire1 is a request over HTTP/1 that waits for its answer, byte by byte.
type wire1 struct {
	*conn
	number int // of the send, from 1, over all connections
	dial   int // of the connection, from 1
	req    *http.Request
	reader *bufio.Reader
}

// writes puts text on the wire.
func (w *wire1) writes(text string) { _, _ = io.WriteString(w.conn, text) }

// answer writes a whole answer; header are pairs.
func (w *wire1) answer(status int, body string, header ...string) {
	var b strings.Builder
	b.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
	for i := 0; i+1 < len(header); i += 2 {
		b.WriteString(header[i] + ": " + header[i+1] + "\r\n")
	}
	b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	w.writes(b.String())
}

// ok answers as the service does when all is well.
func (w *wire1) ok() { w.answer(200, completion, "Content-Type", "application/json") }

// script1 serves HTTP/1 by hand. The request's body has been read when step is
// called; step says with its result whether the connection goes on.
func script1(step func(w *wire1) bool) func(*network) {
	return script1Head(func(w *wire1) bool {
		body, err := io.ReadAll(w.req.Body)
		w.req.Body = readCloser(string(body))
		return err == nil && step(w)
	})
}

// script1Head is script1 with the request's body unread.
func script1Head(step func(w *wire1) bool) func(*network) {
	return func(n *network) {
		n.serve = func(n *network, number int, c *conn) {
			defer c.Close()
			r := bufio.NewReader(c)
			for {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if !step(&wire1{conn: c, number: n.count(), dial: number, req: req, reader: r}) {
					return
				}
			}
		}
	}
}
