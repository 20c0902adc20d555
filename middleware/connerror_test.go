package middleware_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

func TestRetrySendsAgainAfterConnectionErrorsOnly(t *testing.T) {
	op := func(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }
	broken := func(err error) error {
		return fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", err)
	}
	for name, tc := range map[string]struct {
		err   error
		again bool
	}{
		"dial refused":            {op("dial", syscall.ECONNREFUSED), true},
		"dial timeout":            {op("dial", os.ErrDeadlineExceeded), true},
		"no such host":            {op("dial", &net.DNSError{Err: "no such host", IsNotFound: true}), true},
		"DNS is down":             {op("dial", &net.DNSError{Err: "server misbehaving", IsTemporary: true}), true},
		"proxy refused":           {op("proxyconnect", syscall.ECONNREFUSED), true},
		"proxy's certificate":     {op("proxyconnect", &tls.CertificateVerificationError{Err: x509.HostnameError{}}), false},
		"reset before the answer": {op("read", syscall.ECONNRESET), true},
		"reset in the answer":     {broken(op("read", syscall.ECONNRESET)), false},
		"broken pipe":             {broken(op("write", syscall.EPIPE)), true},
		"closed before an answer": {io.EOF, true},
		"closed in the answer":    {broken(io.ErrUnexpectedEOF), false},
		"HTTP/2 closed":           {io.ErrUnexpectedEOF, true},
		"both":                    {errors.Join(io.EOF, io.ErrUnexpectedEOF), false},
		"malformed":               {broken(errors.New(`malformed HTTP response "http2: client connection lost"`)), false},
		"idle closed":             {errors.New("http: server closed idle connection"), true},
		"cannot rewind":           {errors.New("net/http: cannot rewind body after connection loss"), true},
		"GOAWAY":                  {errors.New("http2: Transport: cannot retry err [GOAWAY] after Request.Body was written"), true},
		"GOAWAY, wrapped":         {fmt.Errorf("x: %w", errors.New("http2: server sent GOAWAY and closed the connection; x")), true},
		"GOAWAY for an error":     {errors.New("http2: Transport received GOAWAY from server ErrCode:INTERNAL_ERROR"), true},
		"no TLS":                  {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, true},
		"TLS alert that passes":   {op("remote error", errors.New("tls: internal error")), true},
		"refused stream":          {errors.New("stream error: stream ID 1; REFUSED_STREAM; received from peer"), true},
		"internal error":          {errors.New("stream error: stream ID 1; INTERNAL_ERROR; received from peer"), true},
		"our own stream error":    {errors.New("stream error: stream ID 1; PROTOCOL_ERROR; invalid header"), false},
		"TLS handshake timeout":   {op("dial", os.ErrDeadlineExceeded), true},
		"TLS alert":               {op("remote error", errors.New("tls: bad certificate")), false},
		"unknown authority":       {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false},
		"hostname":                {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}, false},
		"authority":               {x509.UnknownAuthorityError{}, false},
		"invalid":                 {x509.CertificateInvalidError{}, false},
		"an inner timeout":        {context.DeadlineExceeded, true},
		"canceled by whom":        {context.Canceled, false},
		"another origin":          {fmt.Errorf("%w: %w", middleware.ErrOrigin, io.EOF), false},
		"rejected":                {fmt.Errorf("%w: %w", credential.ErrRejected, io.EOF), false},
		"unavailable":             {fmt.Errorf("%w: %w", credential.ErrUnavailable, io.EOF), false},
		"not found":               {fmt.Errorf("%w: %w", credential.ErrNotFound, io.EOF), false},
		"the store is down":       {&credential.SourceError{Source: "s", Err: op("dial", syscall.ECONNREFUSED)}, false},
		"dial not permitted":      {op("dial", notPermitted{}), false},
		"proxy not permitted":     {op("proxyconnect", op("dial", notPermitted{})), false},
		"unknown":                 {errors.New("boom"), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []func(*http.Request) (*http.Response, error){failure(tc.err)}}
			_, err := newRetry(t, nil, s).RoundTrip(post(t, chat, "prompt"))
			if want := map[bool]int{true: 3, false: 1}[tc.again]; len(s.sent) != want || !errors.Is(err, tc.err) {
				t.Errorf("%s: %d sends and %v; want %d and the last error", name, len(s.sent), err, want)
			}
		})
	}
}

