package middleware

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/wire"
	"github.com/latchkey-go/latchkey/internal/wraperr"
)

// A Send is one request on the wire and what came of it. One call can make
// several: retries, and replays with another credential.
//
// [SendFrom] gives it to the layers and transports below [Auth], with the
// fields from Number to Gateway filled, apart from Model and Stream. [Observe]
// gives it to a function when the send has ended, complete. It holds no
// secret: what the server echoes of one is redacted. It must not be changed.
type Send struct {
	// Number counts the sends of one call from 1, retries and replays included.
	Number int
	// Reason says why the request was sent again. It is empty for the first send.
	Reason Reason
	// Endpoint is the Name of the [Route] that was chosen; empty without [Failover].
	Endpoint string
	// Method, Host and Path are those of the request, without the query.
	Method, Host, Path string
	// Model is the model that the request names in its JSON body, or else the
	// deployment in its path. It is empty if the request names no model and no
	// deployment.
	Model string
	// Stream reports whether the request asks for a stream in its JSON body.
	Stream bool
	// Credential is what went out with the request. Gateway is the key of a
	// gateway that went out beside it, if there is one.
	Credential, Gateway Identity
	// Status is the HTTP status of the answer, or 0 if none came.
	Status int
	// Err is the error of the send or of reading the answer. If the answer is an
	// event stream in which the service reports an error, Err tells the code of
	// that error and wraps [io.ErrUnexpectedEOF]. It is nil if another answer was
	// read to its end, or closed before.
	Err error
	// RequestID is the service's name for the request.
	RequestID string
	// RateLimit is what the answer says of the service's limits.
	RateLimit RateLimit
	// Deployment is the Azure deployment that served the request, as
	// x-ms-deployment-name says. SpilledFrom is the provisioned deployment that
	// had no room for it, as x-ms-spillover-from-deployment says: Azure has sent
	// the request on to Deployment by itself. Both are empty if the answer does
	// not say so.
	//
	// https://learn.microsoft.com/azure/ai-foundry/openai/how-to/spillover-traffic-management
	Deployment, SpilledFrom string
	// Usage is what the answer says that it used.
	Usage Usage
	// Started is when the send began. Connected is when it had a connection,
	// which may be one that was open. Header is when the header of the answer
	// had come, FirstChunk when the first bytes of its body had, and Ended when
	// the body had ended or was closed, or, for a refusal that is replayed, when it
	// was read. A time is zero if the send did not come so far. All are measured
	// from Started by the monotonic clock.
	Started, Connected, Header, FirstChunk, Ended time.Time
	// Waited is how long the call waited before this send, since the send before it
	// or since the call began, for its turn at a service that throttles or for a
	// back-off. It is in whole milliseconds, and without the time that a credential
	// takes.
	Waited time.Duration

	extra []headerValue // what Log wants of the answer's header
}

// An Identity names a credential without giving it away.
type Identity struct {
	// Tenant is whose credential it is, if it comes from [credential.Tenants].
	Tenant string
	// Source and Version are those of the [credential.Value].
	Source, Version string
	// Refused reports whether the service refused it.
	Refused bool
}

func identity(v credential.Value) Identity {
	return Identity{Tenant: v.Tenant, Source: v.Source, Version: v.Version}
}

// A Reason says why a request was sent again: "retry 429", "retry connection
// error", "replay 401" or "failover 503", for example. Its first word is "retry",
// "replay" or "failover".
type Reason string

const (
	reasonConnection Reason = "retry connection error"
	reasonFailover   Reason = "failover connection error"
	reasonLimit      Reason = "failover limit"
)

func reasonRetry(status int) Reason  { return Reason("retry " + strconv.Itoa(status)) }
func reasonReplay(status int) Reason { return Reason("replay " + strconv.Itoa(status)) }

// RateLimit holds the x-ratelimit headers of an answer. OpenAI and Azure OpenAI
// send them as advice; a number that was not sent, or is not one, is -1.
//
// https://platform.openai.com/docs/guides/rate-limits
type RateLimit struct {
	// LimitRequests and RemainingRequests count requests.
	LimitRequests, RemainingRequests int
	// LimitTokens and RemainingTokens count tokens.
	LimitTokens, RemainingTokens int
	// ResetRequests and ResetTokens are the times until the limit is full
	// again; zero if not sent.
	ResetRequests, ResetTokens time.Duration
}

