package middleware

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/hidden"
)

// Observe returns a layer that calls done for each send when it has ended: when
// the body of its answer has ended or was closed, or at once for an error, an
// answer without a body and 101 Switching Protocols. A nil done observes
// nothing.
//
// done gets the context of the request and the complete record. It runs on the
// goroutine that ends the send, often the one that reads the body, and may run
// on several at once; it should return soon. It may keep the record.
//
// Put the layer below [Auth], or it does not see single sends.
func Observe(done func(ctx context.Context, s *Send)) Middleware {
	if done == nil {
		return func(next http.RoundTripper) http.RoundTripper { return next }
	}
	return newObserver(done).layer
}

// ObserveIf is [Observe] for the sends whose context enabled accepts. It is asked
// before each send, and the others cost nothing: nobody reads what they used out of
// their answers. A nil enabled accepts all.
func ObserveIf(enabled func(ctx context.Context) bool, done func(ctx context.Context, s *Send)) Middleware {
	if done == nil {
		return Observe(nil)
	}
	o := newObserver(done)
	o.enabled = enabled
	return o.layer
}

// An observer is one function that is told of sends, and what it wants to know.
type observer struct {
	done    func(context.Context, *Send)
	headers []loggedHeader
	enabled func(context.Context) bool // nil for always
	models  modelNames
	intern  func(text []byte) string // of what answers say of themselves
	traces  *connTraces
}

func newObserver(done func(context.Context, *Send)) *observer {
	var said modelNames
	return &observer{done: done, intern: func(text []byte) string { return *said.intern(text) }, traces: newConnTraces()}
}

func (o *observer) layer(next http.RoundTripper) http.RoundTripper {
	return &observeLayer{observer: hidden.Of(o), below: belowOf(next)}
}

type observeLayer struct {
	observer hidden.Value[*observer]
	below
}

func (l *observeLayer) RoundTrip(req *http.Request) (*http.Response, error) {
	o := l.observer()
	if o.enabled != nil && !o.enabled(req.Context()) {
		return l.next(req)
	}
	if s := sendingFrom(req.Context()); s != nil {
		return l.next(s.observe(o, req))
	}
	return l.alone(o, req)
}

// observe adds o to what is told of the send, and returns the request to pass
// on.
func (s *sending) observe(o *observer, req *http.Request) *http.Request {
	w := s.record()
	if slices.Contains(w.observers, o) {
		return req // a layer below Auth sends for a second time
	}
	if w.observers == nil {
		w.observers = w.room[:0]
	}
	w.observers = append(w.observers, o)
	if len(w.observers) > 1 {
		return req
	}
	for _, text := range [...]*string{&w.send.Method, &w.send.Host, &w.send.Path} {
		*text = s.secrets.text(*text)
	}
	w.send.Started = time.Now()
	t := s.trace.Load()
	if t == nil {
		t = o.traces.get()
		s.watchConnection(t)
	}
	t.room = w.send.Started
	t.started.Store(&t.room)
	return s.scanned(req, &w.asked, o)
}

// watchConnection puts t in the way of the transport. A trace of the caller's
// fires as well; that of a send which this one is made inside of does not.
func (s *sending) watchConnection(t *connTrace) {
	s.trace.Store(t)
	theirs := httptrace.ContextClientTrace(s.ctx.Context)
	if outer := sendingFrom(s.ctx.Context); theirs == nil || outer != nil && outer.shows(theirs) {
		return
	}
	s.ctx.Context = httptrace.WithClientTrace(s.ctx.Context, &httptrace.ClientTrace{
		GotConn: t.gotConn, GotFirstResponseByte: t.gotByte, Got1xxResponse: s.informed,
	})
	s.ctx.composed = true
}

// informed takes the secrets out of the header of an answer of 1xx before the
// caller's trace gets it.
func (s *sending) informed(_ int, header textproto.MIMEHeader) error {
	s.secrets.header(http.Header(header))
	return nil
}

// shows reports whether trace is the sending's own.
func (s *sending) shows(trace *httptrace.ClientTrace) bool {
	t := s.trace.Load()
	return t != nil && trace == &t.trace
}

