package azuretest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Pipe serves handler over connections in memory, and returns a transport that reaches
// it under every https address. There is no TLS on them. In a bubble of
// testing/synctest nothing waits for a network, so that its time goes on.
func Pipe(t testing.TB, handler http.Handler) *http.Transport {
	t.Helper()
	l := &memory{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l) // until Close
	}()
	transport := &http.Transport{DialTLSContext: l.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-ended
	})
	return transport
}

// memory is a listener without a network.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

var errClosed = errors.New("azuretest: the server is closed")

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-m.done:
		return nil, errClosed
	}
}

// Accept waits for a client.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, errClosed
	}
}

// Close ends the listener.
func (m *memory) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

// Addr is that of a pipe.
func (*memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }
