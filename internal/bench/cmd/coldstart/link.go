package main

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// A wire counts the round trips in a row that a process waits for, as a
// Lamport clock does: what it sends depends on all that has reached it, and the
// answer to that is one later. Links of one wire share the count.
type wire struct {
	delay time.Duration // each way
	mu    sync.Mutex
	clock int
}

func (w *wire) now() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *wire) arrived(at int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = max(w.clock, at)
}

// A link carries connections to a server, late. A new connection waits for one
// round trip more, which stands for TCP's handshake.
type link struct {
	*wire
	to string
	ln net.Listener
	wg sync.WaitGroup
}

func newLink(w *wire, to string) (*link, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("coldstart: %w", err)
	}
	l := &link{wire: w, to: to, ln: ln}
	l.wg.Go(l.serve)
	return l, nil
}

func (l *link) addr() string { return l.ln.Addr().String() }

func (l *link) close() {
	_ = l.ln.Close() // serve ends
	l.wg.Wait()
}

func (l *link) serve() {
	for {
		conn, err := l.ln.Accept()
		if err != nil {
			return // closed
		}
		l.wg.Go(func() { l.carry(conn) })
	}
}

// A packet is on its way until due.
type packet struct {
	data []byte
	due  time.Time
	at   int // the round trip that it answers or belongs to
}

func (l *link) carry(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	server, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	begun, opened := l.now(), time.Now().Add(2*l.delay)
	var mu sync.Mutex
	asked := begun + 1 // the last packet that reached the server
	var wg sync.WaitGroup
	wg.Go(func() {
		// Until the handshake is over, the process waits for it.
		l.pump(conn, server, func() (int, time.Time) {
			if now := time.Now(); now.After(opened) {
				return l.now(), now.Add(l.delay)
			}
			return begun + 1, opened.Add(l.delay)
		}, func(p packet) {
			mu.Lock()
			asked = max(asked, p.at)
			mu.Unlock()
		})
	})
	wg.Go(func() {
		l.pump(server, conn, func() (int, time.Time) {
			mu.Lock()
			defer mu.Unlock()
			return asked + 1, time.Now().Add(l.delay)
		}, func(p packet) { l.arrived(p.at) })
	})
	wg.Wait()
}

// pump carries what comes from one side to the other. stamp says when it is
// due, delivered is told before it arrives.
func (l *link) pump(from, to net.Conn, stamp func() (int, time.Time), delivered func(packet)) {
	packets := make(chan packet, 1024)
	go func() {
		defer close(packets)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if n > 0 {
				at, due := stamp()
				packets <- packet{buf[:n], due, at}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range packets {
		if wait := time.Until(p.due); wait > 0 {
			<-time.After(wait)
		}
		delivered(p)
		if _, err := to.Write(p.data); err != nil {
			break
		}
	}
	// The other direction ends as well.
	_ = from.Close()
	_ = to.Close()
	for range packets {
	}
}
