package middleware

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxRoutes is how many endpoints a Failover has at most.
const maxRoutes = 64

// A Route is an endpoint that [Failover] sends calls to.
type Route struct {
	// Name is what events and errors call the endpoint. The empty string is its
	// number in the list, from 1.
	Name string
	// Priority decides who is asked first: a call goes to the lowest number that
	// can serve it.
	Priority int
	// Weight is the share of the calls that the endpoint is given among those of
	// the same priority; 0 is 1.
	Weight int
	// Provisioned says that the endpoint has provisioned throughput, which is
	// paid for whether it is used or not: a call that it refuses goes elsewhere,
	// and the next one is sent to it as before.
	Provisioned bool
	// Layers are put around what Failover wraps, for this endpoint alone: what
	// makes a request into one of the endpoint, and Auth.
	Layers []Middleware
}

// A RouteEvent is a change of what [Failover] knows of an endpoint.
type RouteEvent struct {
	// Kind is "cooling" when the endpoint is left alone, "probing" when a call
	// finds out whether it is back, "recovered" when it is, and "spilled" when
	// one call goes elsewhere.
	Kind string
	// Route is the Name of the endpoint, and Model the model that the event is
	// about; it is empty if it is about all.
	Route, Model string
	// Reason is what the endpoint answered: "429", or "connection error".
	Reason string
	// Until is when the endpoint is asked again, for the kind "cooling".
	Until time.Time
}

// FailoverOptions are the options of [Failover]. Nil is the same as the zero value.
type FailoverOptions struct {
	// MaxDelay is the longest that a call waits while no endpoint can serve it;
	// 0 is 2 minutes.
	MaxDelay time.Duration
	// DisablePace sends requests as they come while an endpoint throttles.
	DisablePace bool
	// OnEvent is called for each change; nil is nobody. It is called from the
	// goroutines of the calls, so it must be safe for concurrent use and return soon.
	OnEvent func(RouteEvent)
}

// Failover returns a layer that sends each call to one of several endpoints, and
// to another one when that cannot serve it. It belongs right below [Retry],
// which counts the sends over all endpoints together: without Retry each call is
// sent once, to the endpoint that is best at the time.
//
// The answer decides what happens next:
//
//   - a 429 slows down one model of the endpoint: calls above the rate that it
//     takes go elsewhere (see Retry, of which each endpoint has its own pace);
//   - a 429 of provisioned throughput sends this one call elsewhere;
//   - a 429 that asks for more than MaxDelay leaves the model alone for so long,
//     and one of a spent quota the endpoint for 30 seconds;
//   - a connection that fails, and a 5xx or 408 with Retry-After, leave the
//     endpoint alone: for the time that it asks, or for a second, which doubles
//     up to 30 while it does not come back. Other answers of 5xx and 408 send
//     the call elsewhere, and the third in a row leaves the endpoint alone;
//   - a 404 that says that the deployment or the model does not exist leaves
//     that model of the endpoint alone for 30 seconds;
//   - a 401 or 403 that Auth could not cure, a certificate that is not valid,
//     and a credential that cannot be had leave the endpoint alone for 30 seconds;
//   - any other answer is the caller's.
//
// What is wrong with an account, a refused credential or a spent quota for
// example, is kept by the tenant of the call (see credential.WithTenant): it
// does not keep the others away.
//
// An endpoint that was left alone is asked by one call. If that is served, more
// follow, twice as many at a time with each that is. A call that no endpoint can
// serve waits for the first that can, within MaxDelay and its deadline, or else
// gets a 429 with Retry-After at once.
//
// Failover fails without routes, with more than 64, and for a negative Weight or
// MaxDelay. The layer is safe for concurrent use.
func Failover(routes []Route, opts *FailoverOptions) (Middleware, error) {
	var o FailoverOptions
	if opts != nil {
		o = *opts
	}
	switch {
	case len(routes) == 0:
		return nil, errors.New("middleware: failover: there is no route; want at least one")
	case len(routes) > maxRoutes:
		return nil, fmt.Errorf("middleware: failover: %d routes are more than %d", len(routes), maxRoutes)
	case o.MaxDelay < 0:
		return nil, fmt.Errorf("middleware: failover: MaxDelay %v is negative; want 0 for the default, or more", o.MaxDelay)
	}
	o.MaxDelay = orDefault(o.MaxDelay, defaultMaxDelay)
	for i, r := range routes {
		if r.Weight < 0 {
			return nil, fmt.Errorf("middleware: failover: route %d: Weight %d is negative; want 0 for 1, or more", i+1, r.Weight)
		}
	}
	return func(next http.RoundTripper) http.RoundTripper {
		f := &failover{opts: o, changed: make(chan struct{})}
		for i, r := range routes {
			f.routes = append(f.routes, newRoute(r, i, &o, next))
		}
		slices.SortStableFunc(f.routes, func(a, b *route) int { return cmp.Compare(a.Priority, b.Priority) })
		for i, r := range f.routes {
			r.index = i
		}
		return f
	}, nil
}

