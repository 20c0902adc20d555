package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// An eventSetKey is a set of attributes of a counter of events.
type eventSetKey struct {
	name, event, what string
	nameKey, whatKey  attribute.Key // of name and what; that of event is keyEvent
}

func (t *Telemetry) eventSet(k eventSetKey) []metric.AddOption {
	if known := t.events.get(k); known != nil {
		return *known
	}
	var attrs []attribute.KeyValue
	for _, a := range [...]struct {
		key   attribute.Key
		value string
	}{{k.nameKey, k.name}, {keyEvent, k.event}, {k.whatKey, k.what}} {
		if a.value != "" {
			attrs = append(attrs, a.key.String(a.value))
		}
	}
	return *t.events.put(k, []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attrs...))})
}

// OnEvent is for credential.CacheOptions.OnEvent: it counts what happens
// to credentials, by source, and keeps what the gauges of their age and of the time
// to their expiry show. The gauges are of sources that are not tenants'.
func (t *Telemetry) OnEvent(e credential.Event) {
	source := t.names.sources.text(e.Source)
	if ctx := context.Background(); t.credentialEvents.Enabled(ctx) {
		k := eventSetKey{nameKey: keySource, name: source, event: t.names.reasons.text(string(e.Kind))}
		t.credentialEvents.Add(ctx, 1, t.eventSet(k)...)
	}
	if ctx := context.Background(); isRead(e.Kind) && t.read.Enabled(ctx) {
		t.read.Record(ctx, e.Took.Seconds(), metric.WithAttributes(keySource.String(source), keyEvent.String(t.names.reasons.text(string(e.Kind)))))
	}
	if e.Tenant != "" || e.Kind == credential.EventFailed || e.Kind == credential.EventSkipped {
		return
	}
	t.state.mu.Lock()
	defer t.state.mu.Unlock()
	if t.state.credentials == nil {
		t.state.credentials = map[string]credentialState{}
	}
	t.state.credentials[source] = credentialState{e.Time.Add(-e.Age), e.Expires}
}

// isRead reports whether an event of that kind tells of a read.
func isRead(k credential.EventKind) bool {
	switch k {
	case credential.EventLoaded, credential.EventRotated, credential.EventPromoted, credential.EventFailed:
		return true
	}
	return false
}

// OnRoute is for client.Config.OnRoute: it counts what happens to
// endpoints, and keeps whether each of them is healthy.
func (t *Telemetry) OnRoute(e middleware.RouteEvent) {
	endpoint := t.names.endpoints.text(e.Route)
	if ctx := context.Background(); t.routeEvents.Enabled(ctx) {
		k := eventSetKey{nameKey: keyEndpoint, name: endpoint, event: t.names.reasons.text(e.Kind), whatKey: keyEventReason, what: t.names.reasons.text(e.Reason)}
		t.routeEvents.Add(ctx, 1, t.eventSet(k)...)
	}
	healthy := e.Kind == "recovered"
	if !healthy && (e.Kind != "cooling" || e.Model != "") {
		return
	}
	t.state.mu.Lock()
	defer t.state.mu.Unlock()
	if t.state.endpoints == nil {
		t.state.endpoints = map[string]bool{}
	}
	t.state.endpoints[endpoint] = healthy
}

// OnLimit is for limit.Options.OnEvent: it counts the events of limits.
func (t *Telemetry) OnLimit(e limit.Event) {
	ctx := context.Background()
	if !t.limitEvents.Enabled(ctx) {
		return
	}
	k := eventSetKey{nameKey: keyLimit, name: t.names.limits.text(e.Limit), event: "refused", whatKey: keyLimitWhat, what: t.names.reasons.text(e.What)}
	switch {
	case e.What == "counter" && e.Err != nil:
		k.event = "failed"
	case e.What == "counter":
		k.event = "back"
	case e.Soft:
		k.event = "passed"
	}
	t.limitEvents.Add(ctx, 1, t.eventSet(k)...)
}

// state is what the gauges show.
type state struct {
	mu          sync.Mutex
	credentials map[string]credentialState // by source
	endpoints   map[string]bool            // whether it is healthy, by name

	registration metric.Registration
}

type credentialState struct{ loaded, expires time.Time }

// observe makes the gauges.
func (t *Telemetry) observe(m metric.Meter) error {
	age, err := m.Float64ObservableGauge(metricCredentialAge, metric.WithUnit("s"), metric.WithDescription("Time since the credential in use was read."))
	if err != nil {
		return err //nolint:wrapcheck // New says what it is
	}
	expiry, err := m.Float64ObservableGauge(metricExpiry, metric.WithUnit("s"), metric.WithDescription("Time until the credential in use expires; negative after that."))
	if err != nil {
		return err //nolint:wrapcheck // New says what it is
	}
	healthy, err := m.Int64ObservableGauge(metricHealthy, metric.WithUnit("1"), metric.WithDescription("0 while an endpoint is left alone, 1 when it is back."))
	if err != nil {
		return err //nolint:wrapcheck // New says what it is
	}
	t.state.registration, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		t.state.mu.Lock()
		defer t.state.mu.Unlock()
		now := time.Now()
		for source, c := range t.state.credentials {
			set := metric.WithAttributeSet(attribute.NewSet(keySource.String(source)))
			o.ObserveFloat64(age, now.Sub(c.loaded).Seconds(), set)
			if !c.expires.IsZero() {
				o.ObserveFloat64(expiry, c.expires.Sub(now).Seconds(), set)
			}
		}
		for endpoint, is := range t.state.endpoints {
			value := int64(0)
			if is {
				value = 1
			}
			o.ObserveInt64(healthy, value, metric.WithAttributeSet(attribute.NewSet(keyEndpoint.String(endpoint))))
		}
		return nil
	}, age, expiry, healthy)
	return err //nolint:wrapcheck // New says what it is
}

// Close ends the gauges. It is of use only where a Telemetry ends before its
// MeterProvider; all else works on. The error is that of the MeterProvider.
func (t *Telemetry) Close() error {
	if t.state.registration == nil {
		return nil
	}
	return t.state.registration.Unregister() //nolint:wrapcheck // as the provider says it
}
