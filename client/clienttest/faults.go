package clienttest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// A Fault makes a request fail, or its answer unusual. It comes before the
// check of the key, once the request's body has been read.
//
// Hang, Reset, Malformed, EchoKey and the group from Status to Endless replace
// the answer, in this order: the first that is set counts. The others shape the
// answer, be it replaced or the usual one, and combine.
type Fault struct {
	// Path limits the fault to requests whose path ends in it. Empty is all,
	// the requests that warm a connection up included.
	Path string
	// Times is the number of requests that it applies to. Zero is one;
	// negative is all until [Service.ClearFaults].
	Times int

	// Hang answers nothing until the client leaves or the server closes.
	Hang bool
	// Reset resets the TCP connection before the answer; over HTTP/2 the
	// stream; in memory the error wraps syscall.ECONNRESET.
	Reset bool
	// Malformed answers a request with "stream": true with events whose data
	// is not JSON, and any other with what is not HTTP. Over HTTP/2 and in
	// memory the latter is a JSON text that breaks off.
	Malformed bool
	// EchoKey answers with the received credential in the body, in
	// WWW-Authenticate and in X-Echo-Key. Status is 401 unless set.
	EchoKey bool

	// Status is the status of the answer: 200, or 307 with Redirect, when it is
	// zero and a field below is set. One below 200 or above 999 is 500.
	Status int
	// Redirect is the Location header.
	Redirect string
	// Body is the body, application/json unless Header says otherwise.
	Body string
	// BodyBytes makes a body of that many bytes: Body over and over, zero
	// bytes without one.
	BodyBytes int64
	// Endless makes the body of BodyBytes endless.
	Endless bool

	// Header is set in the answer. Over a network a Content-Length that is more
	// than the body breaks it: io.ErrUnexpectedEOF.
	Header http.Header
	// HeaderBytes is the size of one more header, X-Filler.
	HeaderBytes int
	// Delay passes before the headers are sent, or before anything that
	// replaces them happens.
	Delay time.Duration
	// DripEvery passes before each byte of the body, of a stream each event.
	DripEvery time.Duration
	// Gzip compresses the body whatever the client accepts. With BodyBytes it
	// makes a bomb: about 1:1000.
	Gzip bool
	// CutAfter ends the body without an error after so many bytes, of a stream
	// events, before compression. Zero is off; negative ends it at once.
	CutAfter int
	// ResetAfter breaks the answer after so many bytes or events: the client
	// reads them, then io.ErrUnexpectedEOF; over HTTP/2 a stream error. Zero is
	// off; negative breaks it after the headers.
	ResetAfter int
	// ErrorAfter puts the event of Error into a stream after so many events, and
	// ends it, as a service does that meets a limit once the status is sent. Zero
	// is off; negative makes it the first event. Only a stream is changed. See
	// [ErrorKind.InStream].
	ErrorAfter int
	// Error is the error of ErrorAfter, in the form of the route.
	Error ErrorKind
}

// A scripted is a Fault and how often it still applies; negative is forever.
type scripted struct {
	Fault
	left atomic.Int64
}

func (f *scripted) take() bool {
	for {
		n := f.left.Load()
		if n <= 0 {
			return n < 0
		}
		if f.left.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// Inject adds f behind the faults that are waiting. A request meets the first
// one that is for its path.
func (s *Service) Inject(f Fault) {
	f.Header = f.Header.Clone()
	if f.Status != 0 && (f.Status < 200 || f.Status > 999) {
		f.Status = http.StatusInternalServerError // net/http would panic on some
	}
	next := &scripted{Fault: f}
	next.left.Store(int64(f.Times))
	if f.Times == 0 {
		next.left.Store(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*scripted
	if old := s.faults.Load(); old != nil {
		for _, o := range *old {
			if o.left.Load() != 0 {
				list = append(list, o)
			}
		}
	}
	list = append(list, next)
	s.faults.Store(&list)
}

// ClearFaults removes all faults. A request that met one before goes on with it.
func (s *Service) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.Store(nil)
}

func (s *Service) takeFault(path string) *Fault {
	list := s.faults.Load()
	if list == nil {
		return nil
	}
	for _, f := range *list {
		if strings.HasSuffix(path, f.Path) && f.take() {
			return &f.Fault
		}
	}
	return nil
}

// fail answers by f and returns true, or leaves the answer to the routes.
func (c *call) fail(f *Fault, w *faultWriter) bool {
	ctx := c.r.Context()
	if !sleep(ctx, f.Delay) {
		abort()
	}
	switch {
	case f.Hang:
		<-ctx.Done()
		abort()
	case f.Reset:
		reset(w.ResponseWriter)
	case f.Malformed:
		c.malformed(w)
	case f.EchoKey:
		c.echoKey(w)
	case f.Status != 0 || f.Redirect != "" || f.Body != "" || f.BodyBytes > 0 || f.Endless:
		c.scripted(w)
	default:
		return false
	}
	w.finish()
	return true
}

// abort breaks the answer off: over HTTP/1 the connection, over HTTP/2 the
// stream, in memory the body.
func abort() {
	panic(http.ErrAbortHandler) //nolint:forbidigo // net/http has no other way to reset an HTTP/2 stream
}

// reset sends a TCP reset where the connection can be had.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		abort()
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetLinger(0) // a close then sends RST, not FIN
	}
	conn.Close()
}

func (c *call) malformed(w *faultWriter) {
	var req struct{ Stream bool }
	if json.Unmarshal(c.body, &req) == nil && req.Stream {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range []string{"data: {\"id\":\"chatcmpl-\n\n", "data: not JSON\n\n", "neither field nor comment\n\n", "data: [DONE]\n\n"} {
			if _, err := w.Write([]byte(event)); err != nil {
				return
			}
		}
		return
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"id":"chatcmpl-1","choices":[{`))
		return
	}
	defer conn.Close()
	rw.WriteString("HTTP/1.1 2OO 0K\r\nContent-Length: minus one\r\n\r\n{}")
	rw.Flush()
	w.gone = true
}

func (c *call) echoKey(w *faultWriter) {
	h := w.Header()
	// A key that is sent as the wrong service's header is echoed too.
	key := c.key()
	for _, name := range credentialHeaders {
		if key == "" {
			key = c.r.Header.Get(name)
		}
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-Echo-Key", key)
	h.Set("Www-Authenticate", `Bearer error="invalid_token", error_description="`+key+`"`)
	status := w.f.Status
	if status == 0 {
		status = http.StatusUnauthorized
	}
	w.WriteHeader(status)
	w.Write([]byte(invalidKeyBody(key)))
}

func (c *call) scripted(w *faultWriter) {
	f, status := w.f, w.f.Status
	if f.Redirect != "" {
		w.Header().Set("Location", f.Redirect)
	}
	switch {
	case status == 0 && f.Redirect != "":
		status = http.StatusTemporaryRedirect
	case status == 0:
		status = http.StatusOK
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if f.BodyBytes <= 0 && !f.Endless {
		w.writeEvents([]byte(f.Body))
		return
	}
	pattern := make([]byte, 32<<10)
	if f.Body != "" {
		pattern = []byte(strings.Repeat(f.Body, max(1, len(pattern)/len(f.Body))))
	}
	for left := f.BodyBytes; f.Endless || left > 0; left -= int64(len(pattern)) {
		if !f.Endless && left < int64(len(pattern)) {
			pattern = pattern[:left]
		}
		if w.writeEvents(pattern) != nil || c.r.Context().Err() != nil {
			return
		}
	}
}

// sleep returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