// SendFrom returns the send that a request belongs to, for a layer or a
// transport below [Auth]. It is nil for other contexts.
func SendFrom(ctx context.Context) *Send {
	if s := sendingFrom(ctx); s != nil {
		return &s.record().send
	}
	return nil
}

type (
	callKey    struct{}
	sendingKey struct{}
	reasonKey  struct{}
)

// A resent is why a request of call is sent again. A call that is made inside of
// a send inherits it with the context.
type resent struct {
	of     hidden.Value[*call]
	reason Reason
}

func reasonOf(req *http.Request, c *call) Reason {
	if r, ok := req.Context().Value(reasonKey{}).(resent); ok && r.of() == c {
		return r.reason
	}
	return ""
}

// A sending is a send that is under way. Most have nobody who looks at their
// record, and do without one.
type sending struct {
	ctx     sendContext
	call    *call
	req     *http.Request // the copy of the request that start has made
	number  int32
	ended   atomic.Bool
	waited  time.Duration
	reason  Reason
	sent    *credentials // nil without Auth
	secrets sentSecrets
	answer  *http.Response            // whose trailer comes with the end of its body
	trace   atomic.Pointer[connTrace] // until the transport has returned
	watch   atomic.Pointer[watch]
	looked  *atomic.Bool // set when somebody looks at a record; nil without Auth
}

// A watch is the record of a send and the observers that are told of it.
type watch struct {
	send      Send
	observers []*observer
	room      [2]*observer
	asked     requestScan              // of the request's body
	answer    answerScan               // of the answer's
	reserved  atomic.Pointer[reserved] // what Limit holds for the send
	first     atomic.Int64             // nanoseconds from Started to the first chunk
	took      time.Duration            // of a send whose refusal is replayed; 0 for others
}

// record returns the record, and makes one if there is none. Once somebody has
// looked at one, Auth makes the next in the allocation of the request.
func (s *sending) record() *watch {
	if w := s.watch.Load(); w != nil {
		return w
	}
	if s.looked != nil && !s.looked.Load() {
		s.looked.Store(true)
	}
	w := &watch{}
	s.fill(&w.send)
	if !s.watch.CompareAndSwap(nil, w) {
		return s.watch.Load()
	}
	return w
}

// fill fills what is known before the send.
func (s *sending) fill(send *Send) {
	send.Number, send.Reason, send.Waited, send.Method = int(s.number), s.reason, s.waited, s.req.Method
	if name := s.call.endpoint.Load(); name != nil {
		send.Endpoint = *name
	}
	if s.req.URL != nil {
		send.Host, send.Path = s.req.URL.Host, s.req.URL.Path
	}
	if s.sent == nil {
		return
	}
	send.Credential = identity(s.sent.value)
	if s.sent.gateway != nil {
		send.Gateway = identity(*s.sent.gateway)
	}
}

type sendContext struct {
	context.Context
	sending  hidden.Pointer[sending] // see callContext
	composed bool                    // the context has a trace that tells the sending's as well
}

func (c *sendContext) Value(key any) any {
	s := c.sending.Load()
	if _, ok := key.(sendingKey); ok {
		return s
	}
	if t := s.trace.Load(); t != nil && key == t.key && !c.composed {
		return &t.trace
	}
	return c.Context.Value(key)
}

func sendingFrom(ctx context.Context) *sending {
	if c, ok := ctx.(*sendContext); ok {
		return c.sending.Load()
	}
	s, _ := ctx.Value(sendingKey{}).(*sending)
	return s
}

// start begins the send, and makes out the copy of req that carries it. If w is
// not nil it becomes the record.
func (s *sending) start(out, req *http.Request, c *call, reason Reason, w *watch) {
	s.number, s.reason = c.sends.Add(1), reason
	if c.waited.Load() != 0 {
		s.waited = time.Duration(c.waited.Swap(0)).Truncate(time.Millisecond)
	}
	s.ctx.Context = req.Context()
	s.ctx.sending.Store(s)
	s.call, s.req = c, out
	*out = *req.WithContext(&s.ctx)
	if w != nil {
		s.fill(&w.send)
		s.watch.Store(w)
	}
}

