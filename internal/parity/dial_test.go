package parity_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"syscall"
	"time"
)

const whyCertificate = "a certificate that does not hold is not tried again: it may be an attack"

// dialRows are connections that are not made.
func dialRows() (rows []row) {
	for _, tc := range []struct {
		name string
		err  error
		wait time.Duration
	}{
		{"refused", unconnected(syscall.ECONNREFUSED), 0},
		{"no route", unconnected(syscall.EHOSTUNREACH), 0},
		{"no network", unconnected(syscall.ENETUNREACH), 0},
		{"timed out", dialTimeout(), 30 * time.Second},
		{"the name's lookup timed out", lookup(&net.DNSError{Err: "i/o timeout", Name: "api", IsTimeout: true}), 5 * time.Second},
		{"the name's lookup failed for now", lookup(&net.DNSError{Err: "server misbehaving", Name: "api", IsTemporary: true}), 0},
		{"the name was not found", lookup(&net.DNSError{Err: "no such host", Name: "api", IsNotFound: true}), 0},
	} {
		for _, last := range []int{1, 2, 0} {
			for _, c := range []caller{callers()[0], callers()[1], {"net/http", func(ctx context.Context, s *side) result {
				req, err := s.post(ctx, "{}")
				return do(s, req, err)
			}}} {
				r := row{
					class: "A dial that fails" + map[int]string{1: ", once", 2: ", twice", 0: ", always"}[last],
					name:  tc.name + ", " + c.name, server: handle(slow(0)), calls: once(c.call),
					onDial: func(_ context.Context, number int) error {
						if last > 0 && number > last {
							return nil
						}
						time.Sleep(tc.wait)
						return tc.err
					},
				}
				if c.name == "net/http" {
					r.but = moreDials(last)
				}
				rows = append(rows, r)
			}
		}
	}
	return append(rows, certificateRows()...)
}

// moreDials is moreUnless for calls that are never sent.
func moreDials(last int) *exception {
	if last > 0 {
		return nil
	}
	return except(whyRetries, inWait)
}

func unconnected(errno syscall.Errno) error {
	return netError("dial", os.NewSyscallError("connect", errno))
}

// lookingUp dials a name whose server does not answer.
func lookingUp(ctx context.Context, _ int) error {
	c, err := (&net.Dialer{Resolver: deafResolver()}).DialContext(ctx, "tcp", "api.example.:443")
	if err == nil {
		_ = c.Close()
	}
	return err
}

// deafResolver asks a server that never answers.
func deafResolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		c, _ := newConns()
		return c, nil
	}}
}

func lookup(err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: err}
}

func dialTimeout() error { return &net.OpError{Op: "dial", Net: "tcp", Err: timeoutError{}} }

// timeoutError is what a net.Dialer returns when its Timeout is over.
type timeoutError struct{}

func (timeoutError) Error() string        { return "i/o timeout" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// certificateRows are TLS connections that fail.
func certificateRows() (rows []row) {
	for _, tc := range []struct {
		name string
		but  *exception
		bad  func(c net.Conn)
	}{
		{"a certificate of another authority", except(whyCertificate, inOutcome), func(c net.Conn) {
			_ = tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{newPKI().certificate}}).Handshake()
		}},
		{"closed in the handshake", nil, func(net.Conn) {}},
		{"no TLS", nil, func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\nClient sent nothing of TLS to an HTTP server.\n"))
		}},
		{"an alert", nil, func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 80}) }},
	} {
		for _, last := range []int{1, 0} {
			r := row{
				class: "A TLS handshake that fails" + map[int]string{1: ", once", 0: ", always"}[last],
				name:  tc.name, protocol: https, calls: chatOnce,
				server: func(n *network) {
					handleTLS(slow(0))(n)
					well := n.serve
					n.serve = func(n *network, number int, c *conn) {
						if last > 0 && number > last {
							well(n, number, c)
							return
						}
						hello := make([]byte, 5)
						_, _ = c.Read(hello)
						tc.bad(&rewound{conn: c, head: hello})
						time.Sleep(time.Millisecond)
						_ = c.Close()
					}
				},
			}
			if last == 1 {
				r.but = tc.but
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// rewound reads head first.
type rewound struct {
	*conn
	head []byte
}

func (r *rewound) Read(p []byte) (int, error) {
	if n := copy(p, r.head); n > 0 {
		r.head = r.head[n:]
		return n, nil
	}
	return r.conn.Read(p)
}
