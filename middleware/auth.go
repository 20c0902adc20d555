package middleware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/sent"
	"github.com/latchkey-go/latchkey/internal/wire"
	"github.com/latchkey-go/latchkey/internal/wraperr"
)

const (
	authorization   = "Authorization"
	subscriptionKey = "Ocp-Apim-Subscription-Key"
	// maxSends bounds what one attempt costs when new values are refused, too.
	maxSends = 4
	// unreplayableWait is how long a call that cannot be sent again waits for
	// the next call's credential: on Lambda nothing runs once it has returned.
	unreplayableWait = 300 * time.Millisecond
)

// AuthOptions are the options of [Auth]. Nil is the same as the zero value.
type AuthOptions struct {
	// KeyHeader is the header that carries a value of the scheme
	// [credential.APIKey], bare: "api-key" for Azure OpenAI,
	// "Ocp-Apim-Subscription-Key" for Azure API Management. If it is empty the
	// key goes into Authorization as "Bearer KEY", as OpenAI wants it. A
	// [credential.BearerToken] always goes into Authorization.
	KeyHeader string
	// SubscriptionKey, if not nil, is the key of a gateway in front of the
	// service, Azure API Management, which is sent beside the credential in
	// Ocp-Apim-Subscription-Key. A 401 of the gateway's own replaces this key
	// and leaves the credential alone. KeyHeader must be another header.
	SubscriptionKey credential.Provider
	// PlainHTTP allows an origin of "http://" that is not a loopback address, for
	// a mesh or a gateway in the same cluster that adds TLS itself. Everybody on
	// the way can read the credential. No redirect is followed then.
	PlainHTTP bool
	// Refused reports whether an answer refuses the credential, for services that
	// do not say so with a 401. It is asked about the answers of 400 and above
	// that Auth does not know for refusals; body is the answer's, cut at
	// [DefaultMaxErrorBody] bytes and with the credential redacted, and must not
	// be changed. It may be called by several goroutines. Nil asks nobody.
	Refused func(resp *http.Response, body []byte) bool
}

// Auth returns a layer that puts the provider's credential on each request, and
// when the service refuses it replaces it and sends the request again.
//
// The layer serves one origin, "https://host[:port]" (plain http for loopback
// addresses only, unless PlainHTTP is set). A request to any other scheme, host
// or port, for example a redirect, fails with [ErrOrigin]: nothing is sent and
// no credential is fetched. An error of the provider is returned as it is.
//
// Authorization, api-key, Ocp-Apim-Subscription-Key, X-Api-Key and KeyHeader
// of the incoming request are dropped. What is sent is a copy; the caller's
// request and its header are not changed, and resp.Request is the caller's.
//
// On a refusal that another credential can cure, the provider's Replace is asked
// for one, and the request is sent again if its body can be had again
// (GetBody): at most four sends in all. Otherwise the caller gets the service's
// own answer. A refusal is a 401, but for a missing permission, a wrong
// organization, a refused IP address and a key that did not arrive; the 400 of
// LiteLLM and of Google's OpenAI-compatible endpoint for a key that is not
// valid; the 403 of Amazon Bedrock and API Gateway for an expired or unknown
// token, and of Azure where keys are switched off; and what Refused says. The
// 403 of API Management for a spent quota is no refusal.
//
// The provider's Accept is told of each other answer below 500 that proves the
// credential: 2xx, 400, 404 and 429 among them, but no redirect and no 403.
//
// The body of an answer of status 300 or above is cut at
// [DefaultMaxErrorBody] bytes, and the credential, if the server echoes it
// there or in a header, is replaced by "[redacted]".
//
// Auth fails if the provider is nil, or origin or an option is malformed.
func Auth(provider credential.Provider, origin string, opts *AuthOptions) (Middleware, error) {
	if missing(provider) {
		return nil, errors.New("middleware: auth: nil provider; make one with credential.NewCache")
	}
	if opts == nil {
		opts = &AuthOptions{}
	}
	o, err := parseOrigin(origin, opts.PlainHTTP)
	if err != nil {
		return nil, err
	}
	if err := checkKeyHeader(opts.KeyHeader); err != nil {
		return nil, err
	}
	header, gateway := http.CanonicalHeaderKey(opts.KeyHeader), opts.SubscriptionKey
	switch {
	case gateway == nil:
	case missing(gateway):
		return nil, errors.New("middleware: auth: SubscriptionKey is a nil *credential.Cache; make one with credential.NewCache")
	case header == subscriptionKey:
		return nil, errors.New("middleware: auth: KeyHeader and SubscriptionKey are for the same header; give one")
	}
	return func(next http.RoundTripper) http.RoundTripper {
		a := &auth{provider: provider, gateway: gateway, origin: o, keyHeader: header, isRefusal: opts.Refused, traces: hidden.Of(newConnTraces()), next: next.RoundTrip}
		a.canceler = cancelerOf(next)
		return a
	}, nil
}

