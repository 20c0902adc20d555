package telemetry

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"

	"github.com/latchkey-go/latchkey/middleware"
)

// facts are what a call or a send is told apart by.
type facts struct {
	operation, provider, request, response, address string
	port                                            int
}

// A callSetKey is a set of attributes of the conventions' metrics.
type callSetKey struct {
	facts
	failure string // error.type
	token   string // gen_ai.token.type
}

// end ends the call, once.
func (c *call) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	took := time.Since(c.started)
	last := c.last.Load()
	model := ""
	if c.span != nil {
		model, *c.attrs = c.parametersOf(*c.attrs)
	}
	f := c.facts(last, model)
	failure := errorType(c.status, err)
	if failure == "" && last != nil {
		failure = errorType(c.status, last.Err) // which a stream may have reported before its end
	}
	ctx := c.ctx.Context
	c.telemetry.measure(ctx, f, failure, took, c.chunks)
	if c.span != nil {
		c.finish(f, last, failure)
	}
	if c.chunks != nil {
		c.telemetry.pools.chunks.Put(c.chunks)
		c.chunks = nil
	}
}

// facts are those of the send that ended last, as far as there is one: it may have
// gone to another endpoint than the caller's request. model is the one that the
// body of the request names, if that is known.
func (c *call) facts(last *middleware.Send, model string) facts {
	t := c.telemetry
	at, r := c.server, c.route
	f := facts{operation: r.operation}
	if last != nil {
		if last.Host != "" {
			at = t.servers.get(last.Host, c.plain)
		}
		r.azure = routeOf(last.Path).azure
		if model == "" {
			model = t.names.models.model(last.Model)
		}
		f.response = t.names.models.model(last.Usage.Model)
	}
	if model == "" {
		model = t.names.models.model(r.model)
	}
	f.request, f.provider, f.address, f.port = model, t.providerAt(at, r), at.address, at.port
	return f
}

// measure records the metrics of a call.
func (t *Telemetry) measure(ctx context.Context, f facts, failure string, took time.Duration, stream *chunks) {
	t.duration.Record(ctx, took.Seconds(), t.callSet(callSetKey{facts: f, failure: failure})...)
	if stream == nil || stream.first == 0 {
		return
	}
	set := t.callSet(callSetKey{facts: f})
	t.firstChunk.Record(ctx, stream.first.Seconds(), set...)
	if t.nextChunk.Enabled(ctx) {
		for _, gap := range stream.gaps {
			t.nextChunk.Record(ctx, gap.Seconds(), set...)
		}
	}
}

// callSet returns the set of attributes, made once for each key.
func (t *Telemetry) callSet(k callSetKey) []metric.RecordOption {
	if known := t.calls.get(k); known != nil {
		return *known
	}
	attrs := make([]attribute.KeyValue, 0, 8)
	attrs = append(attrs, keyOperation.String(k.operation), keyProvider.String(k.provider))
	attrs = appendServer(attrs, k.address, k.port)
	for _, a := range [...]struct {
		key   attribute.Key
		value string
	}{{keyRequestModel, k.request}, {keyResponseModel, k.response}, {keyError, k.failure}, {keyTokenType, k.token}} {
		if a.value != "" {
			attrs = append(attrs, a.key.String(a.value))
		}
	}
	return *t.calls.put(k, []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attrs...))})
}

// finish ends the span. c.mu is held.
func (c *call) finish(f facts, last *middleware.Send, failure string) {
	t := c.telemetry
	attrs := *c.attrs
	// What the span has from its start is not set again.
	if f.provider != t.providerAt(c.server, c.route) {
		attrs = append(attrs, keyProvider.String(f.provider))
	}
	if f.address != c.server.address || f.port != c.server.port {
		attrs = appendServer(attrs, f.address, f.port)
	}
	if f.request != "" && f.request != t.names.models.model(c.route.model) {
		attrs = append(attrs, keyRequestModel.String(f.request))
		c.span.SetName(t.nameOf(f.operation, f.request))
	}
	if c.status != 0 {
		attrs = append(attrs, keyStatus.Int(c.status))
	}
	attrs = append(attrs, keySends.Int64(int64(c.sends.Load())))
	if c.chunks != nil && c.chunks.first > 0 {
		attrs = append(attrs, keyFirstChunk.Float64(c.chunks.first.Seconds()))
	}
	if last != nil {
		attrs = t.answer(attrs, f, last)
	}
	if failure != "" {
		attrs = append(attrs, keyError.String(failure))
		c.span.SetStatus(codes.Error, failure)
	}
	if c.kept != nil {
		attrs = append(attrs, t.content(c.kept.request, c.kept.answer)...)
		t.pools.putContent(c.kept)
		c.kept = nil
	}
	c.span.SetAttributes(attrs...)
	c.span.End()
	*c.attrs = attrs
	t.pools.putAttrs(c.attrs)
	c.attrs = nil
}

// nameOf is spanName, made once.
func (t *Telemetry) nameOf(operation, model string) string {
	k := startKey{operation: operation, model: model}
	s := t.starts.get(k)
	if s == nil {
		s = t.starts.put(k, start{name: spanName(operation, model)})
	}
	return s.name
}

// answer adds what the answer says of itself.
func (t *Telemetry) answer(attrs []attribute.KeyValue, f facts, s *middleware.Send) []attribute.KeyValue {
	u := &s.Usage
	for _, a := range [...]struct {
		key   attribute.Key
		value string
	}{
		{keyResponseModel, f.response}, {keyResponseID, u.ID}, {keyResponseTier, u.ServiceTier}, {keyFingerprint, u.Fingerprint},
		{keyPromptFilter, u.PromptFilter}, {keyAnswerFilter, u.AnswerFilter},
	} {
		if a.value != "" {
			attrs = append(attrs, a.key.String(a.value))
		}
	}
	if u.Finish != "" && u.Finish != "in_progress" && u.Finish != "queued" {
		finish := t.finishes.get(u.Finish)
		if finish == nil {
			finish = t.finishes.put(u.Finish, keyFinish.StringSlice(strings.Split(u.Finish, ", ")))
		}
		attrs = append(attrs, *finish)
	}
	if u.Refusal {
		attrs = append(attrs, keyRefusal.Bool(true))
	}
	if !u.Reported {
		return attrs
	}
	attrs = append(attrs, keyInputTokens.Int64(u.Input), keyOutputTokens.Int64(u.Output))
	if u.CachedInput > 0 {
		attrs = append(attrs, keyCacheRead.Int64(u.CachedInput))
	}
	if u.Reasoning > 0 {
		attrs = append(attrs, keyReasoning.Int64(u.Reasoning))
	}
	return attrs
}
