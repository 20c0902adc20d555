package middleware

import (
	"context"
	"net/http"
	"sync/atomic"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
)

// A call is what the sends of one call share.
type call struct {
	req      http.Request // the copy that carries ctx, in the same allocation
	ctx      callContext
	sends    atomic.Int32
	waited   atomic.Int64            // nanoseconds since the send before
	unsure   atomic.Bool             // the last refusal may not outlast the credential that it is of
	kept     bool                    // the body is one that Replay keeps while it is sent
	model    atomic.Pointer[string]  // once the pace has read it
	tenant   atomic.Pointer[string]  // once Auth has sent a credential of one
	routing  atomic.Pointer[routing] // once Failover has something to say
	endpoint atomic.Pointer[string]  // once Failover has chosen one
	broke    atomic.Pointer[error]   // of a stream that HoldBack closes for its error
	canceler canceler

	carried atomic.Pointer[sentSecrets] // by the sends so far
}

// carries notes what a send is about to carry, and adds to it what the sends
// before it have carried.
func (c *call) carries(s *sentSecrets) {
	for {
		before := c.carried.Load()
		if before != nil {
			s.with(*before)
		}
		if c.carried.CompareAndSwap(before, s) {
			return
		}
	}
}

// carriedIn returns what the sends so far of the call in ctx have carried.
func carriedIn(ctx context.Context) []credential.Secret {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		if s := c.carried.Load(); s != nil {
			return *s
		}
	}
	return nil
}

// A callContext hides its call: printing the caller's request prints its context,
// and would print the call, and with it the request on the wire.
type callContext struct {
	context.Context
	call hidden.Pointer[call]
}

func (c *callContext) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return c.call.Load()
	}
	return c.Context.Value(key)
}

// begin returns the call that req belongs to, and the request to pass on. The
// latter is another one if the call begins here.
func begin(req *http.Request) (*http.Request, *call) {
	switch ctx := req.Context().(type) {
	case *callContext:
		return req, ctx.call.Load()
	default:
		if c, ok := ctx.Value(callKey{}).(*call); ok {
			return req, c
		}
	}
	return beginNew(req)
}

// keepsBody reports whether the body of the call comes as it is sent, so that a
// second copy of it may block.
func keepsBody(ctx context.Context) bool {
	c, _ := ctx.Value(callKey{}).(*call)
	return c != nil && c.kept
}

// beginNew begins a call even inside of another one: a layer may make calls of
// its own with the context of the one that it carries.
func beginNew(req *http.Request) (*http.Request, *call) {
	c := &call{}
	c.ctx.Context = req.Context()
	c.ctx.call.Store(c)
	c.req = *req.WithContext(&c.ctx)
	return &c.req, c
}
