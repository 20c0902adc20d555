package middleware

import (
	"log/slog"
	"time"
)

// maxLogValue bounds what a peer can put into one attribute, in bytes.
const maxLogValue = 512

// log writes the record, once.
func (s *send) log(now time.Time, err error) {
	if s.logged.Swap(true) {
		return
	}
	level := s.layer.level.Level()
	if err != nil || s.status >= 500 {
		level = s.layer.failureLevel()
	}
	h := s.layer.handler()
	if !h.Enabled(s.ctx, level) {
		return
	}
	var room [16]slog.Attr
	attrs := append(room[:0],
		s.text("method", s.method), s.text("host", s.host), s.text("path", s.path))
	if s.status != 0 {
		attrs = append(attrs, slog.Int("status", s.status))
	}
	attrs = append(attrs, slog.Int("attempt", s.number))
	for _, a := range [...]struct{ key, value string }{
		{"reason", s.reason},
		{"request_id", s.requestID},
		{"credential_source", s.source},
		{"credential_version", s.version},
		{"ratelimit_remaining_requests", s.requests},
		{"ratelimit_remaining_tokens", s.tokens},
	} {
		if a.value != "" {
			attrs = append(attrs, s.text(a.key, a.value))
		}
	}
	attrs = append(attrs, slog.Duration("duration", now.Sub(s.start)))
	if s.status != 0 {
		attrs = append(attrs, slog.Duration("ttfb", s.header))
	}
	if err != nil {
		attrs = append(attrs, s.text("error", err.Error()))
	}
	attrs = append(attrs, s.extra...)
	// Not Logger.LogAttrs: it looks up its caller, which is always this line.
	r := slog.NewRecord(now, level, "openai request", 0)
	r.AddAttrs(attrs...)
	_ = h.Handle(s.ctx, r) // as Logger does: there is nobody to tell
}

// text returns an attribute without the credential, and of bounded length. The
// length comes second: a cut could hide half of the credential from redact.
func (s *send) text(key, value string) slog.Attr {
	value = redact(value, s.secret, false)
	if len(value) > maxLogValue {
		value = value[:maxLogValue]
	}
	return slog.String(key, value)
}
