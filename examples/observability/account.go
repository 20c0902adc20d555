package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/audit/anomaly"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

const (
	keptSeconds   = 90
	keptEvents    = 40
	keptDurations = 1000
)

// An account is what the program knows of itself. Its methods are what
// client.Config and credential.CacheOptions take.
type account struct {
	mu        sync.Mutex
	begin     time.Time
	view      view
	tenants   map[string]*tenantRow
	endpoints map[string]*endpointRow
	versions  map[string]*versionRow
	durations []time.Duration // of the last sends, the oldest at next
	next      int
	metrics   *pipeline
	changed   chan struct{} // closed, and made anew, once a second
}

// A view is what the page shows.
type view struct {
	Seconds   float64
	Calls     int64 // that were answered with success
	Failed    int64
	Over      int64 // refused by a limit
	Sends     int64
	Resent    int64 // sends that were not the first of their call
	Input     int64 // tokens
	Output    int64
	Cost      float64
	P50       float64 // milliseconds of a send
	P99       float64
	Rotations int64
	Refused   int64 // sends whose key was refused
	Load      []second
	Tenants   []tenantRow
	Endpoints []endpointRow
	Versions  []versionRow
	Events    []event // the newest first
	Alerts    []event
	Metrics   []metricRow // of OpenTelemetry
}

// A second is the calls of one.
type second struct{ Calls, Failed, Over int64 }

type tenantRow struct {
	Name   string
	Sends  int64
	Tokens int64
	Cost   float64
}

type endpointRow struct {
	Name   string
	Sends  int64
	Failed int64
	State  string
}

type versionRow struct {
	Version string
	Sends   int64
	Refused int64
	InUse   bool
}

type event struct {
	Seconds    float64
	Kind, Text string
}

func newAccount() *account {
	return &account{
		begin: time.Now(), tenants: map[string]*tenantRow{}, endpoints: map[string]*endpointRow{}, versions: map[string]*versionRow{},
		metrics: newPipeline(), changed: make(chan struct{}), view: view{Load: []second{{}}},
	}
}

// calls is a layer around all others: it sees each call once.
func (a *account) calls(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		a.mu.Lock()
		defer a.mu.Unlock()
		now := &a.view.Load[len(a.view.Load)-1]
		switch {
		case overLimit(err):
			a.view.Over++
			now.Over++
		case err == nil && resp.StatusCode < 400:
			a.view.Calls++
			now.Calls++
		default:
			a.view.Failed++
			now.Failed++
		}
		return resp, err
	})
}