// alone records a send of a request that does not come from Auth.
func (l *observeLayer) alone(o *observer, req *http.Request) (*http.Response, error) {
	_, c := begin(req)
	a := &struct {
		req     http.Request
		sending sending
		watch   watch
		body    observedBody
		room    io.ReadCloser
		secrets sentRoom
	}{}
	s := &a.sending
	s.secrets = append(a.secrets[:0], sentBy(req.Header))
	s.start(&a.req, req, c, reasonOf(req, c), &a.watch)
	resp, err := l.next(s.observe(o, &a.req))
	s.returned()
	if err != nil {
		s.end(err)
		return resp, err
	}
	s.answered(resp)
	if bodyless(resp) {
		s.end(nil)
		return resp, nil
	}
	a.body.watch(resp, s, &a.room)
	resp.Body = &a.body
	return resp, nil
}

// bodyless reports whether there is nothing to wait for after the header.
func bodyless(resp *http.Response) bool {
	return resp.Body == nil || resp.Body == http.NoBody || resp.StatusCode == http.StatusSwitchingProtocols
}

// An observedBody is the body of an answer. It hides the body of net/http, which
// leads to the connection's write buffer or, over HTTP/2, to the table of header
// compression: both hold the credential.
type observedBody struct {
	body    hidden.Pointer[io.ReadCloser]
	sending hidden.Pointer[sending]
}

// watch puts b around the body of resp. room is where the latter is kept.
func (b *observedBody) watch(resp *http.Response, s *sending, room *io.ReadCloser) {
	*room = resp.Body
	b.body.Store(room)
	b.sending.Store(s)
}

func (b *observedBody) Read(p []byte) (int, error) {
	n, err := (*b.body.Load()).Read(p)
	return n, b.sending.Load().read(p[:n], err)
}

func (b *observedBody) Close() error {
	err := (*b.body.Load()).Close()
	b.sending.Load().end(nil)
	return err
}

// An observedConn is the body of "101 Switching Protocols", which is written to.
type observedConn struct {
	*observedBody
	write func(p []byte) (int, error)
}

func (c observedConn) Write(p []byte) (int, error) { return c.write(p) }

// hide wraps the body of resp: printers do not see it, and the observers do.
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

// A connTrace tells when a send has got its connection, if somebody observes,
// and whether a byte of its answer has come. httptrace would want
// an allocation for each send; these come from a pool, and the context of the
// send shows them under httptrace's own key.
type connTrace struct {
	key       any
	trace     httptrace.ClientTrace
	pool      *sync.Pool
	started   atomic.Pointer[time.Time]
	connected atomic.Int64 // nanoseconds from started
	begun     atomic.Bool
	room      time.Time
}

type connTraces struct {
	key  any
	pool sync.Pool
}

func newConnTraces() *connTraces {
	var probe keyProbe
	_ = httptrace.ContextClientTrace(&probe)
	t := &connTraces{key: probe.key}
	t.pool.New = func() any {
		c := &connTrace{key: t.key, pool: &t.pool}
		c.trace.GotConn, c.trace.GotFirstResponseByte = c.gotConn, c.gotByte
		return c
	}
	return t
}

// A keyProbe is a context that learns the key which it is asked for.
type keyProbe struct {
	context.Context
	key any
}

func (p *keyProbe) Value(key any) any { p.key = key; return nil }

func (t *connTraces) get() *connTrace {
	c, _ := t.pool.Get().(*connTrace)
	c.connected.Store(0)
	c.begun.Store(false)
	return c
}

func (c *connTrace) gotByte() { c.begun.Store(true) }

func (c *connTrace) gotConn(httptrace.GotConnInfo) {
	if started := c.started.Load(); started != nil {
		c.connected.Store(int64(max(1, time.Since(*started))))
	}
}

// release returns when the connection was there, or 0, and puts c back.
func (c *connTrace) release() time.Duration {
	c.started.Store(nil)
	d := c.connected.Load()
	c.pool.Put(c)
	return time.Duration(d)
}
