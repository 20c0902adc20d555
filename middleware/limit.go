package middleware

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/usage"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// Limit returns a layer that keeps all sends within the ceilings of l: retries,
// replays and sends to other endpoints as well, whatever the path. Before each
// send it reserves what the send can use at the most, and refuses it if a limit
// has no room for that. Nothing is sent then, and the call fails with the error of
// [limit.Limiter.Reserve]: a [*limit.Error] says which limit it was, and when there
// is room again. It is not retried. If the limit is for an endpoint or counts by
// endpoints, [Failover] sends the call to another one. A nil l limits nothing.
//
// The tenant is that of the credential, or of [credential.WithTenant], the model
// the one that the call names, and the endpoint the Name of the [Route].
//
// What a send can use is read from its JSON body: the output is bounded by
// max_tokens, max_completion_tokens or max_output_tokens, times n; the input has
// no more tokens than the body has bytes, unless it refers to something that is
// not in it, such as an image, a file or an earlier response. Where the body does
// not tell, or cannot be read twice (GetBody), limit.Options.WorstInput and
// WorstOutput count, for WebSockets as well. GET, HEAD and DELETE use no
// tokens, and neither do uploads, vector stores and moderations.
//
// When the answer has ended, the reservation is settled on its [Usage]. An answer
// that refuses the request has used nothing: most of status 400 to 431, 501 and
// 503. Where nobody can tell, the reservation stays as it is: for a stream that was
// cut, or did not report its usage (see [IncludeUsage]), an error of the connection
// once there was one, usage that is in seconds and not in tokens, and other
// statuses. A prompt that the content filter of Azure has blocked is billed.
//
// Put the layer below [Auth] and [Observe], or it does not see single sends.
func Limit(l *limit.Limiter) Middleware {
	if l == nil {
		return func(next http.RoundTripper) http.RoundTripper { return next }
	}
	c := newCeiling(l)
	o := newObserver(func(context.Context, *Send) {})
	return func(next http.RoundTripper) http.RoundTripper {
		return o.layer(&limitLayer{ceiling: hidden.Of(c), below: belowOf(next)})
	}
}

type limitLayer struct {
	ceiling hidden.Value[*ceiling]
	below
}

func (l *limitLayer) RoundTrip(req *http.Request) (*http.Response, error) {
	s := sendingFrom(req.Context())
	if err := l.ceiling().reserve(req, s); err != nil {
		closeBody(req)
		return nil, err
	}
	return l.next(req)
}

// A ceiling is what the layers with one Limiter share.
type ceiling struct {
	limits *limit.Limiter
	models modelNames
	scans  sync.Pool
	rooms  sync.Pool
}

func newCeiling(l *limit.Limiter) *ceiling {
	c := &ceiling{limits: l}
	c.scans.New = func() any { return &costScan{} }
	c.rooms.New = func() any { return &reserved{ceiling: c} }
	return c
}

// reserved is what is reserved for one send. It comes from a pool.
type reserved struct {
	limit.Reservation
	ceiling *ceiling
	free    bool // the route uses no tokens
}

func (c *ceiling) reserve(req *http.Request, s *sending) error {
	send := limit.Send{Tenant: credential.TenantFrom(req.Context())}
	if s.sent != nil && s.sent.value.Tenant != "" {
		send.Tenant = s.sent.value.Tenant
	}
	if name := s.call.endpoint.Load(); name != nil {
		send.Endpoint = *name
	}
	c.estimate(&send, req, s.call)
	r, _ := c.rooms.Get().(*reserved)
	if err := c.limits.Reserve(req.Context(), send, &r.Reservation); err != nil {
		c.rooms.Put(r)
		return err //nolint:wrapcheck // it says which limit, and must not allocate
	}
	r.free = send.Input == 0 && send.Output == 0
	if before := s.record().reserved.Swap(r); before != nil {
		before.Keep() // of a layer in between that sends for a second time
	}
	return nil
}

// settle ends the reservation of a send that has ended.
func (r *reserved) settle(s *Send) {
	u := &s.Usage
	switch {
	case s.Status == 0 && neverSent(s.Err):
		r.Cancel()
	case r.free: // also if it shows a stored response, whose usage was counted when it was made
		r.Release()
	case u.Reported && (u.Seconds == 0 || u.Input+u.Output > 0):
		r.Settle(limit.Tokens{
			Input: u.Input + u.OtherInput, CachedInput: u.CachedInput, CacheWrite: u.CacheWrite,
			Output: u.Output + u.OtherOutput, Reasoning: u.Reasoning,
		})
	case unbilled(s.Status, u.Finish):
		r.Release()
	default:
		r.Keep()
	}
	r.ceiling.rooms.Put(r)
}

