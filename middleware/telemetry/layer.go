package telemetry

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/middleware"
)

// Middleware returns the layer that makes a span of each call, and measures it.
// Put it outermost: first in client.Config.Middleware. A call ends with the body of
// its answer, at once without one and for 101 Switching Protocols; a body that is
// neither read to its end nor closed ends no span.
func (t *Telemetry) Middleware() middleware.Middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return &layer{telemetry: hidden.Of(t), next: next.RoundTrip}
	}
}

type layer struct {
	telemetry hidden.Value[*Telemetry]
	next      func(*http.Request) (*http.Response, error) // a func, as package hidden tells
}

func (l *layer) RoundTrip(req *http.Request) (*http.Response, error) {
	t := l.telemetry()
	metered := t.ofCalls(req.Context())
	if t.tracer == nil && !metered || req.URL == nil {
		return l.next(req)
	}
	r, at := routeOf(req.URL.Path), t.servers.get(req.URL.Host, plainHTTP(req))
	ctx, span := t.start(req.Context(), r, at)
	recorded := span != nil && span.IsRecording()
	if !recorded && !metered {
		return l.next(t.unrecorded(ctx, req, span))
	}
	c := &call{telemetry: t, route: r, server: at, plain: plainHTTP(req), started: time.Now()}
	c.ctx.Context = ctx
	c.ctx.call.Store(c)
	c.req = *req.WithContext(&c.ctx)
	if recorded {
		c.span = span
		c.ask()
	}
	t.propagate(ctx, &c.req)
	resp, err := l.next(&c.req)
	if err != nil {
		c.end(err)
		return resp, err
	}
	c.answered(resp)
	return resp, nil
}

// start starts the span. It is nil without a tracer.
func (t *Telemetry) start(ctx context.Context, r route, at *server) (context.Context, trace.Span) {
	if t.tracer == nil {
		return ctx, nil
	}
	k := startKey{operation: r.operation, provider: t.providerAt(at, r), model: t.names.models.model(r.model), address: at.address, port: at.port}
	s := t.starts.get(k)
	if s == nil {
		s = t.starts.put(k, newStart(k, r.api))
	}
	return t.tracer.Start(ctx, s.name, s.options...)
}

type startKey struct {
	operation, provider, model, address string
	port                                int
}

// A start is how a span starts: with what a sampler may look at.
type start struct {
	name    string
	options []trace.SpanStartOption
}

func newStart(k startKey, api string) start {
	attrs := []attribute.KeyValue{keyOperation.String(k.operation), keyProvider.String(k.provider)}
	attrs = appendServer(attrs, k.address, k.port)
	if api != "" {
		attrs = append(attrs, keyAPIType.String(api))
	}
	if k.model != "" {
		attrs = append(attrs, keyRequestModel.String(k.model))
	}
	return start{spanName(k.operation, k.model), []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...)}}
}

func spanName(operation, model string) string {
	if model == "" {
		return operation
	}
	return operation + " " + model
}

func appendServer(attrs []attribute.KeyValue, address string, port int) []attribute.KeyValue {
	attrs = append(attrs, keyAddress.String(address))
	if port != 0 {
		attrs = append(attrs, keyPort.Int(port))
	}
	return attrs
}

// unrecorded returns the request of a call that nobody follows. A span that was
// not sampled has a context all the same, which says so to what is below.
func (t *Telemetry) unrecorded(ctx context.Context, req *http.Request, span trace.Span) *http.Request {
	if span == nil {
		return req
	}
	span.End()
	if !span.SpanContext().IsValid() {
		return req
	}
	req = req.WithContext(ctx)
	t.propagate(ctx, req)
	return req
}

// propagate puts the context of the span into the header, if that is wanted. The
// request must be the layer's own; its header is still the caller's.
func (t *Telemetry) propagate(ctx context.Context, req *http.Request) {
	if t.propagator == nil {
		return
	}
	req.Header = req.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	t.propagator.Inject(ctx, propagation.HeaderCarrier(req.Header))
}

type callKey struct{ t *Telemetry }

// A callContext leads the observer of a send to its call.
type callContext struct {
	context.Context
	call atomic.Pointer[call]
}

func (c *callContext) Value(key any) any {
	if k, ok := key.(callKey); ok {
		if call := c.call.Load(); call.telemetry == k.t {
			return call
		}
	}
	return c.Context.Value(key)
}

// A call is one call that is recorded or measured.
type call struct {
	req   http.Request // the copy that carries ctx, in the same allocation
	ctx   callContext
	asked askedBody
	body  answerBody
	room  io.ReadCloser

	telemetry *Telemetry
	span      trace.Span // nil if it is not recorded
	route     route
	server    *server // where the caller's request goes
	plain     bool
	started   time.Time
	last      atomic.Pointer[middleware.Send] // the send that has ended last
	sends     atomic.Int32

	mu     sync.Mutex // of what follows
	ended  bool
	status int
	scan   *requestScan          // nil if there is nothing to scan
	whole  bool                  // the scan has seen all of the body
	attrs  *[]attribute.KeyValue // of the span; nil if it is not recorded
	chunks *chunks               // of a stream
	kept   *content              // for Options.Content
}

// answered takes the header of the answer.
func (c *call) answered(resp *http.Response) {
	c.mu.Lock()
	c.status = resp.StatusCode
	if isStream(resp) {
		c.chunks = c.telemetry.pools.getChunks()
	}
	c.mu.Unlock()
	if resp.Body == nil || resp.Body == http.NoBody || resp.StatusCode == http.StatusSwitchingProtocols {
		c.end(nil)
		return
	}
	c.room = resp.Body
	c.body.body.Store(&c.room)
	c.body.call.Store(c)
	resp.Body = &c.body
}

// read takes what a read of the body has brought.
func (c *call) read(p []byte, err error) {
	if len(p) > 0 && (c.span != nil || c.telemetry.timesChunks(c.ctx.Context)) {
		c.mu.Lock()
		if c.chunks != nil {
			c.chunks.take(p, c.started)
		}
		if c.kept != nil {
			c.kept.answer = keep(c.kept.answer, p)
		}
		c.mu.Unlock()
	}
	switch {
	case err == io.EOF: //nolint:errorlint // a reader returns it bare
		c.end(nil)
	case err != nil:
		c.end(err)
	}
}

// An answerBody is the body of the answer. It hides what is below.
type answerBody struct {
	body hidden.Pointer[io.ReadCloser]
	call hidden.Pointer[call]
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := (*b.body.Load()).Read(p)
	b.call.Load().read(p[:n], err)
	return n, err //nolint:wrapcheck // io.EOF has to stay bare
}

func (b *answerBody) Close() error {
	err := (*b.body.Load()).Close()
	b.call.Load().end(nil)
	return err //nolint:wrapcheck // as the transport says it
}