// notPermitted is an error as those of package dialguard.
type notPermitted struct{}

func (notPermitted) Error() string { return "the address may not be dialed" }
func (notPermitted) NonRetriable() {}

func TestRetryDoesNotSendAfterTheCallersContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &script{steps: []func(*http.Request) (*http.Response, error){func(*http.Request) (*http.Response, error) {
		cancel()
		return nil, io.EOF
	}}}
	if _, err := newRetry(t, nil, s).RoundTrip(post(t, chat, "prompt").WithContext(ctx)); !errors.Is(err, io.EOF) || len(s.sent) != 1 {
		t.Errorf("%d sends and %v; want 1 and the error of it", len(s.sent), err)
	}
}

// A peer is a server on a loopback port that does with the n-th connection
// what the n-th step says, after it has read a request.
func peer(t testing.TB, steps ...func(net.Conn)) (url string, conns func() int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	count, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			step := steps[min(count, len(steps)-1)]
			count++
			readRequest(c)
			step(c)
			_ = c.Close()
		}
	}()
	stop := func() int { _ = ln.Close(); <-done; return count }
	t.Cleanup(func() { stop() })
	return "http://" + ln.Addr().String(), stop
}

// readRequest reads a request with the body "prompt", or without one.
func readRequest(c net.Conn) {
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.HasSuffix(got.String(), "\r\n\r\nprompt") {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		got.Write(buf[:n])
	}
}

func say(text string) func(net.Conn) { return func(c net.Conn) { _, _ = io.WriteString(c, text) } }

func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

func newTransport(t testing.TB) *http.Transport {
	tr := &http.Transport{MaxResponseHeaderBytes: 256 << 10}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func TestRetryNeverSendsAgainAfterAByteOfTheAnswer(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for name, tc := range map[string]struct {
		first func(net.Conn)
		sends int
	}{
		"closed at once":           {say(""), 2},
		"reset at once":            {reset, 2},
		"closed after a byte":      {say("H"), 1},
		"closed in the header":     {say("HTTP/1.1 200 OK\r\nContent-"), 1},
		"not HTTP":                 {say("SSH-2.0-OpenSSH_9.6\r\n\r\n"), 1},
		"header of 10 MiB":         {say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 10<<20) + "\r\n\r\n"), 1},
		"answer that says 503":     {say("HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"), 2},
		"503 whose body breaks":    {say("HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 99\r\n\r\nx"), 2},
		"informational then close": {say("HTTP/1.1 103 Early Hints\r\n\r\n"), 1},
	} {
		url, conns := peer(t, tc.first, say(ok))
		rt := newRetry(t, &middleware.RetryOptions{BaseDelay: 1}, newTransport(t))
		resp, err := rt.RoundTrip(post(t, url, "prompt"))
		if err == nil {
			_ = resp.Body.Close()
		}
		if got := conns(); got != tc.sends || (err == nil) != (tc.sends == 2) {
			t.Errorf("%s: %d sends, want %d; error %.200v", name, got, tc.sends, err)
		}
	}
}

// A resetConn fails as a connection that is reset after so many reads.
type resetConn struct {
	net.Conn
	reads int
}

func (c *resetConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.reads--; c.reads < 0 {
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return n, err
}

// The difference is in the wording of net/http alone: this test tells when a
// new Go changes it.
func TestRetryTellsAResetBeforeTheAnswerFromOneInside(t *testing.T) {
	for reads, want := range []int{2, 1} { // sends, when the first connection fails after so many reads
		url, conns := peer(t, say("HTTP/1.1 200 OK\r\nContent-"), say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
		tr, dials := newTransport(t), 0
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if dials++; dials == 1 && err == nil {
				c = &resetConn{Conn: c, reads: reads}
			}
			return c, err
		}
		resp, err := newRetry(t, &middleware.RetryOptions{BaseDelay: 1}, tr).RoundTrip(post(t, url, "prompt"))
		if err == nil {
			_ = resp.Body.Close()
		}
		if got := conns(); got != want || (err == nil) != (want == 2) {
			t.Errorf("reset after %d reads: %d sends, want %d; error %v", reads, got, want, err)
		}
	}
}
