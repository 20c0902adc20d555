package anomaly

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// Times within the package are in milliseconds since 1970, as int64: they reach to
// any year that a line can name.
const (
	minute = int64(time.Minute / time.Millisecond)
	hour   = 60 * minute
	day    = 24 * hour
)

const (
	mostNames   = 1000 // models, endpoints, tenants, each
	mostSources = 1000
	mostOpen    = 100 // alerts of a rule that are open
)

// A Watch applies the rules. It is safe for concurrent use, and holds
// at most some 25 MB, whatever names it is given: beyond 1,000 tenants, sources,
// models or endpoints, further ones are watched as if they were one.
type Watch struct {
	opts   Options
	prices *prices

	seed      maphash.Seed
	mu        sync.Mutex
	began     int64 // when the first record was; 0 before
	now       int64
	sources   *table[identity, source]
	tenants   *table[string, tenant]
	models    *table[string, struct{}]
	endpoints *table[string, struct{}]
	open      map[cause]int64 // when the cause was last there
	perRule   map[Rule]int
	closed    int64 // when open was last looked through
}

// An identity is what a source is known by.
type identity struct{ tenant, source string }

// A cause is what an alert is told for once.
type cause struct {
	rule                  Rule
	tenant, source, which string
	more                  bool // stands for those that there is no room for
}

// New returns a Watch that has learned nothing yet. It fails if nobody would be told
// of alerts, or an option makes no sense.
func New(opts *Options) (*Watch, error) {
	if opts == nil {
		opts = &Options{}
	}
	o, err := opts.ready()
	if err != nil {
		return nil, err
	}
	p, err := newPrices(o.Prices)
	if err != nil {
		return nil, err
	}
	o.Prices = nil
	return &Watch{
		opts: o, prices: p, seed: maphash.MakeSeed(), open: map[cause]int64{}, perRule: map[Rule]int{},
		sources: newTable[identity, source](mostSources, func(k identity) identity { return identity{clone(k.tenant), clone(k.source)} }),
		tenants: newTable[string, tenant](mostNames, clone),
		models:  newTable[string, struct{}](mostNames, clone), endpoints: newTable[string, struct{}](mostNames, clone),
	}, nil
}

// An event is a credential event of this process or of a line.
type event struct {
	at                               int64
	kind                             credential.EventKind
	tenant, source, version, process string
	expires                          int64 // 0 is never
}

// A send is a send of this process or of a line.
type send struct {
	at, started              int64
	process, model, endpoint string
	credential, gateway      middleware.Identity
	status                   int
	amount                   float64 // tokens or spend
}

// OnEvent takes an event of a Cache; it is a [credential.CacheOptions.OnEvent]. An
// event without a time is not looked at.
func (w *Watch) OnEvent(e credential.Event) {
	ev := event{at: e.Time.UnixMilli(), kind: e.Kind, tenant: cut(e.Tenant), source: cut(e.Source), version: cut(e.Version), process: w.opts.Process}
	if !e.Expires.IsZero() {
		ev.expires = e.Expires.UnixMilli()
	}
	w.tell(w.takeEvent(&ev))
}

// Observe takes a send; it is a [middleware.Observe] function, and
// client.Config.Observe. It is looked at when it has ended; one without a time is not.
// A send that ends while another one is taken waits for a
// moment; nothing else makes it wait but OnAlert and Logger.
func (w *Watch) Observe(_ context.Context, s *middleware.Send) {
	at := s.Ended
	if at.IsZero() {
		at = s.Started
	}
	endpoint := s.Endpoint
	if endpoint == "" {
		endpoint = s.Host
	}
	w.tell(w.takeSend(&send{
		at: at.UnixMilli(), started: s.Started.UnixMilli(), process: w.opts.Process, model: cut(s.Model), endpoint: cut(endpoint), status: s.Status,
		credential: cutIdentity(s.Credential), gateway: cutIdentity(s.Gateway), amount: w.prices.amount(s.Model, &s.Usage),
	}))
}

func cutIdentity(i middleware.Identity) middleware.Identity {
	i.Tenant, i.Source, i.Version = cut(i.Tenant), cut(i.Source), cut(i.Version)
	return i
}

// tell calls those who want to know. No lock is held.
func (w *Watch) tell(alerts []Alert) {
	for i := range alerts {
		if alerts[i].Time.Before(w.opts.Since) {
			continue
		}
		if w.opts.Logger != nil {
			alerts[i].log(w.opts.Logger)
		}
		if w.opts.OnAlert != nil {
			w.opts.OnAlert(alerts[i])
		}
	}
}

// A finding collects the alerts of one record.
type finding struct {
	*Watch
	at     int64
	alerts []Alert
}

