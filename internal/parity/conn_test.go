package parity_test

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how many bytes a connection takes before its reader reads: enough
// for a request, not for a long body.
const window = 64 << 10

// A half is one direction of a connection in memory.
type half struct {
	mu      sync.Mutex
	changed *sync.Cond
	data    []byte
	readErr error // what the reader gets after data
	// writeErr is what the writer gets, without a byte having been taken.
	writeErr error
	// grave, if not nil, is the other half of a connection that is dead
	// without its owner having noticed: the first write finds out.
	grave           *half
	readBy, writeBy time.Time
	alarms          [2]*time.Timer
}

func newHalf() *half {
	h := &half{}
	h.changed = sync.NewCond(&h.mu)
	return h
}

func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func netError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: hostAddr{}, Addr: hostAddr{}, Err: err}
}

func syscallError(op string, errno syscall.Errno) error {
	return netError(op, os.NewSyscallError(op, errno))
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case passed(h.readBy):
			return 0, netError("read", os.ErrDeadlineExceeded)
		case len(h.data) > 0:
			n := copy(p, h.data)
			h.data = h.data[n:]
			h.changed.Broadcast()
			return n, nil
		case h.readErr != nil:
			return 0, h.readErr
		case len(p) == 0:
			return 0, nil
		}
		h.changed.Wait()
	}
}

func (h *half) write(p []byte) (written int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(p) > 0 {
		switch room := window - len(h.data); {
		case passed(h.writeBy):
			return written, netError("write", os.ErrDeadlineExceeded)
		case h.grave != nil:
			h.writeErr = syscallError("write", syscall.ECONNRESET)
			grave := h.grave
			h.grave = nil
			go grave.end(syscallError("read", syscall.ECONNRESET), nil)
		case h.writeErr != nil:
			return written, h.writeErr
		case room > 0:
			n := min(room, len(p))
			h.data = append(h.data, p[:n]...)
			p, written = p[n:], written+n
			h.changed.Broadcast()
		default:
			h.changed.Wait()
		}
	}
	return written, nil
}

// end sets what reader and writer get from now on; nil leaves it.
func (h *half) end(readErr, writeErr error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if readErr != nil && h.readErr == nil {
		h.readErr = readErr
	}
	if writeErr != nil && h.writeErr == nil {
		h.writeErr = writeErr
	}
	h.changed.Broadcast()
}

func (h *half) setDeadline(which int, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*[2]*time.Time{&h.readBy, &h.writeBy}[which] = t
	if h.alarms[which] != nil {
		h.alarms[which].Stop()
	}
	if !t.IsZero() {
		h.alarms[which] = time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.changed.Broadcast()
		})
	}
	h.changed.Broadcast()
}

// A conn is one end of a connection in memory, with the errors of TCP's.
type conn struct {
	in, out *half
	once    sync.Once
}

func newConns() (client, server *conn) {
	up, down := newHalf(), newHalf()
	return &conn{in: down, out: up}, &conn{in: up, out: down}
}

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }

func (c *conn) Close() error {
	c.once.Do(func() {
		closed := netError("close", net.ErrClosed)
		c.in.mu.Lock()
		c.in.data, c.in.readErr, c.in.grave = nil, closed, nil
		c.in.mu.Unlock()
		c.in.end(nil, syscallError("write", syscall.EPIPE))
		c.out.end(io.EOF, closed)
		c.in.setDeadline(0, time.Time{})
		c.out.setDeadline(1, time.Time{})
	})
	return nil
}

// CloseWrite ends what the other end reads, and nothing else.
func (c *conn) CloseWrite() error {
	c.out.end(io.EOF, netError("close", net.ErrClosed))
	return nil
}

// reset is a RST: the other end finds its connection broken.
func (c *conn) reset() {
	c.out.end(syscallError("read", syscall.ECONNRESET), nil)
	c.in.end(nil, syscallError("write", syscall.ECONNRESET))
	_ = c.Close()
}

// die is the end of a connection that nobody tells the other end of: a frozen
// sandbox, a NAT that forgot it. The next write fails.
func (c *conn) die() {
	c.in.mu.Lock()
	c.in.grave = c.out
	c.in.mu.Unlock()
}

func (c *conn) LocalAddr() net.Addr                { return hostAddr{} }
func (c *conn) RemoteAddr() net.Addr               { return hostAddr{} }
func (c *conn) SetReadDeadline(t time.Time) error  { c.in.setDeadline(0, t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.out.setDeadline(1, t); return nil }
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

type hostAddr struct{}

func (hostAddr) Network() string { return "tcp" }
func (hostAddr) String() string  { return "127.0.0.1:80" }
