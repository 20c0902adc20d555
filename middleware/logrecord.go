package middleware

import (
	"context"
	"log/slog"
	"strconv"
)

// maxLogValue bounds what a peer can put into one attribute, in bytes.
const maxLogValue = 512

// log writes the record of a send that has ended.
func (l *sendLogger) log(ctx context.Context, s *Send) {
	level := l.level.Level()
	if s.Err != nil || s.Status >= 500 {
		level = l.failureLevel()
	}
	h := l.handler()
	if !h.Enabled(ctx, level) {
		return
	}
	var room [36]slog.Attr
	attrs := append(room[:0], text("method", s.Method), text("host", s.Host), text("path", s.Path))
	if s.Status != 0 {
		attrs = append(attrs, slog.Int("status", s.Status))
	}
	attrs = append(attrs, slog.Int("attempt", s.Number))
	for _, a := range [...]struct{ key, value string }{
		{"reason", string(s.Reason)},
		{"endpoint", s.Endpoint},
		{"model", s.Model},
		{"request_id", s.RequestID},
		{"deployment", s.Deployment},
		{"spilled_from", s.SpilledFrom},
		{"tenant", s.Credential.Tenant},
		{"credential_source", s.Credential.Source},
		{"credential_version", s.Credential.Version},
		{"gateway_source", s.Gateway.Source},
		{"gateway_version", s.Gateway.Version},
		{"refused", s.refused()},
	} {
		if a.value != "" {
			attrs = append(attrs, text(a.key, a.value))
		}
	}
	if s.Stream {
		attrs = append(attrs, slog.Bool("stream", true))
	}
	if n := s.RateLimit.RemainingRequests; s.Status != 0 && n >= 0 {
		attrs = append(attrs, slog.String("ratelimit_remaining_requests", strconv.Itoa(n)))
	}
	if n := s.RateLimit.RemainingTokens; s.Status != 0 && n >= 0 {
		attrs = append(attrs, slog.String("ratelimit_remaining_tokens", strconv.Itoa(n)))
	}
	attrs = s.Usage.attrs(attrs)
	if s.Waited > 0 {
		attrs = append(attrs, slog.Duration("waited", s.Waited))
	}
	attrs = append(attrs, slog.Duration("duration", s.Ended.Sub(s.Started)))
	if s.Status != 0 {
		attrs = append(attrs, slog.Duration("ttfb", s.Header.Sub(s.Started)))
	}
	if s.Err != nil {
		attrs = append(attrs, text("error", s.Err.Error()))
	}
	for _, x := range s.extra {
		attrs = append(attrs, text(x.attr, x.value))
	}
	// Not Logger.LogAttrs: it looks up its caller, which is always this line.
	r := slog.NewRecord(s.Ended, level, "openai request", 0)
	r.AddAttrs(attrs...)
	_ = h.Handle(ctx, r) // as Logger does: there is nobody to tell
}

// attrs appends what the answer said of itself.
func (u *Usage) attrs(to []slog.Attr) []slog.Attr {
	for _, a := range [...]struct {
		key   string
		value int64
		is    bool
	}{
		{"input_tokens", u.Input, u.Reported},
		{"cached_tokens", u.CachedInput, u.CachedInput > 0},
		{"output_tokens", u.Output, u.Reported},
		{"reasoning_tokens", u.Reasoning, u.Reasoning > 0},
	} {
		if a.is {
			to = append(to, slog.Int64(a.key, a.value))
		}
	}
	for _, a := range [...]struct{ key, value string }{
		{"answered_by", u.Model},
		{"service_tier", u.ServiceTier},
		{"finish", u.Finish},
		{"prompt_filter", u.PromptFilter},
		{"answer_filter", u.AnswerFilter},
	} {
		if a.value != "" {
			to = append(to, text(a.key, a.value))
		}
	}
	if u.Refusal {
		to = append(to, slog.Bool("refusal", true))
	}
	return to
}

// refused names the credential that the service refused.
func (s *Send) refused() string {
	switch {
	case s.Gateway.Refused:
		return "gateway"
	case s.Credential.Refused:
		return "credential"
	}
	return ""
}

// text returns an attribute of bounded length.
func text(key, value string) slog.Attr {
	if len(value) > maxLogValue {
		value = value[:maxLogValue]
	}
	return slog.String(key, value)
}
