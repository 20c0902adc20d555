package middleware

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/wire"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// A consequence is what an outcome means for the endpoint.
type consequence uint8

const (
	undecided consequence = iota // it says nothing of the endpoint
	served                       // the endpoint did its part
	throttled                    // it takes fewer calls for the model
	spilled                      // it has no room for this call
	spared                       // it could not be found out for this call
	failing                      // that may be chance, and may be more
	cooling                      // it is left alone
	faulty                       // it is left alone until somebody mends it
)

// A scope is how much of an endpoint a consequence is for.
type scope uint8

const (
	ofEndpoint scope = iota
	ofAccount
	ofModel
)

// key returns what of the call's key the scope is about.
func (s scope) key(k stateKey) stateKey {
	switch s {
	case ofAccount:
		return stateKey{tenant: k.tenant}
	case ofModel:
		return k
	}
	return stateKey{}
}

// consequenceOf says what the outcome of a send means for the endpoint, for how
// much of it, and for how long the endpoint wants to be left alone.
func consequenceOf(resp *http.Response, err error, provisioned bool) (k consequence, of scope, asked time.Duration) {
	if err != nil {
		k, of = consequenceOfError(err)
		return k, of, 0
	}
	asked, named := retryAfter(resp.Header, time.Now())
	switch s := resp.StatusCode; {
	case s < 400:
		return served, ofEndpoint, 0
	case s == http.StatusTooManyRequests && quotaSpent(peekSmall(resp)):
		return faulty, ofAccount, asked
	case s == http.StatusTooManyRequests && provisioned:
		return spilled, ofModel, 0
	case s == http.StatusTooManyRequests:
		return throttled, ofModel, asked
	case s == http.StatusUnauthorized || s == http.StatusForbidden || s == http.StatusProxyAuthRequired:
		return faulty, ofAccount, asked
	case s == http.StatusNotFound && modelMissing(peekSmall(resp)):
		return faulty, ofModel, asked
	case s == http.StatusNotImplemented || s == http.StatusHTTPVersionNotSupported:
		return served, ofEndpoint, 0
	case s >= 500 || s == http.StatusRequestTimeout:
		switch {
		case first(resp.Header, "X-Should-Retry") == "false":
			return undecided, ofEndpoint, 0
		case named && asked > 0:
			return cooling, ofEndpoint, asked
		}
		return failing, ofEndpoint, 0
	}
	return served, ofEndpoint, 0
}

func consequenceOfError(err error) (consequence, scope) {
	own, source := (*credentialError)(nil), (*credential.SourceError)(nil)
	cert, authority := (*tls.CertificateVerificationError)(nil), x509.UnknownAuthorityError{}
	host, invalid := x509.HostnameError{}, x509.CertificateInvalidError{}
	refused, ceiling := (dialRefused)(nil), (*limit.Error)(nil)
	switch {
	case errors.As(err, &ceiling) && ceiling.Endpoint != "":
		return spilled, ofModel
	case errors.As(err, &own) && own.nobody:
		return undecided, ofEndpoint
	case errors.As(err, &source) && source.Transient:
		return cooling, ofAccount
	case errors.As(err, &own), errors.As(err, &source):
		return faulty, ofAccount
	case errors.As(err, &refused), errors.As(err, &cert), errors.As(err, &authority),
		errors.As(err, &host), errors.As(err, &invalid):
		return faulty, ofEndpoint
	case connectionError(err):
		return cooling, ofEndpoint
	}
	return undecided, ofEndpoint
}

// modelMissing reports whether a 404 says that the endpoint does not have the
// model, by OpenAI's and Azure's codes:
// https://platform.openai.com/docs/guides/error-codes and
// https://learn.microsoft.com/azure/ai-foundry/openai/how-to/create-resource
func modelMissing(body []byte) bool {
	switch strings.ToLower(wire.ParseError(body).Code) {
	case "deploymentnotfound", "model_not_found", "modelnotfound", "unknown_model":
		return true
	}
	return false
}

// judge takes in what came of a send, and notes whether another endpoint may do
// better.
func (f *failover) judge(t *ticket, rt *routing, req *http.Request, c *call, resp *http.Response, err error) (*http.Response, error) {
	if err != nil && req.Context().Err() != nil {
		f.leave(t) // the caller has left: nobody knows
		return nil, err
	}
	r, p := t.route, &rt.pacings[t.route.index]
	k, of, asked := consequenceOf(resp, err, r.Provisioned)
	if c.unsure.Swap(false) && k == faulty {
		k = spared // the call had no time to find out whether there is a new key
	}
	if k == served && t.counted == [3]*routeState{} {
		p.accepted()
		return f.passed(t, req, resp), nil
	}
	if t.key == (stateKey{}) {
		t.key = c.keyFor(req)
	}
	if k == throttled {
		if p.throttled(req, c, resp, defaultBaseDelay) { // it asks for no more than MaxDelay
			f.alive(t)
			rt.tried |= 1 << r.index
			rt.paced |= 1 << r.index
			rt.another = true
			return resp, nil
		}
		k = cooling
	}
	p.accepted()
	e := RouteEvent{Kind: "spilled", Route: r.Name, Reason: string(reasonConnection[len("retry "):])}
	if of == ofModel {
		e.Model = t.key.model
	}
	switch {
	case resp != nil:
		e.Reason = strconv.Itoa(resp.StatusCode)
	case k == spilled:
		e.Reason = "limit"
	}
	if f.apply(t, k, of.key(t.key), asked, rt, &e) {
		f.event(e)
	}
	if k == served {
		return f.passed(t, req, resp), nil
	}
	return resp, err
}

// keyFor returns whom and what a call is for.
func (c *call) keyFor(req *http.Request) stateKey {
	return stateKey{tenant: credential.TenantFrom(req.Context()), model: c.modelFor(req)}
}

// alive takes in an answer that shows that the endpoint is there.
func (f *failover) alive(t *ticket) {
	f.mu.Lock()
	back := t.succeeded(time.Now())
	f.notify()
	f.mu.Unlock()
	if back {
		f.event(RouteEvent{Kind: "recovered", Route: t.route.Name, Reason: "429"})
	}
}

// apply carries a consequence out, which is about a part of the endpoint, and
// reports whether it is worth an event.
func (f *failover) apply(t *ticket, k consequence, about stateKey, asked time.Duration, rt *routing, e *RouteEvent) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.notify()
	r, now := t.route, time.Now()
	switch k {
	case undecided:
		t.release()
		return false
	case served:
		e.Kind = "recovered"
		return t.succeeded(now)
	case spilled:
		t.succeeded(now)
	case spared:
		t.release()
	case failing:
		t.release()
		if r.failed() {
			e.Kind, e.Until = "cooling", r.cool(about, 0, now)
		}
	case cooling, faulty:
		t.release()
		if k == faulty {
			asked = max(asked, faultCooling)
		}
		e.Kind, e.Until = "cooling", r.cool(about, asked, now)
	}
	rt.tried |= 1 << r.index
	rt.paced &^= 1 << r.index
	for _, other := range f.routes {
		if (rt.tried&^rt.paced)&(1<<other.index) == 0 && other.readyFor(t.key, now) {
			rt.another = true
		}
	}
	return true
}
