package middleware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/wire"
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
	SubscriptionKey *credential.Cache
}

// Auth returns a layer that puts cache's credential on each request, and on a
// 401 replaces it and sends the request again.
//
// The layer serves one origin, "https://host[:port]" (plain http for loopback
// addresses only). A request to any other scheme, host or port, for example a
// redirect, fails with [ErrOrigin]: nothing is sent and no credential is
// fetched. An error of the cache is returned as it is.
//
// Authorization, api-key, Ocp-Apim-Subscription-Key, X-Api-Key and KeyHeader
// of the incoming request are dropped. What is sent is a copy; the caller's
// request and its header are not changed, and resp.Request is the caller's.
//
// On a 401 that another credential can cure, [credential.Cache.Replace] is
// asked for one, and the request is sent again if its body can be had again
// (GetBody): at most four sends in all. Otherwise the caller gets the service's
// own 401. Not curable are a missing permission, a wrong organization, a
// refused IP address and a key that did not arrive.
//
// The body of an answer of status 300 or above is cut at
// [DefaultMaxErrorBody] bytes, and the credential, if the server echoes it
// there or in a header, is replaced by "[redacted]".
//
// Auth fails if cache is nil, or origin or an option is malformed.
func Auth(cache *credential.Cache, origin string, opts *AuthOptions) (Middleware, error) {
	if cache == nil {
		return nil, errors.New("middleware: auth: nil cache; make one with credential.NewCache")
	}
	o, err := parseOrigin(origin)
	if err != nil {
		return nil, err
	}
	if opts == nil {
		opts = &AuthOptions{}
	}
	if err := checkKeyHeader(opts.KeyHeader); err != nil {
		return nil, err
	}
	header := http.CanonicalHeaderKey(opts.KeyHeader)
	gateway := opts.SubscriptionKey
	if gateway != nil && header == subscriptionKey {
		return nil, errors.New("middleware: auth: KeyHeader and SubscriptionKey are for the same header; give one")
	}
	return func(next http.RoundTripper) http.RoundTripper {
		a := &auth{cache: cache, gateway: gateway, origin: o, keyHeader: header, next: next.RoundTrip}
		if at, ok := next.(attemptTripper); ok {
			a.nextAttempt = at.roundTripAttempt
		}
		return a
	}, nil
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
	cache     *credential.Cache
	gateway   *credential.Cache // nil if there is none
	origin    origin
	keyHeader string
	// Funcs, so that no printer by reflection walks into what is below.
	next        func(*http.Request) (*http.Response, error)
	nextAttempt func(*http.Request, *attempt) (*http.Response, error)
}

// An outgoing is all that one send needs, in one allocation.
type outgoing struct {
	req     http.Request
	value   [2]string
	attempt attempt
	answer  hiddenBody
	body    io.ReadCloser
}

func (a *auth) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := a.origin.check(req); err != nil {
		closeBody(req)
		return nil, err
	}
	c, err := a.credentials(req.Context())
	if err != nil {
		closeBody(req)
		return nil, &credentialError{err}
	}
	number, reason := retryFrom(req.Context())
	resp, err := a.send(req, req.Body, c, number, reason)
	for sends := 1; err == nil && resp.StatusCode == http.StatusUnauthorized; sends++ {
		next, body, ok := a.replacement(req, resp, c, sends)
		if !ok {
			break
		}
		_ = resp.Body.Close()
		c = next
		resp, err = a.send(req, body, c, number, "replay 401")
	}
	return resp, err
}

// credentials are what one send carries.
type credentials struct {
	value   credential.Value
	gateway *credential.Value // nil if there is none
}

func (a *auth) credentials(ctx context.Context) (c credentials, err error) {
	if c.value, err = a.cache.Retrieve(ctx); err != nil || a.gateway == nil {
		return c, err
	}
	key, err := a.gateway.Retrieve(ctx)
	c.gateway = &key
	return c, err
}

// A credentialError is an error of the cache. Its type tells Retry that nothing
// was sent: a source's error may look like one of the connection.
type credentialError struct{ error }

func (e *credentialError) Unwrap() error { return e.error }

