package middleware

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/wire"
)

// LogOptions are the options of [Log]. Nil is the same as the zero value.
type LogOptions struct {
	// Level is the level of a record; nil is slog.LevelInfo. A send that
	// failed, or was answered with 500 or above, is logged at slog.LevelWarn,
	// or Level if that is higher.
	Level slog.Leveler
	// Headers names response headers to log besides the ones that always are,
	// for example "x-envoy-upstream-service-time". The attribute has the name
	// in lower case. Names that stand for credentials or cookies are passed
	// over, such as Set-Cookie, or any with "token", "key" or "secret" in it.
	Headers []string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Log returns a layer that writes one record for each send, when its body has
// ended or was closed; for an error, an answer without a body and 101
// Switching Protocols at once. A nil logger logs nothing.
//
// The message is "openai request". The attributes, left out where empty:
//
//	method, host, path            as sent, without the query
//	status, error                 what came of it
//	attempt, reason               the number of this send, and why it is not the first
//	request_id                    x-request-id, apim-request-id or x-ms-request-id
//	duration, ttfb                until the end of the body, until the header
//	credential_source, credential_version
//	ratelimit_remaining_requests, ratelimit_remaining_tokens
//
// There is never a body, a query or a credential in it: the one that was sent
// is replaced by "[redacted]" wherever the server echoes it. Values are cut at
// 512 bytes. Put the layer below [Auth], or it does not see single sends.
func Log(logger *slog.Logger, opts *LogOptions) Middleware {
	if logger == nil {
		return func(next http.RoundTripper) http.RoundTripper { return next }
	}
	l := logLayer{level: slog.LevelInfo, now: time.Now, handler: logger.Handler}
	if opts != nil {
		if opts.Level != nil {
			l.level = opts.Level
		}
		if opts.Now != nil {
			l.now = opts.Now
		}
		l.headers = loggable(opts.Headers)
	}
	return func(next http.RoundTripper) http.RoundTripper {
		out := l
		out.next = next.RoundTrip
		if at, ok := next.(attemptTripper); ok {
			out.nextAttempt = at.roundTripAttempt
		}
		return &out
	}
}

type loggedHeader struct{ header, attr string }

// loggable drops the headers that must not be logged, and repetitions.
func loggable(names []string) []loggedHeader {
	var out []loggedHeader
	seen := map[string]bool{}
	for _, name := range names {
		attr := strings.ToLower(name)
		if attr == "" || seen[attr] || secretHeader(attr) {
			continue
		}
		seen[attr] = true
		out = append(out, loggedHeader{http.CanonicalHeaderKey(name), attr})
	}
	return out
}

func secretHeader(name string) bool {
	if strings.HasPrefix(name, "x-ratelimit-") {
		return false // "tokens" of the other kind
	}
	for _, part := range [...]string{
		"auth", "cookie", "token", "key", "secret", "password", "credential", "signature", "session", "cert", "location",
	} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

type logLayer struct {
	level   slog.Leveler
	headers []loggedHeader
	// Funcs, so that no printer by reflection walks into what is behind them.
	now         func() time.Time
	handler     func() slog.Handler
	next        func(*http.Request) (*http.Response, error)
	nextAttempt func(*http.Request, *attempt) (*http.Response, error)
}

func (l *logLayer) failureLevel() slog.Level { return max(l.level.Level(), slog.LevelWarn) }

// RoundTrip logs a send that does not come from Auth.
func (l *logLayer) RoundTrip(req *http.Request) (*http.Response, error) {
	if !l.enabled(req.Context()) {
		return l.next(req)
	}
	s := l.newSend(req)
	s.number, s.reason = retryFrom(req.Context())
	s.secret = sentBy(req.Header)
	resp, err := l.next(req)
	return s.outcome(resp, err)
}

func (l *logLayer) roundTripAttempt(req *http.Request, a *attempt) (*http.Response, error) {
	if !l.enabled(req.Context()) {
		return l.pass(req, a)
	}
	s := l.newSend(req)
	s.number, s.reason, s.secret = a.number, a.reason, a.value.Secret.Reveal()
	s.source, s.version = a.value.Source, a.value.Version
	resp, err := l.pass(req, a)
	return s.outcome(resp, err)
}

func (l *logLayer) pass(req *http.Request, a *attempt) (*http.Response, error) {
	if l.nextAttempt != nil {
		return l.nextAttempt(req, a)
	}
	return l.next(req)
}

func (l *logLayer) newSend(req *http.Request) *send {
	s := &send{layer: l, ctx: req.Context(), start: l.now(), method: req.Method}
	if req.URL != nil {
		s.host, s.path = req.URL.Host, req.URL.Path
	}
	return s
}

func (l *logLayer) enabled(ctx context.Context) bool {
	h := l.handler()
	return h.Enabled(ctx, l.level.Level()) || h.Enabled(ctx, l.failureLevel())
}

// sentBy returns the credential of a request that did not come from Auth.
func sentBy(h http.Header) string {
	if v := strings.TrimSpace(first(h, authorization)); v != "" {
		return v[strings.LastIndexByte(v, ' ')+1:]
	}
	for _, name := range [...]string{"Api-Key", "X-Api-Key", "Ocp-Apim-Subscription-Key"} {
		if v := first(h, name); v != "" {
			return v
		}
	}
	return ""
}

// first is h.Get without the time for making name canonical, which it is.
func first(h http.Header, name string) string {
	if vv := h[name]; len(vv) > 0 {
		return vv[0]
	}
	return ""
}

// A logBody is a func, so that no printer by reflection sees the send, or
// net/http's buffers with the header in it.
type logBody func() *send

// Read reads the body, and logs at its end.
func (b logBody) Read(p []byte) (int, error) {
	s := b()
	n, err := s.body.Read(p)
	if err == io.EOF {
		s.log(s.layer.now(), nil)
	} else if err != nil {
		s.log(s.layer.now(), err)
	}
	return n, err
}

// Close closes the body, and logs if its end was not reached.
func (b logBody) Close() error {
	s := b()
	err := s.body.Close()
	s.log(s.layer.now(), nil)
	return err
}

// A send is what there is to tell about one.
type send struct {
	layer  *logLayer
	ctx    context.Context
	body   io.ReadCloser
	logged atomic.Bool

	start            time.Time
	header           time.Duration // until the header had come
	secret           string
	source, version  string
	method           string
	host, path       string
	number, status   int
	reason           string
	requestID        string
	requests, tokens string // what the rate limit leaves
	extra            []slog.Attr
}

// outcome logs what has ended, and watches the body of what has not.
func (s *send) outcome(resp *http.Response, err error) (*http.Response, error) {
	now := s.layer.now()
	s.header = now.Sub(s.start)
	if err != nil {
		s.log(now, err)
		return resp, err
	}
	s.response(resp)
	if resp.Body == nil || resp.Body == http.NoBody || resp.StatusCode == http.StatusSwitchingProtocols {
		s.log(now, nil)
		return resp, nil
	}
	s.body = resp.Body
	resp.Body = logBody(func() *send { return s })
	return resp, nil
}

// response takes from the header what will be logged: the caller may change it.
func (s *send) response(resp *http.Response) {
	s.status = resp.StatusCode
	s.requestID = wire.RequestID(resp.Header)
	s.requests = first(resp.Header, "X-Ratelimit-Remaining-Requests")
	s.tokens = first(resp.Header, "X-Ratelimit-Remaining-Tokens")
	for _, h := range s.layer.headers {
		if vv := resp.Header[h.header]; len(vv) > 0 {
			s.extra = append(s.extra, s.text(h.attr, strings.Join(vv, ", ")))
		}
	}
}
