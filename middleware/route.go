package middleware

import (
	"net/http"
	"slices"
	"time"
)

const (
	// firstCooling is for how long an endpoint that failed is left alone, unless
	// it says so itself. It doubles while its probes fail, up to mostCooling.
	firstCooling = time.Second
	mostCooling  = 30 * time.Second
	// faultCooling is for what waiting does not cure: a credential that is
	// refused, a deployment that is missing, a spent quota.
	faultCooling = 30 * time.Second
	// longestAsked bounds what an endpoint may ask for.
	longestAsked = time.Hour
	// failuresInRow is how many answers of 500 and above, without a Retry-After
	// and with no success between them, take an endpoint for failing.
	failuresInRow = 3
	// openWindow is how many calls at a time end the ramp after a recovery.
	openWindow = 64
	// mostStates bounds what is kept about the accounts and models of one endpoint.
	mostStates = 1000
)

// A route is an endpoint with what is known of it.
type route struct {
	Route
	index  int
	next   roundTrip
	pace   *pacer
	states map[stateKey]*routeState // under the lock of the failover
}

// send sends a call to the endpoint.
func (r *route) send(req *http.Request, c *call) (*http.Response, error) {
	c.endpoint.Store(&r.Name)
	return r.next(req)
}

// A stateKey is what a state is about: the endpoint as a whole, one account at
// it, or one model of an account. Tenants have accounts of their own; what is
// wrong with one of them must not keep the others away.
type stateKey struct{ tenant, model string }

// levels returns the keys that concern a call, from the whole endpoint on. A
// level that is the same as the one before is left out.
func (k stateKey) levels() []stateKey {
	all := [...]stateKey{{}, {tenant: k.tenant}, k}
	return slices.Compact(all[:])
}

// A routeState is what is known about an endpoint, or about a model of it. There
// is none while all is well.
type routeState struct {
	until    time.Time // it is left alone so long
	cooled   bool      // it was, and nothing has succeeded since
	window   int       // calls that may be under way after it; 0 is no bound
	flying   int       // that are
	failures int       // in a row
	coolings int       // in a row
}

// ready reports whether s lets a call through.
func (s *routeState) ready(now time.Time) bool {
	return s == nil || !now.Before(s.until) && (s.window == 0 || s.flying < s.window)
}

// readyFor reports whether the route takes the call.
func (r *route) readyFor(k stateKey, now time.Time) bool {
	for _, level := range k.levels() {
		if !r.states[level].ready(now) {
			return false
		}
	}
	return true
}

// unproved reports whether the route was left alone, and nothing has succeeded
// since.
func (r *route) unproved(k stateKey) bool {
	return slices.ContainsFunc(k.levels(), func(level stateKey) bool {
		s := r.states[level]
		return s != nil && s.cooled
	})
}

// readyAt returns when the route may take the call. It is now while the verdict
// of a probe is waited for.
func (r *route) readyAt(k stateKey, now time.Time) time.Time {
	at := now
	for _, level := range k.levels() {
		if s := r.states[level]; s != nil {
			at = later(at, s.until)
		}
	}
	return at
}

// A ticket is a call that a route has let through.
type ticket struct {
	route   *route
	key     stateKey
	counted [3]*routeState // by level; nil where all was well
	probing bool           // the first one after a time in which the endpoint was left alone
}

// take lets a call through.
func (r *route) take(k stateKey) ticket {
	t := ticket{route: r, key: k}
	for i, level := range k.levels() {
		if s := r.states[level]; s != nil {
			t.counted[i] = s
			t.probing = t.probing || s.cooled
			s.flying++
		}
	}
	return t
}

// release counts the call out.
func (t *ticket) release() {
	for _, s := range t.counted {
		if s != nil {
			s.flying--
		}
	}
}

// succeeded counts the call out as one that was served. It reports whether the
// endpoint is back with it. A call from before the endpoint failed proves nothing.
func (t *ticket) succeeded(now time.Time) (back bool) {
	t.release()
	for i, level := range t.key.levels() {
		s := t.counted[i]
		if s == nil || now.Before(s.until) {
			continue
		}
		back = back || s.cooled
		s.cooled, s.failures, s.coolings = false, 0, 0
		if s.window *= 2; s.window >= openWindow {
			s.window = 0
		}
		if s.window == 0 && t.route.states[level] == s {
			delete(t.route.states, level)
		}
	}
	return back
}

// failed takes a failure of the endpoint in that may be chance, and reports
// whether it is taken for one that is not.
func (r *route) failed() bool {
	s := r.state(stateKey{})
	if s == nil {
		return false
	}
	s.failures++
	return s.cooled || s.failures >= failuresInRow
}

// cool leaves what k is about alone for d, or for the usual time if d is zero.
// It returns until when.
func (r *route) cool(k stateKey, d time.Duration, now time.Time) time.Time {
	s := r.state(k)
	if s == nil {
		return now
	}
	if now.Before(s.until) { // by a call that was under way already
		s.until = later(s.until, now.Add(min(d, longestAsked)))
		return s.until
	}
	if d == 0 {
		d = min(firstCooling<<min(s.coolings, 10), mostCooling)
	}
	s.until = now.Add(min(d, longestAsked))
	s.cooled, s.window = true, 1
	s.coolings++
	return s.until
}

// state returns the state of k, and makes one. It is nil if there are too many.
func (r *route) state(k stateKey) *routeState {
	s := r.states[k]
	if s == nil && len(r.states) < mostStates {
		s = &routeState{}
		r.states[k] = s
	}
	return s
}