// replacement returns what to send after a 401, and the body for it. It is
// not ok if the 401 stands.
func (a *auth) replacement(req *http.Request, resp *http.Response, c credentials, sends int) (credentials, io.ReadCloser, bool) {
	challenge := strings.Join(resp.Header.Values("Www-Authenticate"), ", ")
	refusal := peekError(resp)
	if !curable(challenge, refusal) {
		return c, nil, false
	}
	cache, rejected := a.cache, &c.value
	if c.gateway != nil && ofGateway(challenge, refusal) {
		cache, rejected = a.gateway, c.gateway
	}
	ctx := req.Context()
	again := sends < maxSends && (req.GetBody != nil || req.Body == nil || req.Body == http.NoBody)
	if !again {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, unreplayableWait)
		defer cancel()
	}
	next, err := cache.Replace(ctx, credential.Rejection{Value: *rejected, StatusCode: resp.StatusCode, Challenge: challenge})
	if err != nil || !again {
		return c, nil, false
	}
	*rejected = next
	if req.GetBody == nil {
		return c, req.Body, true
	}
	body, err := req.GetBody()
	return c, body, err == nil
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

func (a *auth) send(req *http.Request, body io.ReadCloser, c credentials, number int, reason string) (*http.Response, error) {
	o := &outgoing{req: *req, attempt: attempt{value: c.value, number: number, reason: reason}}
	o.req.Body = body
	o.req.GetBody = nil // or net/http sends again by itself, uncounted
	o.req.Header = a.header(req.Header, o)
	if c.gateway != nil {
		o.value[1] = c.gateway.Secret.Reveal()
		o.req.Header[subscriptionKey] = o.value[1:2:2]
	}
	var resp *http.Response
	var err error
	if a.nextAttempt != nil {
		resp, err = a.nextAttempt(&o.req, &o.attempt)
	} else {
		resp, err = a.next(&o.req)
	}
	if err != nil {
		err = redactError(err, c.value.Secret)
		if c.gateway != nil {
			err = redactError(err, c.gateway.Secret)
		}
		return nil, err
	}
	resp.Request = req
	if c.gateway != nil {
		resp = a.answered(resp, *c.gateway)
	}
	v := c.value
	switch {
	case resp.StatusCode < 300:
		a.cache.Accept(v)
		o.hide(resp)
	default:
		resp = withoutTrailer(resp)
		redactHead(resp, v.Secret)
		wrapErrorBody(resp, v.Secret)
	}
	return resp, nil
}

// answered does for the gateway's key what send does for the credential.
func (a *auth) answered(resp *http.Response, key credential.Value) *http.Response {
	switch {
	case resp.StatusCode < 300:
		a.gateway.Accept(key)
	default:
		resp = withoutTrailer(resp)
		redactHead(resp, key.Secret)
		inner := wrapErrorBody(resp, key.Secret)
		resp.Body = &joined{inner, inner} // or the credential would not be looked for
	}
	return resp
}

// header returns a copy of h with no credential but ours. The values are
// shared: no layer below changes them.
func (a *auth) header(h http.Header, o *outgoing) http.Header {
	out := make(http.Header, len(h)+1)
	for k, vv := range h {
		if !a.credentialHeader(k) {
			out[k] = vv
		}
	}
	name := authorization
	if a.keyHeader != "" && o.attempt.value.Scheme == credential.APIKey {
		name = a.keyHeader
		o.value[0] = o.attempt.value.Secret.Reveal()
	} else {
		o.value[0] = o.attempt.value.Secret.Bearer()
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

// withoutTrailer returns a copy of resp that net/http does not fill with the
// trailer at the end of the body: it could echo the credential after we looked.
func withoutTrailer(resp *http.Response) *http.Response {
	out := *resp
	out.Trailer = nil
	return &out
}

// redactHead covers what of a refusal callers print: the reason phrase and the
// header, Location among it, which http.Client puts into its errors.
func redactHead(resp *http.Response, s credential.Secret) {
	resp.Status = redact(resp.Status, s.Reveal(), false)
	redactHeader(resp.Header, s)
}

// redactError keeps the text of a hostile answer out of errors: net/http
// quotes a malformed status line. Such an error keeps what it Is, but not what
// it wraps.
func redactError(err error, s credential.Secret) error {
	text := err.Error()
	clean := redact(text, s.Reveal(), false)
	if clean == text {
		return err
	}
	return &redactedError{text: clean, is: func(target error) bool { return errors.Is(err, target) }}
}

type redactedError struct {
	text string
	is   func(error) bool
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return e.is(target) }
