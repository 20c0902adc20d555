package telemetry

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// Observe is for client.Config.Observe, or middleware.Observe: it
// records a send that has ended, and adds it to the span of its call.
func (t *Telemetry) Observe(ctx context.Context, s *middleware.Send) {
	if s == nil {
		return
	}
	failure := ""
	c, _ := ctx.Value(callKey{t}).(*call)
	if c != nil {
		c.sends.Add(1)
		c.last.Store(s)
		if c.span != nil {
			failure = errorType(s.Status, s.Err)
			t.addEvent(c.span, s, failure)
		}
	}
	if !t.ofSends(ctx) {
		return
	}
	if failure == "" {
		failure = errorType(s.Status, s.Err)
	}
	if failure == "limit" {
		t.refused(ctx, s.Err)
		return
	}
	r := routeOf(s.Path)
	set := t.sendSet(s, r.operation, failure)
	t.sendDuration.Record(ctx, s.Ended.Sub(s.Started).Seconds(), set...)
	if s.Waited > 0 {
		t.sendWait.Record(ctx, s.Waited.Seconds(), set...)
	}
	if s.Usage.Reported && t.tokens.Enabled(ctx) {
		t.countTokens(ctx, s, r, c != nil && c.plain)
	}
}

// Enabled is for client.Config.ObserveIf: it reports whether anything would
// be recorded of a send with this context. With it a call costs next to nothing while
// nothing is recorded; without it every answer is read for what it used.
func (t *Telemetry) Enabled(ctx context.Context) bool {
	if c, _ := ctx.Value(callKey{t}).(*call); c != nil {
		return true
	}
	return t.ofSends(ctx)
}

// An eventRoom holds the attributes of one event, and the option for each number of
// them: AddEvent copies what an option holds, and an option costs an allocation.
type eventRoom struct {
	attrs   [14]attribute.KeyValue
	options [15][1]trace.EventOption
}

func (p *pools) getEvent() *eventRoom {
	if r, ok := p.events.Get().(*eventRoom); ok {
		return r
	}
	r := &eventRoom{}
	for n := range r.options {
		r.options[n][0] = trace.WithAttributes(r.attrs[:n]...)
	}
	return r
}

func (t *Telemetry) addEvent(span trace.Span, s *middleware.Send, failure string) {
	r := t.pools.getEvent()
	n := len(t.sendAttrs(r.attrs[:0], s, failure))
	span.AddEvent(eventSend, r.options[n][:]...)
	clear(r.attrs[:])
	t.pools.events.Put(r)
}

// sendAttrs appends the attributes of the event of a send: 14 at the most.
func (t *Telemetry) sendAttrs(attrs []attribute.KeyValue, s *middleware.Send, failure string) []attribute.KeyValue {
	attrs = append(attrs, keySendNumber.Int(s.Number), keySendDuration.Float64(s.Ended.Sub(s.Started).Seconds()))
	if s.Waited > 0 {
		attrs = append(attrs, keySendWait.Float64(s.Waited.Seconds()))
	}
	if s.Status != 0 {
		attrs = append(attrs, keyStatus.Int(s.Status))
	}
	for _, a := range [...]struct {
		key   attribute.Key
		value string
	}{
		{keySendReason, string(s.Reason)}, {keyError, failure}, {keyEndpoint, t.names.endpoints.text(s.Endpoint)},
		{keySource, t.names.sources.text(s.Credential.Source)}, {keyVersion, short(s.Credential.Version)}, {keyRequestID, short(s.RequestID)},
		{keyDeployment, t.names.deployments.model(s.Deployment)}, {keySpilledFrom, t.names.deployments.model(s.SpilledFrom)},
	} {
		if a.value != "" {
			attrs = append(attrs, a.key.String(a.value))
		}
	}
	if s.Credential.Refused {
		attrs = append(attrs, keyRefused.Bool(true))
	}
	if s.Gateway.Refused {
		attrs = append(attrs, keyGateway.Bool(true))
	}
	return attrs
}

// short passes over what is too long to be an identifier, or is none.
func short(id string) string {
	if !printable(id) {
		return ""
	}
	return id
}

// A sendSetKey is a set of attributes of latchkey.send.duration.
type sendSetKey struct {
	operation, endpoint, reason, failure string
	status                               int
}

func (t *Telemetry) sendSet(s *middleware.Send, operation, failure string) []metric.RecordOption {
	k := sendSetKey{operation: operation, endpoint: t.names.endpoints.text(s.Endpoint), reason: "first", failure: failure, status: s.Status}
	if s.Reason != "" {
		k.reason, _, _ = strings.Cut(string(s.Reason), " ")
	}
	if k.status < 100 || k.status > 599 {
		k.status = 0
	}
	if known := t.sends.get(k); known != nil {
		return *known
	}
	attrs := []attribute.KeyValue{keyOperation.String(k.operation), keySendReason.String(k.reason)}
	if k.endpoint != "" {
		attrs = append(attrs, keyEndpoint.String(k.endpoint))
	}
	if k.failure != "" {
		attrs = append(attrs, keyError.String(k.failure))
	}
	if k.status != 0 {
		attrs = append(attrs, keyStatus.Int(k.status))
	}
	return *t.sends.put(k, []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attrs...))})
}

// countTokens records what a send has used. That is done for each send, and not for
// each call: each is billed.
func (t *Telemetry) countTokens(ctx context.Context, s *middleware.Send, r route, plain bool) {
	at := t.servers.get(s.Host, plain)
	f := facts{
		operation: r.operation, provider: t.providerAt(at, r), request: t.names.models.model(s.Model),
		response: t.names.models.model(s.Usage.Model), address: at.address, port: at.port,
	}
	t.tokens.Record(ctx, s.Usage.Input, t.callSet(callSetKey{facts: f, token: tokenInput})...)
	if r.operation != operationEmbeddings || s.Usage.Output > 0 {
		t.tokens.Record(ctx, s.Usage.Output, t.callSet(callSetKey{facts: f, token: tokenOutput})...)
	}
}

// refused counts a send that a limit did not let through.
func (t *Telemetry) refused(ctx context.Context, err error) {
	k := eventSetKey{nameKey: keyLimit, whatKey: keyLimitWhat, what: "price"}
	var refusal *limit.Error
	switch {
	case errors.As(err, &refusal):
		k.name, k.what = t.names.limits.text(refusal.Limit), t.names.reasons.text(refusal.What)
	case errors.Is(err, limit.ErrCounter):
		k.what = "counter"
	}
	t.refusals.Add(ctx, 1, t.eventSet(k)...)
}
