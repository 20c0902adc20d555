package middleware

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/wraperr"
)

// A requestCanceler is a round tripper that has the deprecated CancelRequest of
// [http.Transport]. Layers that are one pass it on to what is below them.
type requestCanceler interface{ CancelRequest(req *http.Request) }

// cancelerOf returns the method of rt, or nil.
func cancelerOf(rt http.RoundTripper) func(*http.Request) {
	if c, ok := rt.(requestCanceler); ok {
		return c.CancelRequest
	}
	return nil
}

// A roundTrip is the method of the round tripper below a layer. It is a func for the
// reason that package hidden tells: below are connections, which hold credentials.
type roundTrip func(*http.Request) (*http.Response, error)

// A below is the round tripper below a layer.
type below struct {
	next     roundTrip
	canceler func(*http.Request) // nil if it has none
}

func belowOf(rt http.RoundTripper) below { return below{rt.RoundTrip, cancelerOf(rt)} }

// CancelRequest passes the deprecated method of [http.Transport] on.
func (b *below) CancelRequest(req *http.Request) {
	if b.canceler != nil {
		b.canceler(req)
	}
}

// A canceler is how CancelRequest reaches a call that is under way.
type canceler struct {
	mu       sync.Mutex
	canceled bool
	returned bool // the round trip is over
	listed   bool
	original *http.Request // the caller's
	ended    chan struct{} // closed when canceled; made when somebody waits
	sent     *http.Request // what is on the wire
	by       func(*http.Request)
	held     *sending // whose answer the call ends with

	list       *callList // nil for a call that CancelRequest does not reach
	prev, next *call     // in list, under its lock
}

// hold notes the last send that was answered.
func (c *canceler) hold(s *sending) {
	c.mu.Lock()
	c.held = s
	c.mu.Unlock()
}

// over takes the call out of its list if s was its last send.
func (c *canceler) over(owner *call, s *sending) {
	c.mu.Lock()
	last := c.returned && c.held == s
	c.mu.Unlock()
	if last && c.list != nil {
		c.list.remove(owner)
	}
}

// roundTripped takes the call out of its list when its round trip has ended,
// unless there is an answer whose body has not.
func (c *canceler) roundTripped(owner *call, answered bool) {
	c.mu.Lock()
	c.returned = true
	lasts := answered && c.held != nil && !c.held.ended.Load()
	c.mu.Unlock()
	if !lasts {
		c.list.remove(owner)
	}
}

// done returns a channel that is closed when the call is canceled.
func (c *canceler) done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = make(chan struct{})
		if c.canceled {
			close(c.ended)
		}
	}
	return c.ended
}

// carry notes what is on the wire and who can cancel it. It reports whether
// the call goes on.
func (c *canceler) carry(sent *http.Request, by func(*http.Request)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent, c.by = sent, by
	return !c.canceled
}

func (c *canceler) cancel() {
	c.mu.Lock()
	if !c.canceled && c.ended != nil {
		close(c.ended)
	}
	c.canceled = true
	sent, by := c.sent, c.by
	c.mu.Unlock()
	if by != nil {
		by(sent)
	}
}

// A callList holds the calls that are under way.
type callList struct {
	mu   sync.Mutex
	head *call
}

func (l *callList) add(c *call, original *http.Request) {
	c.canceler.original, c.canceler.list, c.canceler.listed = original, l, true
	l.mu.Lock()
	if c.canceler.next = l.head; l.head != nil {
		l.head.canceler.prev = c
	}
	l.head = c
	l.mu.Unlock()
}

func (l *callList) remove(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.canceler.listed {
		return
	}
	c.canceler.listed = false
	prev, next := c.canceler.prev, c.canceler.next
	if prev == nil {
		l.head = next
	} else {
		prev.canceler.next = next
	}
	if next != nil {
		next.canceler.prev = prev
	}
}

func (l *callList) cancel(original *http.Request) {
	var found []*call
	l.mu.Lock()
	for c := l.head; c != nil; c = c.canceler.next {
		if c.canceler.original == original {
			found = append(found, c)
		}
	}
	l.mu.Unlock()
	for _, c := range found {
		c.canceler.cancel()
	}
}

// errCanceled is what net/http says of a request that was canceled by its
// Cancel channel or by CancelRequest.
func errCanceled() error { return wraperr.New("net/http: request canceled", context.Canceled) }

// wait returns nil after d, or why the call ended before.
func wait(req *http.Request, c *call, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	return until(req, c, nil, timer.C)
}

// until returns nil when one of the channels is ready, or why the call ended
// before.
func until(req *http.Request, c *call, ready <-chan struct{}, timeUp <-chan time.Time) error {
	return untilAny(req, c, timeUp, ready, nil)
}

// untilAny is until with one more channel. What it takes is told by the next send.
func untilAny(req *http.Request, c *call, timeUp <-chan time.Time, ready, changed <-chan struct{}) error {
	began := time.Now()
	defer func() { c.waited.Add(int64(time.Since(began))) }()
	select {
	case <-ready:
		return nil
	case <-changed:
		return nil
	case <-timeUp:
		return nil
	case <-req.Context().Done():
		return ended(req)
	case <-legacyCancel(req):
	case <-c.canceler.done():
	}
	return errCanceled()
}

// legacyCancel returns the channel that http.Client.Timeout closes, and programs
// from before there were contexts.
func legacyCancel(req *http.Request) <-chan struct{} {
	//lint:ignore SA1019 what is deprecated for callers has to be honored
	return req.Cancel //nolint:staticcheck // the same
}

// ended returns the error of the request's context, and its cause.
func ended(req *http.Request) error {
	ctx := req.Context()
	return wraperr.Context(ctx, context.Cause(ctx))
}

// cancelable returns a context for the time of a credential's read: that of
// req, which ends with req.Cancel as well.
func cancelable(req *http.Request) (context.Context, func()) {
	canceled := legacyCancel(req)
	if canceled == nil {
		return req.Context(), func() {}
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	over := make(chan struct{})
	go func() {
		select {
		case <-canceled:
			cancel(errCanceled())
		case <-over:
		}
	}()
	return ctx, func() { close(over); cancel(nil) }
}
