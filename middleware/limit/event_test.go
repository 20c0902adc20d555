package limit_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

func TestSoftLimitsReportOnceAWindow(t *testing.T) {
	for _, per := range []limit.Window{limit.Minute, limit.Day, limit.Month} {
		for _, soft := range []bool{true, false} {
			c := at(t, "2026-03-31 12:00:00", time.UTC)
			var events []limit.Event
			l := newLimiter(t, with(func(o *limit.Options) {
				o.Now, o.OnEvent = c.Now, func(e limit.Event) { events = append(events, e) }
			}), limit.Limit{Name: "x", Tokens: 10, Requests: 1000, Per: per, By: limit.ByTenant, Soft: soft})
			for window := range 3 {
				for i := range 30 {
					r := try(t, l, limit.Send{Tenant: []string{"a", "b"}[i%2], Input: 1})
					if (r == nil) != (!soft && i >= 20) {
						t.Fatalf("send %d of window %d: refused is %v", i, per, r == nil)
					}
				}
				if len(events) != 2*(window+1) {
					t.Fatalf("window %d, soft %v: %d events, want 2 in each of %d windows: %+v", per, soft, len(events), window+1, events)
				}
				e := events[len(events)-1]
				if e.Limit != "x" || e.Tenant != "b" || e.What != "tokens" || e.Soft != soft || e.Reset.IsZero() || (e.Err == nil) != soft {
					t.Errorf("event %+v", e)
				}
				c.mu.Lock()
				c.now = e.Reset
				c.mu.Unlock()
			}
		}
	}
}

func TestASettlementCanPassASoftLimit(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	n := 0
	l := newLimiter(t, with(func(o *limit.Options) { o.Now, o.OnEvent = c.Now, func(limit.Event) { n++ } }),
		limit.Limit{Tokens: 10, Per: limit.Day, Soft: true})
	try(t, l, limit.Send{Input: 5}).Settle(limit.Tokens{Input: 50})
	if n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestARefusedSendPassesNoSoftLimit(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	l := newLimiter(t, with(func(o *limit.Options) {
		o.Now = c.Now
		o.OnEvent = func(e limit.Event) {
			if e.Limit == "soft" {
				t.Errorf("event %+v", e)
			}
		}
	}), limit.Limit{Name: "soft", Tokens: 10, Per: limit.Day, Soft: true}, limit.Limit{Name: "hard", Tokens: 10, Per: limit.Day})
	refused(t, l, limit.Send{Input: 11})
}

func TestOnEventMayUseTheLimiter(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	var l *limit.Limiter
	var n atomic.Int64
	l = newLimiter(t, with(func(o *limit.Options) {
		o.Now, o.MaxKeys = c.Now, 1
		o.OnEvent = func(limit.Event) {
			n.Add(1)
			l.State()
			if r, err := reserve(l, limit.Send{Tenant: "event"}); err == nil {
				r.Cancel()
			}
			if err := l.Set([]limit.Limit{{InFlight: 1, By: limit.ByTenant}}); err != nil {
				t.Error(err)
			}
		}
	}), limit.Limit{InFlight: 1, By: limit.ByTenant})
	for _, s := range []limit.Send{{Tenant: "own"}, {Tenant: "shared"}} {
		try(t, l, s)
		refused(t, l, s)
	}
	if n.Load() == 0 {
		t.Error("no event")
	}
}

func TestADayReportsOnce(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	n := 0
	l := newLimiter(t, &limit.Options{Now: c.Now, OnEvent: func(limit.Event) { n++ }}, limit.Limit{Requests: 1, Per: limit.Day, Soft: true})
	for range 10 {
		try(t, l, limit.Send{})
		c.add(5 * time.Minute)
	}
	if n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestASoftLimitOfWhatIsInFlightReports(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	var events []limit.Event
	l := newLimiter(t, &limit.Options{Now: c.Now, OnEvent: func(e limit.Event) { events = append(events, e) }}, limit.Limit{Name: "x", InFlight: 2, Soft: true})
	for range 5 {
		if try(t, l, limit.Send{}) == nil {
			t.Fatal("a soft limit has refused")
		}
	}
	if len(events) != 1 || events[0] != (limit.Event{Limit: "x", What: "in flight", Soft: true}) {
		t.Errorf("events %+v, want one", events)
	}
}