func newRoute(r Route, i int, o *FailoverOptions, next http.RoundTripper) *route {
	if r.Name == "" {
		r.Name = strconv.Itoa(i + 1)
	}
	r.Weight = max(r.Weight, 1)
	out := &route{Route: r, next: Wrap(next, r.Layers...).RoundTrip, states: map[stateKey]*routeState{}}
	if !o.DisablePace {
		out.pace = newPacer(o.MaxDelay)
	}
	return out
}

// A failover is the layer.
type failover struct {
	opts   FailoverOptions
	routes []*route // by priority

	resources resources

	troubled atomic.Bool // some route has a state: what every call looks at
	mu       sync.Mutex
	changed  chan struct{} // closed, and made anew, when a route may have become ready
}

// A routing is what Failover and Retry have to say to each other about a call.
type routing struct {
	tried   uint64 // the routes that have failed it, by index
	paced   uint64 // those of them that have a line for it
	pacings []pacing
	another bool // another route may serve the call
	last    bool // the next send is the last that Retry allows
	none    bool // it was not sent
}

// elsewhere reports whether the call is to be sent to another endpoint at once.
func (r *routing) elsewhere() bool { return r != nil && r.another }

// unsent reports whether no endpoint could serve the call.
func (r *routing) unsent() bool { return r != nil && r.none }

func (f *failover) RoundTrip(req *http.Request) (*http.Response, error) {
	out, c := begin(req)
	if b, bound := f.bindingOf(out); bound {
		return f.sendBound(b, out, c)
	}
	rt := c.routing.Load()
	if rt == nil && !f.busy() {
		t := ticket{route: f.favorite()}
		resp, err := t.route.send(out, c)
		if err == nil && resp.StatusCode < 400 {
			return f.passed(&t, out, resp), nil
		}
		return f.judge(&t, c.routed(f), out, c, resp, err)
	}
	if rt == nil {
		rt = c.routed(f)
	}
	return f.send(rt, out, c)
}

// passed returns an answer that was served, after a look at what it leaves at
// the endpoint.
func (f *failover) passed(t *ticket, req *http.Request, resp *http.Response) *http.Response {
	if strings.HasSuffix(req.URL.Path, "/responses") {
		f.remember(resp, t.route)
	}
	return resp
}

// routed returns the routing of the call, and makes one.
func (c *call) routed(f *failover) *routing {
	r := &routing{pacings: make([]pacing, len(f.routes))}
	for i, route := range f.routes {
		r.pacings[i].pace = route.pace
	}
	if !c.routing.CompareAndSwap(nil, r) {
		return c.routing.Load()
	}
	return r
}

// busy reports whether anything is to be looked at before a send.
func (f *failover) busy() bool {
	if f.troubled.Load() {
		return true
	}
	for _, r := range f.routes {
		if r.pace.begun() {
			return true
		}
	}
	return false
}

// favorite returns the route of a call while all is well.
func (f *failover) favorite() *route {
	n := 1
	for n < len(f.routes) && f.routes[n].Priority == f.routes[0].Priority {
		n++
	}
	if n == 1 {
		return f.routes[0]
	}
	return f.routes[drawn(f.routes[:n])]
}
