package parity_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A network is what one run of a case is connected to: every address leads to
// the case's server.
type network struct {
	// serve answers one connection, the n-th from 1, and returns when it is done.
	serve func(n *network, number int, c *conn)
	// onDial, if not nil, comes before the connection is made.
	onDial func(ctx context.Context, number int) error

	healed atomic.Bool  // an outage is over
	sick   atomic.Int64 // sends that it has failed

	mu       sync.Mutex
	dials    int
	sends    int
	open     []*conn
	closed   bool
	cleanups []func()
	notes    []string
	servers  sync.WaitGroup
	began    time.Time
}

// DialContext is what a transport dials with.
func (n *network) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	n.dials++
	number := n.dials
	n.mu.Unlock()
	if n.onDial != nil {
		if err := n.onDial(ctx, number); err != nil {
			return nil, err
		}
	}
	client, server := newConns()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, net.ErrClosed
	}
	n.open = append(n.open, server)
	n.servers.Go(func() {
		n.serve(n, number, server)
	})
	return client, nil
}

// count counts a request that has arrived, and returns its number from 1.
func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sends++
	return n.sends
}

// note keeps what the server, or the case, saw: both sides have to show the same.
func (n *network) note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notes = append(n.notes, fmt.Sprintf(format, args...))
}

// connections are those that were made so far, the server's ends.
func (n *network) connections() []*conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*conn(nil), n.open...)
}

func (n *network) onClose(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cleanups = append(n.cleanups, f)
}

// close ends all connections and waits for their servers.
func (n *network) close() {
	n.mu.Lock()
	n.closed = true
	open, cleanups := n.open, n.cleanups
	n.mu.Unlock()
	for _, c := range open {
		c.reset()
	}
	for _, f := range cleanups {
		f()
	}
	n.servers.Wait()
}
