package middleware

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/wraperr"
)

// drawn returns the index of one of routes, at random by weight.
func drawn(routes []*route) int {
	sum := 0
	for _, r := range routes {
		sum += r.Weight
	}
	n := rand.N(sum) //nolint:gosec // a share, not a secret
	for i, r := range routes {
		if n -= r.Weight; n < 0 {
			return i
		}
	}
	return len(routes) - 1
}

// order returns the routes in the order in which a call asks them: by priority,
// and within one by chance.
func (f *failover) order() []*route {
	out := slices.Clone(f.routes)
	for i := 0; i < len(out); {
		n := i + 1
		for n < len(out) && out[n].Priority == out[i].Priority {
			n++
		}
		for ; i < n-1; i++ {
			j := i + drawn(out[i:n])
			out[i], out[j] = out[j], out[i]
		}
		i = n
	}
	return out
}

// pick returns the first route in order that takes the call at once. Those that
// have failed it already come last.
func (f *failover) pick(ch *choice, rt *routing, req *http.Request, c *call) (ticket, bool) {
	for _, again := range [...]bool{false, true} {
		for _, r := range ch.order {
			if again != (rt.tried&(1<<r.index) != 0) {
				continue
			}
			p := &rt.pacings[r.index]
			if ready, _ := f.ready(r, ch); !ready || !p.admitted(req, c, rt.last) {
				continue
			}
			if t, ok := f.enter(r, ch.key); ok {
				return t, true
			}
			if p.place != nil {
				p.place.leave()
			}
		}
	}
	return ticket{}, false
}

// A choice is the routes in the order in which a call asks them, and what the
// call wants of them.
type choice struct {
	order []*route
	key   stateKey
	sure  bool // no probe: the next send is the call's last, and some route is known to serve
}

// choose returns the choice of a call. A call whose next failure would be final
// does not find out whether an endpoint is back, if another one is there.
func (f *failover) choose(rt *routing, k stateKey) choice {
	ch := choice{order: f.order(), key: k}
	if !rt.last {
		return ch
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	ch.sure = slices.ContainsFunc(f.routes, func(r *route) bool { return r.readyFor(k, now) && !r.unproved(k) })
	return ch
}

// ready reports whether r takes the call, apart from its pace, and when it may
// if it does not. What is not ready is not asked for a token; and a slot is not
// taken for a call that the pace holds, for to give it back would wake all who
// wait, for nothing.
func (f *failover) ready(r *route, ch *choice) (ready bool, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	ready, at = r.readyFor(ch.key, now), r.readyAt(ch.key, now)
	if ready && ch.sure && r.unproved(ch.key) {
		return false, now
	}
	return ready, at
}

// enter lets a call through to r if r is ready.
func (f *failover) enter(r *route, k stateKey) (ticket, bool) {
	f.mu.Lock()
	if !r.readyFor(k, time.Now()) {
		f.mu.Unlock()
		return ticket{}, false
	}
	t := r.take(k)
	f.mu.Unlock()
	if t.probing {
		f.event(RouteEvent{Kind: "probing", Route: r.Name, Model: k.model})
	}
	return t, true
}

// leave counts a call out that was not sent, or has proved nothing.
func (f *failover) leave(t *ticket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t.release()
	f.notify()
}

// notify wakes the calls that wait for a route.
func (f *failover) notify() {
	f.troubled.Store(slices.ContainsFunc(f.routes, func(r *route) bool { return len(r.states) > 0 }))
	close(f.changed)
	f.changed = make(chan struct{})
}

// An opening is what a call can wait for that no route takes now.
type opening struct {
	route *route    // whose line is the shortest; nil if there is none
	line  *pacing   // of that route
	turn  time.Time // when the call would have its turn there
	back  time.Time // when the first route that is cooling may be back; zero is never
	busy  bool      // some route waits for what comes of its probe
}

// hopeless reports whether nothing opens in time. What a line says about itself
// is found out by standing in it.
func (w *opening) hopeless(giveUp time.Time) bool {
	return w.line == nil && !w.busy && (w.back.IsZero() || w.back.After(giveUp))
}

// soonest returns what the call can wait for.
func (f *failover) soonest(ch *choice, rt *routing, req *http.Request, c *call) (w opening) {
	for _, r := range ch.order {
		now := time.Now()
		ready, at := f.ready(r, ch)
		switch {
		case ready:
			p := &rt.pacings[r.index]
			if !p.find(req, c) {
				w.back = now // it has become ready
			} else if turn := p.place.turn(); w.line == nil || turn.Before(w.turn) {
				w.route, w.line, w.turn = r, p, turn
			}
		case !at.After(now):
			w.busy = true
		case w.back.IsZero() || at.Before(w.back):
			w.back = at
		}
	}
	return w
}

// send sends a call to the best route, and waits for one if it has to.
func (f *failover) send(rt *routing, req *http.Request, c *call) (*http.Response, error) {
	rt.another, rt.none = false, false
	giveUp := time.Now().Add(f.opts.MaxDelay)
	if at := leaveAt(req.Context()); !at.IsZero() && at.Before(giveUp) {
		giveUp = at
	}
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		ch := f.choose(rt, c.keyFor(req))
		t, ok := f.pick(&ch, rt, req, c)
		if !ok {
			w := f.soonest(&ch, rt, req, c)
			turn, err := w.wait(giveUp, rt, req, c, changed)
			switch {
			case err != nil:
				closeBody(req)
				return nil, wraperr.New(fmt.Sprintf("middleware: ended while waiting for an endpoint: %v", err), err)
			case turn:
				if t, ok = f.enter(w.route, ch.key); !ok { // it has failed meanwhile
					w.line.place.leave()
				}
			case w.hopeless(giveUp) || !time.Now().Before(giveUp):
				return f.refuse(rt, req, &w), nil
			}
		}
		if ok {
			resp, err := t.route.send(req, c)
			return f.judge(&t, rt, req, c, resp, err)
		}
	}
}