// overLimit reports whether a limit refused the call or the send.
func overLimit(err error) bool {
	refused := (*limit.Error)(nil)
	return errors.As(err, &refused)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// sent is told of each send: client.Config.Observe.
func (a *account) sent(ctx context.Context, s *middleware.Send) {
	if overLimit(s.Err) {
		return // nothing was sent
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	v := &a.view
	v.Sends++
	if s.Number > 1 {
		v.Resent++
	}
	cost := (float64(s.Usage.Input)*prices.Input + float64(s.Usage.Output)*prices.Output) / 1e6
	v.Input, v.Output, v.Cost = v.Input+s.Usage.Input, v.Output+s.Usage.Output, v.Cost+cost
	if len(a.durations) < keptDurations {
		a.durations = append(a.durations, s.Ended.Sub(s.Started))
	} else {
		a.durations[a.next] = s.Ended.Sub(s.Started)
		a.next = (a.next + 1) % keptDurations
	}
	t := row(a.tenants, credential.TenantFrom(ctx))
	t.Sends, t.Tokens, t.Cost = t.Sends+1, t.Tokens+s.Usage.Input+s.Usage.Output, t.Cost+cost
	e := row(a.endpoints, cmp.Or(s.Endpoint, "without fail-over"))
	e.Sends++
	if s.Err != nil || s.Status >= 400 {
		e.Failed++
	}
	version := row(a.versions, s.Credential.Version)
	version.Sends++
	if s.Credential.Refused {
		version.Refused++
		v.Refused++
	}
}

func row[T any](rows map[string]*T, name string) *T {
	if rows[name] == nil {
		rows[name] = new(T)
	}
	return rows[name]
}

// credential is told what happens to the key: credential.CacheOptions.OnEvent.
func (a *account) credential(e credential.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch e.Kind {
	case credential.EventLoaded, credential.EventRotated, credential.EventPromoted:
		for _, other := range a.versions {
			other.InUse = false
		}
		row(a.versions, e.Version).InUse = true
		if e.Kind != credential.EventLoaded {
			a.view.Rotations++
		}
	case credential.EventFailed, credential.EventStaleServed, credential.EventExpiring:
		a.alert(string(e.Kind), e.Source+" "+e.Version)
	case credential.EventRejected, credential.EventSkipped:
	}
	a.note("key", fmt.Sprintf("%s %s", e.Kind, e.Version))
}

// routed is told of the health of the endpoints: client.Config.OnRoute.
func (a *account) routed(e middleware.RouteEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	row(a.endpoints, e.Route).State = e.Kind
	text := e.Route + " " + e.Kind
	if e.Reason != "" {
		text += ", " + e.Reason
	}
	if e.Kind == "cooling" {
		a.alert("endpoint", text)
	}
	a.note("endpoint", text)
}

// odd is told what is not as usual: anomaly.Options.OnAlert.
func (a *account) odd(alert anomaly.Alert) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alert(string(alert.Rule), alert.Text)
}

// limited is told when a ceiling is met: limit.Options.OnEvent.
func (a *account) limited(e limit.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alert("limit", strings.TrimSpace(e.Limit+" "+e.Tenant)+": no more "+e.What)
}

// say notes what the script does.
func (a *account) say(kind, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.note(kind, text)
}

// note adds an event. a.mu is held.
func (a *account) note(kind, text string) {
	a.view.Events = kept(a.view.Events, event{time.Since(a.begin).Seconds(), kind, text})
}

func (a *account) alert(kind, text string) {
	a.view.Alerts = kept(a.view.Alerts, event{time.Since(a.begin).Seconds(), kind, text})
}

// kept puts e before the others and drops the oldest.
func kept(events []event, e event) []event {
	events = slices.Insert(events, 0, e)
	return events[:min(len(events), keptEvents)]
}

// watch begins the next second of the load, and shows the last one.
func (a *account) watch(ctx context.Context, second time.Duration) {
	tick := time.NewTicker(second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.turn()
		case <-ctx.Done():
			a.turn()
			return
		}
	}
}

func (a *account) turn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.view.Load = append(a.view.Load, second{})
	if n := len(a.view.Load) - keptSeconds; n > 0 {
		a.view.Load = slices.Delete(a.view.Load, 0, n)
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// now returns what is to be shown, and a channel that is closed when there is
// something new.
func (a *account) now() (view, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.view
	v.Seconds = time.Since(a.begin).Seconds()
	v.Load, v.Events, v.Alerts = slices.Clone(v.Load), slices.Clone(v.Events), slices.Clone(v.Alerts)
	for name, r := range a.tenants {
		r.Name = name
		v.Tenants = append(v.Tenants, *r)
	}
	for name, r := range a.endpoints {
		r.Name = name
		v.Endpoints = append(v.Endpoints, *r)
	}
	for name, r := range a.versions {
		r.Version = name
		v.Versions = append(v.Versions, *r)
	}
	slices.SortFunc(v.Tenants, func(x, y tenantRow) int { return strings.Compare(x.Name, y.Name) })
	slices.SortFunc(v.Endpoints, func(x, y endpointRow) int { return strings.Compare(x.Name, y.Name) })
	slices.SortFunc(v.Versions, func(x, y versionRow) int {
		return len(y.Version)*1000 - len(x.Version)*1000 + strings.Compare(y.Version, x.Version)
	})
	v.Metrics = a.metrics.rows()
	times := slices.Clone(a.durations)
	slices.Sort(times)
	if n := len(times); n > 0 {
		v.P50, v.P99 = milliseconds(times[n/2]), milliseconds(times[n*99/100])
	}
	return v, a.changed
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
