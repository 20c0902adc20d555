package middleware

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
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
}

// Log returns a layer that writes one record for each send, when its body has
// ended or was closed; for an error, an answer without a body and 101
// Switching Protocols at once. A nil logger logs nothing.
//
// The message is "openai request". The attributes, left out where empty:
//
//	method, host, path            as sent, without the query
//	status, error                 what came of it
//	attempt, reason, endpoint     Number, Reason and Endpoint of the [Send]
//	model, stream                 what the request's JSON body asks for
//	request_id                    x-request-id, apim-request-id or x-ms-request-id
//	deployment, spilled_from      the Azure deployment that served the request, and the one that had no room for it
//	waited                        before the send, for the service's limit or a back-off
//	duration, ttfb                until the end of the body, until the header
//	tenant                        whose credential it is
//	credential_source, credential_version, gateway_source, gateway_version
//	refused                       "credential" or "gateway": which of them the service refused
//	ratelimit_remaining_requests, ratelimit_remaining_tokens
//	input_tokens, cached_tokens, output_tokens, reasoning_tokens   the [Usage], where the answer tells it
//	answered_by, service_tier     the model and the service tier that answered
//	finish, refusal, prompt_filter, answer_filter   why the model stopped, and what a content filter found
//
// There is never a body, a query or a credential in it: the one that was sent
// is replaced by "[redacted]" wherever the server echoes it. Values are cut at
// 512 bytes. Put the layer below [Auth], or it does not see single sends.
func Log(logger *slog.Logger, opts *LogOptions) Middleware {
	if logger == nil {
		return func(next http.RoundTripper) http.RoundTripper { return next }
	}
	l := &sendLogger{level: slog.LevelInfo, handler: logger.Handler}
	if opts != nil && opts.Level != nil {
		l.level = opts.Level
	}
	o := newObserver(l.log)
	o.enabled = l.enabled
	if opts != nil {
		o.headers = loggable(opts.Headers)
	}
	return o.layer
}

type loggedHeader struct{ header, attr string }

// A headerValue is a header of an answer as it is logged.
type headerValue struct{ attr, value string }

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

type sendLogger struct {
	level   slog.Leveler
	handler hidden.Value[slog.Handler]
}

func (l *sendLogger) failureLevel() slog.Level { return max(l.level.Level(), slog.LevelWarn) }

func (l *sendLogger) enabled(ctx context.Context) bool {
	h := l.handler()
	return h.Enabled(ctx, l.level.Level()) || h.Enabled(ctx, l.failureLevel())
}

// sentBy returns the credential of a request that did not come from Auth.
func sentBy(h http.Header) credential.Secret {
	if v := strings.TrimSpace(first(h, authorization)); v != "" {
		return credential.NewSecret(v[strings.LastIndexByte(v, ' ')+1:])
	}
	for _, name := range [...]string{"Api-Key", "X-Api-Key", subscriptionKey} {
		if v := first(h, name); v != "" {
			return credential.NewSecret(v)
		}
	}
	return credential.Secret{}
}

// first is h.Get without the time for making name canonical, which it is.
func first(h http.Header, name string) string {
	if vv := h[name]; len(vv) > 0 {
		return vv[0]
	}
	return ""
}