// missing reports whether p is nil, or a nil Cache.
func missing(p credential.Provider) bool {
	cache, ok := p.(*credential.Cache)
	return p == nil || ok && cache == nil
}

func checkKeyHeader(name string) error {
	for i := range len(name) {
		if c := name[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return fmt.Errorf("middleware: auth: KeyHeader holds byte %d that no header name has here; want letters, digits, - and _", i+1)
		}
	}
	switch http.CanonicalHeaderKey(name) {
	case authorization, "Host", "Content-Length", "Content-Type", "Connection", "Cookie", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Accept-Encoding":
		return fmt.Errorf("middleware: auth: KeyHeader %s cannot carry a key; leave it empty for Authorization", http.CanonicalHeaderKey(name))
	}
	return nil
}

type auth struct {
	provider  credential.Provider
	gateway   credential.Provider // nil if there is none
	origin    origin
	keyHeader string
	isRefusal func(*http.Response, []byte) bool // nil for none but our own
	looked    atomic.Bool                       // somebody looks at the records of sends
	traces    hidden.Value[*connTraces]
	next      roundTrip
	canceler  func(*http.Request)
}

// An outgoing is all that one send needs, in one allocation.
type outgoing struct {
	req     http.Request
	value   [2]string
	sent    credentials
	secrets sentRoom
	sending sending
	body    observedBody
	room    io.ReadCloser
}

func (a *auth) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := a.origin.check(req); err != nil {
		closeBody(req)
		return nil, err
	}
	v, err := a.credentials(req)
	if err != nil {
		closeBody(req)
		return nil, &credentialError{wraperr.Context(req.Context(), err), a.nobody(req)}
	}
	_, c := begin(req)
	reason, body := reasonOf(req, c), req.Body
	for sends := 1; ; sends++ {
		o := a.outgoing(req, body, c, v, reason)
		resp, err := a.send(o, req, c)
		if err != nil {
			return nil, err
		}
		challenge, refusal, refused := a.refused(resp)
		if !refused {
			a.accept(o, resp.StatusCode)
			return o.settled(resp), nil
		}
		o.sending.replayed()
		r := credential.Rejection{StatusCode: resp.StatusCode, Challenge: challenge}
		var ok bool
		if v, body, ok = a.replacement(req, o, r, refusal, sends); !ok {
			return o.settled(resp), nil
		}
		_ = resp.Body.Close()
		reason = reasonReplay(resp.StatusCode)
	}
}

// credentials are what one send carries.
type credentials struct {
	value   credential.Value
	gateway *credential.Value // nil if there is none
}

func (a *auth) credentials(req *http.Request) (c credentials, err error) {
	ctx, stop := cancelable(req)
	defer stop()
	if c.value, err = a.provider.Retrieve(ctx); err != nil || a.gateway == nil {
		return c, err
	}
	key, err := a.gateway.Retrieve(ctx)
	c.gateway = &key
	return c, err
}

// replacement returns what to send after a refusal, and the body for it. It is
// not ok if the refusal stands.
func (a *auth) replacement(req *http.Request, o *outgoing, r credential.Rejection, refusal []byte, sends int) (credentials, io.ReadCloser, bool) {
	c := o.sent
	provider, rejected, gateway := a.provider, &c.value, false
	if c.gateway != nil && r.StatusCode == http.StatusUnauthorized && ofGateway(r.Challenge, refusal) {
		key := *c.gateway // not that of the send that is over
		c.gateway = &key
		provider, rejected, gateway = a.gateway, c.gateway, true
	}
	o.sending.refuse(gateway)
	body, again := bodyAgain(req)
	again = again && sends < maxSends
	ctx, stop := cancelable(req)
	defer stop()
	if !again {
		closeReader(body)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, unreplayableWait)
		defer cancel()
	}
	r.Value = *rejected
	next, err := provider.Replace(ctx, r)
	if err != nil || !again {
		o.sending.call.unsure.Store(sends < maxSends && (err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)))
		if again {
			closeReader(body)
		}
		return c, nil, false
	}
	*rejected = next
	return c, body, true
}

// ofGateway reports whether a 401 is API Management's own. Azure OpenAI speaks
// of subscription keys as well, and of the endpoint with them.
func ofGateway(challenge string, body []byte) bool {
	if strings.Contains(challenge, "AzureApiManagementKey") {
		return true
	}
	m := strings.ToLower(wire.ParseError(body).Message)
	return strings.Contains(m, "subscription key") && !strings.Contains(m, "wrong api endpoint")
}