// neverSent reports whether an error tells that no connection was made.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// unbilled reports whether an answer of that status has used nothing. Azure bills
// the evaluation of a prompt that its filter blocks, and what timed out:
// https://learn.microsoft.com/azure/ai-foundry/openai/how-to/manage-costs
func unbilled(status int, finish string) bool {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusBadRequest && finish == "content_filter":
		return false
	case status >= 300 && status < 400, status >= 400 && status <= http.StatusRequestHeaderFieldsTooLarge,
		status == http.StatusNotImplemented, status == http.StatusServiceUnavailable:
		return true
	}
	return false
}

// estimate fills the model, and what the send can use at the most.
func (c *ceiling) estimate(send *limit.Send, req *http.Request, of *call) {
	send.Input, send.Output = -1, -1
	kind := routeOf(req)
	if kind == tokenlessRoute {
		send.Input, send.Output = 0, 0
	}
	if kind == openRoute || !c.read(send, of) {
		send.Model = of.modelFor(&of.req)
		return
	}
	if kind == embeddingRoute {
		send.Output = 0
	}
}

// read reads the call's body for what it can use, and reports whether it could.
func (c *ceiling) read(send *limit.Send, of *call) bool {
	req := &of.req
	if req.GetBody == nil || of.kept || !strings.HasPrefix(first(req.Header, "Content-Type"), "application/json") || first(req.Header, "Content-Encoding") != "" {
		return false
	}
	body, err := req.GetBody()
	if err != nil {
		return false
	}
	defer closeReader(body)
	scan, _ := c.scans.Get().(*costScan)
	defer c.scans.Put(scan)
	got, size, ok := scan.read(body)
	if !ok {
		return false
	}
	if model := of.model.Load(); model != nil {
		send.Model = *model
	} else if name := scan.scan.Model(); len(name) > 0 {
		of.model.Store(c.models.intern(name))
		send.Model = *of.model.Load()
	} else {
		send.Model = of.modelFor(req)
	}
	if send.Input != 0 && !got.Refers {
		send.Input = size
	}
	if send.Output != 0 {
		send.Output = got.Output
	}
	return true
}

type costScan struct {
	scan   usage.RequestScan
	buffer [8 << 10]byte
}

// read reads the whole body. It is not ok if that fails.
func (s *costScan) read(body io.Reader) (got usage.Request, size int64, ok bool) {
	s.scan.Reset()
	for {
		n, err := body.Read(s.buffer[:])
		s.scan.Write(s.buffer[:n])
		switch size += int64(n); {
		case err == io.EOF:
			return s.scan.End(), size, true
		case err != nil:
			return got, 0, false
		}
	}
}

// A routeKind is how the use of a route can be bounded.
type routeKind uint8

const (
	openRoute      routeKind = iota // nobody knows
	tokenlessRoute                  // it uses no tokens
	bodyRoute                       // by what the body says
	embeddingRoute                  // so, and there is no output
)

// routeOf knows the routes of https://platform.openai.com/docs/api-reference.
func routeOf(req *http.Request) routeKind {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
		if first(req.Header, "Upgrade") != "" {
			return openRoute
		}
		return tokenlessRoute
	}
	if req.URL == nil {
		return openRoute
	}
	path := strings.TrimSuffix(req.URL.Path, "/")
	switch {
	case strings.HasSuffix(path, "/completions"), strings.HasSuffix(path, "/responses"):
		return bodyRoute
	case strings.HasSuffix(path, "/embeddings"):
		return embeddingRoute
	case strings.HasSuffix(path, "/moderations"), strings.HasSuffix(path, "/files"), strings.HasSuffix(path, "/uploads"),
		strings.Contains(path, "/uploads/"), strings.HasSuffix(path, "/vector_stores"), strings.Contains(path, "/vector_stores/"),
		strings.HasSuffix(path, "/cancel"), strings.HasSuffix(path, "/responses/input_tokens"):
		return tokenlessRoute
	}
	return openRoute
}