// wait stands in line, and waits at the same time for a route that comes back,
// until giveUp. It reports whether the call has its turn in the line. A line in
// which it would not have it in time is taken out of w.
func (w *opening) wait(giveUp time.Time, rt *routing, req *http.Request, c *call, changed chan struct{}) (turn bool, err error) {
	var ready chan struct{}
	if w.line != nil {
		pl := w.line.place
		pl.last = rt.last
		if pl.join(time.Time{}); pl.decided() && !pl.enter() {
			w.line = nil
		} else {
			ready = pl.ready
		}
	}
	if w.hopeless(giveUp) {
		return false, nil
	}
	at := giveUp
	if !w.back.IsZero() && w.back.Before(at) {
		at = w.back
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	err = untilAny(req, c, timer.C, ready, changed)
	switch {
	case w.line == nil:
		return false, err
	case err != nil:
		w.line.place.leave()
		return false, err
	}
	return w.line.place.enter(), nil
}

// refuse answers a call that no endpoint can serve in time: with what the
// service has said, if it has, and when to come again.
func (f *failover) refuse(rt *routing, req *http.Request, w *opening) *http.Response {
	closeBody(req)
	rt.none = true
	resp := ownRefusal(req)
	if w.route != nil {
		resp = rt.pacings[w.route.index].place.g.refusal(req)
	}
	at := w.back
	if w.route != nil && (at.IsZero() || w.turn.Before(at)) {
		at = w.turn
	}
	if !at.IsZero() {
		left := max(time.Until(at), time.Millisecond)
		resp.Header.Set("Retry-After", strconv.FormatInt(int64((left+time.Second-1)/time.Second), 10))
		resp.Header.Set("Retry-After-Ms", strconv.FormatInt(left.Milliseconds(), 10))
	}
	return resp
}

// ownRefusal is the answer where there is none of the service's.
func ownRefusal(req *http.Request) *http.Response {
	const body = `{"error":{"message":"no endpoint can serve the call now: each has failed or is throttled","type":"endpoints_unavailable","param":null,"code":"endpoints_unavailable"}}`
	return &http.Response{
		Status: "429 Too Many Requests", StatusCode: http.StatusTooManyRequests,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)), Request: req,
	}
}

func (f *failover) event(e RouteEvent) {
	if f.opts.OnEvent != nil {
		f.opts.OnEvent(e)
	}
}
