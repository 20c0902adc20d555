package middleware

import (
	"net/http"
	"time"
)

// A pacing is what one call has to do with a pace: it stands in line before a
// send, and tells what came of it.
type pacing struct {
	pace  *pacer // nil is none
	place *place // in the line; nil without
}

// throttled tells the pace of a 429, and reports whether it is one that the
// pace takes for what it is: not a spent quota, and not a wait that is too long.
func (p *pacing) throttled(req *http.Request, c *call, resp *http.Response, baseDelay time.Duration) bool {
	asked, named := retryAfter(resp.Header, time.Now())
	if !named {
		asked = max(baseDelay, limitReset(resp.Header))
	}
	if p.pace == nil || asked > p.pace.maxDelay || resp.Header.Get("X-Should-Retry") == "false" || quotaSpent(peekSmall(resp)) {
		return false
	}
	g := p.pace.gateOf(req, c)
	if g == nil {
		return false
	}
	var from *place
	if p.place != nil && p.place.g == g {
		from = p.place
	} else {
		p.place = g.newPlace(leaveAt(req.Context()))
	}
	g.throttled(from, asked, named, resp)
	return true
}

// accepted says that a send was not refused for its rate.
func (p *pacing) accepted() {
	if p.place != nil {
		p.place.accepted()
	}
}

// find takes a place if the model of the request is throttled, and reports
// whether it is.
func (p *pacing) find(req *http.Request, c *call) bool {
	if !p.pace.begun() {
		p.place = nil
		return false
	}
	g := p.pace.gate(req, c)
	switch {
	case g == nil:
		p.place = nil
	case p.place == nil || p.place.g != g:
		p.place = g.newPlace(leaveAt(req.Context()))
	}
	return g != nil
}

// admitted reports whether the call may be sent without a wait.
func (p *pacing) admitted(req *http.Request, c *call, last bool) bool {
	if !p.find(req, c) {
		return true
	}
	p.place.last = last
	p.place.join(time.Time{})
	return p.place.enter()
}

// turn waits until it is the call's turn, and reports whether it comes in time.
// The error is that of a call which has ended.
func (p *pacing) turn(req *http.Request, c *call, last bool, notBefore time.Time) (bool, error) {
	pl := p.place
	pl.last = last
	pl.join(notBefore)
	var timeUp <-chan time.Time
	if !pl.deadline.IsZero() && !pl.decided() {
		timer := time.NewTimer(time.Until(pl.deadline))
		defer timer.Stop()
		timeUp = timer.C
	}
	if err := until(req, c, pl.ready, timeUp); err != nil {
		pl.leave()
		return false, err
	}
	return pl.enter(), nil
}