// outgoing returns the request with the credentials on it.
func (a *auth) outgoing(req *http.Request, body io.ReadCloser, of *call, c credentials, reason Reason) *outgoing {
	o, w := a.newOutgoing()
	o.req, o.sent = *req, c
	o.req.Body = body
	o.req.RequestURI = "" // a proxy's copy of what it received has one
	if idempotent(req) {
		// net/http would send it again by itself, uncounted, though it may have
		// been carried out. Without such a key it does so only with what the
		// service has not got, or says that it has not processed.
		o.req.GetBody = nil
	}
	if o.sent.value.Tenant != "" {
		of.tenant.Store(&o.sent.value.Tenant)
	}
	o.sending.secrets = append(o.secrets[:0], c.value.Secret)
	o.req.Header = a.header(req.Header, c.value, o)
	if c.gateway != nil {
		o.sending.secrets = append(o.sending.secrets, c.gateway.Secret)
		o.value[1] = c.gateway.Secret.Reveal()
		o.req.Header[subscriptionKey] = o.value[1:2:2]
	}
	of.carries(&o.sending.secrets)
	o.sending.sent, o.sending.looked = &o.sent, &a.looked
	o.sending.start(&o.req, &o.req, of, reason, w)
	return o
}

// newOutgoing returns an outgoing, with a record for it if records are looked at.
func (a *auth) newOutgoing() (*outgoing, *watch) {
	if !a.looked.Load() {
		return &outgoing{}, nil
	}
	both := &struct {
		outgoing
		watch watch
	}{}
	return &both.outgoing, &both.watch
}

// idempotent reports what net/http looks for.
func idempotent(req *http.Request) bool {
	_, ok := req.Header["Idempotency-Key"]
	_, other := req.Header["X-Idempotency-Key"]
	return ok || other
}

func (a *auth) send(o *outgoing, req *http.Request, c *call) (*http.Response, error) {
	s := &o.sending
	if !c.canceler.carry(&o.req, a.canceler) {
		closeReader(o.req.Body)
		return nil, errCanceled()
	}
	sent.From(req.Context()).Add(s.secrets...)
	s.watchConnection(a.traces().get())
	resp, err := a.next(&o.req)
	begun := s.returned()
	if err != nil {
		if begun && wraperr.IsTimeout(err) {
			err = &begunError{err}
		}
		err = wraperr.Context(req.Context(), s.secrets.err(err))
		s.end(err)
		return nil, err
	}
	resp.Request = req
	c.canceler.hold(s)
	s.answered(resp)
	if resp.StatusCode < 300 {
		s.secrets.response(resp)
		s.answer = resp
		o.body.hide(resp, s, &o.room)
		return resp, nil
	}
	return refusal(resp, s), nil
}

// accept tells the providers of an answer that proves what was sent.
func (a *auth) accept(o *outgoing, status int) {
	if !proves(status) {
		return
	}
	a.provider.Accept(o.sent.value)
	if a.gateway != nil {
		a.gateway.Accept(*o.sent.gateway)
	}
}

// refusal makes an answer that is not of the 200s fit to be printed.
func refusal(resp *http.Response, s *sending) *http.Response {
	out := *resp // net/http does not fill the trailer of a copy
	out.Trailer = nil
	s.secrets.response(&out)
	wrapErrorBody(&out, s.secrets...).sending.Store(s)
	return &out
}

// settled ends the send of an answer without a body, now that it is known
// whether it refuses the credential.
func (o *outgoing) settled(resp *http.Response) *http.Response {
	if b, ok := resp.Body.(*errorBody); ok && b.empty {
		o.sending.end(nil)
	}
	return resp
}

// header returns a copy of h with no credential but ours. The values are
// shared: no layer below changes them.
func (a *auth) header(h http.Header, v credential.Value, o *outgoing) http.Header {
	out := make(http.Header, len(h)+1)
	for k, vv := range h {
		if !a.credentialHeader(k) {
			out[k] = vv
		}
	}
	name := authorization
	if a.keyHeader != "" && v.Scheme == credential.APIKey {
		name = a.keyHeader
		o.value[0] = v.Secret.Reveal()
	} else {
		o.value[0] = v.Secret.Bearer()
	}
	out[name] = o.value[:1:1]
	return out
}

// credentialHeader matches in any case: a map key need not be canonical.
func (a *auth) credentialHeader(k string) bool {
	switch len(k) {
	case len(authorization):
		if strings.EqualFold(k, authorization) {
			return true
		}
	case len("Api-Key"):
		if strings.EqualFold(k, "Api-Key") {
			return true
		}
	case len("X-Api-Key"):
		if strings.EqualFold(k, "X-Api-Key") {
			return true
		}
	case len(subscriptionKey):
		if strings.EqualFold(k, subscriptionKey) {
			return true
		}
	}
	return len(k) == len(a.keyHeader) && strings.EqualFold(k, a.keyHeader)
}