// watched returns the record if somebody is told of it, or nil.
func (s *sending) watched() *watch {
	if w := s.watch.Load(); w != nil && len(w.observers) > 0 {
		return w
	}
	return nil
}

// answered fills what the header of the answer tells.
func (s *sending) answered(resp *http.Response) {
	w := s.watched()
	if w == nil {
		return
	}
	w.send.Status = resp.StatusCode
	w.answer.begin(resp, w.observers[0])
	w.send.Header = w.since()
	w.send.RequestID = s.secrets.text(wire.RequestID(resp.Header))
	w.send.RateLimit = RateLimit(wire.ParseRateLimit(resp.Header))
	w.send.Deployment = s.secrets.text(first(resp.Header, "X-Ms-Deployment-Name"))
	w.send.SpilledFrom = s.secrets.text(first(resp.Header, "X-Ms-Spillover-From-Deployment"))
	for _, o := range w.observers {
		for _, h := range o.headers {
			if vv := resp.Header[h.header]; len(vv) > 0 {
				w.send.extra = append(w.send.extra, headerValue{h.attr, s.secrets.text(strings.Join(vv, ", "))})
			}
		}
	}
}

// returned takes over what the trace has seen: when the connection was there,
// and whether a byte of the answer had come. Nobody calls the trace after the
// transport has returned, so that it goes back to its pool.
func (s *sending) returned() (begun bool) {
	t := s.trace.Swap(nil)
	if t == nil {
		return false
	}
	begun = t.begun.Load()
	d := t.release()
	if w := s.watched(); w != nil && d > 0 {
		w.send.Connected = w.send.Started.Add(d)
	}
	return begun
}

// refuse notes which credential the service refused.
func (s *sending) refuse(gateway bool) {
	w := s.watched()
	switch {
	case w == nil:
	case gateway:
		w.send.Gateway.Refused = true
	default:
		w.send.Credential.Refused = true
	}
}

// replayed notes that the refusal was read now, and that the rest of the send is
// the wait for another credential.
func (s *sending) replayed() {
	if w := s.watched(); w != nil {
		w.took = time.Since(w.send.Started)
	}
}

func (w *watch) since() time.Time { return w.send.Started.Add(time.Since(w.send.Started)) }

// read takes in what a read of the body has brought, and returns its error with
// the cause of the context's end, if that is what it is.
func (s *sending) read(p []byte, err error) error {
	if w := s.watched(); len(p) > 0 && w != nil {
		if w.first.Load() == 0 {
			w.first.CompareAndSwap(0, int64(max(1, time.Since(w.send.Started))))
		}
		w.answer.write(p)
	}
	switch {
	case err == io.EOF: //nolint:errorlint // a reader returns it bare
		if s.answer != nil {
			s.secrets.header(s.answer.Trailer)
		}
		s.end(nil)
	case err != nil:
		err = wraperr.Context(s.ctx.Context, s.secrets.err(err))
		s.end(err)
	}
	return err
}

// end says that the send is over, once: to the list of calls, and to those who
// observe.
func (s *sending) end(err error) {
	if s.ended.Swap(true) {
		return
	}
	s.call.canceler.over(s.call, s)
	if held := s.call.broke.Load(); held != nil && err == nil {
		err = *held
	}
	w := s.watched()
	if w == nil {
		return
	}
	if err != nil {
		w.send.Err = s.secrets.err(err)
	}
	if w.send.Ended = w.since(); w.took > 0 {
		w.send.Ended = w.send.Started.Add(w.took)
	}
	if d := w.first.Load(); d > 0 {
		w.send.FirstChunk = w.send.Started.Add(time.Duration(d))
	}
	w.asked.into(&w.send)
	w.answer.end(&w.send, &s.secrets)
	if r := w.reserved.Swap(nil); r != nil {
		r.settle(&w.send)
	}
	for _, o := range w.observers {
		o.done(s.ctx.Context, &w.send)
	}
}