// begin starts a finding at a time; false if the record has none. The clock of the
// Watch never goes back: records of several goroutines come a little out of order.
func (f *finding) begin(at int64) bool {
	if at <= 0 {
		return false
	}
	f.at, f.now = at, max(f.now, at)
	if f.began == 0 {
		f.began = f.now
	}
	if f.now-f.closed > hour {
		f.closed = f.now
		for c, last := range f.open {
			if f.now-last > day {
				delete(f.open, c)
				f.perRule[c.rule]--
			}
		}
	}
	return true
}

// opens notes that the cause is there, and reports whether it is a new one.
func (f *finding) opens(c cause) bool {
	if _, known := f.open[c]; known {
		f.open[c] = f.now
		return false
	}
	if f.perRule[c.rule] >= mostOpen {
		f.overflow(c.rule)
		return false
	}
	c.tenant, c.source, c.which = clone(c.tenant), clone(c.source), clone(c.which)
	f.open[c] = f.now
	f.perRule[c.rule]++
	return true
}

// overflow says once that a rule finds more than is told.
func (f *finding) overflow(r Rule) {
	c := cause{rule: r, more: true}
	if _, known := f.open[c]; !known {
		f.perRule[r]++
		f.add(Alert{Rule: r, Text: fmt.Sprintf("%d alerts of this rule are open: further ones are not told until some are closed", mostOpen)})
	}
	f.open[c] = f.now
}

func (f *finding) add(a Alert) {
	a.Time = time.UnixMilli(f.at).UTC()
	f.alerts = append(f.alerts, a)
}

func (w *Watch) takeEvent(e *event) []Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := finding{Watch: w}
	if !f.begin(e.at) {
		return nil
	}
	s, ours := w.sources.get(identity{e.tenant, e.source}, w.now)
	if !ours {
		s = nil
	}
	switch e.kind {
	case credential.EventLoaded:
		f.seen(s, e.version)
	case credential.EventRotated, credential.EventPromoted:
		f.current(s, e.version)
	case credential.EventRejected:
		f.refusedIn(s, e.tenant, e.source, e.version, e.process)
	case credential.EventExpiring:
		f.expiring(e)
	default:
	}
	f.late(s, e.tenant, e.source, e.process)
	return f.alerts
}

func (f *finding) expiring(e *event) {
	if !f.opens(cause{rule: Expiring, tenant: e.tenant, source: e.source, which: e.version}) {
		return
	}
	text := fmt.Sprintf("version %q of %q will soon expire, and its source has no other one", e.version, e.source)
	var left float64
	if e.expires > 0 {
		left = float64(e.expires-e.at) / float64(hour)
		text = fmt.Sprintf("version %q of %q expires at %s, and its source has no other one", e.version, e.source, time.UnixMilli(e.expires).UTC().Format(time.RFC3339))
	}
	f.add(Alert{Rule: Expiring, Tenant: e.tenant, Source: e.source, Version: e.version, Process: e.process, Text: text, Value: left})
}

func (w *Watch) takeSend(s *send) []Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := finding{Watch: w}
	if !f.begin(s.at) {
		return nil
	}
	if s.credential.Source != "" {
		f.used(s, &s.credential, s.credential.Refused || s.status == 401 && !s.gateway.Refused)
	}
	if s.gateway.Source != "" {
		f.used(s, &s.gateway, s.gateway.Refused)
	}
	f.names(s)
	f.hours(s)
	return f.alerts
}

// names looks for what was never seen, in sends that succeeded.
func (f *finding) names(s *send) {
	if s.status < 200 || s.status > 299 {
		return
	}
	f.name("model", s.model, f.models, s)
	f.name("endpoint", s.endpoint, f.endpoints, s)
}

func (f *finding) name(what, name string, known *table[string, struct{}], s *send) {
	if name == "" || known.has(name, f.now) {
		return
	}
	_, ours := known.get(name, f.now)
	f.isNew(what, name, ours, s)
}

// isNew alerts if the Watch has learned. ours is whether there was room for the name.
func (f *finding) isNew(what, name string, ours bool, s *send) {
	if f.now-f.began < f.opts.Learn.Milliseconds() {
		return
	}
	c := cause{rule: NewName, source: what, which: name}
	text := fmt.Sprintf("%s %q was never used before", what, name)
	if !ours {
		c.which, c.more = "", true
		text = fmt.Sprintf("there are more than %d names of a %s: further ones are not told", mostNames, what)
	}
	if f.opens(c) {
		f.add(Alert{
			Rule: NewName, Tenant: s.credential.Tenant, Source: s.credential.Source, Version: s.credential.Version, Model: s.model, Endpoint: s.endpoint,
			Process: s.process, Text: text,
		})
	}
}
