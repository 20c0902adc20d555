package limit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

func TestASendAsksTheCounterOnce(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	l := newLimiter(t, with(func(o *limit.Options) {
		o.Now, o.Counter = c.Now, f
		o.Prices = map[string]limit.Price{"*": {Input: 1, Output: 2}}
	}),
		limit.Limit{Name: "a", Requests: 10, Tokens: 1000, Per: limit.Minute, By: limit.ByTenant, InFlight: 3},
		limit.Limit{Name: "b", Cost: 1, Per: limit.Day},
		limit.Limit{Name: "c", InFlight: 3},
		limit.Limit{Name: "d", Tokens: 5, Per: limit.Month, Soft: true},
	)
	var got []limit.Charge
	spy := &spyCounter{fakeCounter: f, seen: &got}
	l2 := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Counter = c.Now, spy }), limit.Limit{Tokens: 10, Per: limit.Month, Soft: true})
	r := try(t, l, limit.Send{Tenant: "t", Input: 10, Output: 10})
	if r == nil || f.reserves != 1 {
		t.Fatalf("reservation %v, %d calls of Reserve, want 1", r, f.reserves)
	}
	// One request, 20 tokens, 30,000 billionths, and 20 tokens again.
	if got := f.total(); got != 1+20+30_000+20 {
		t.Errorf("the counter has %d", got)
	}
	r.Settle(limit.Tokens{Input: 10, Output: 5})
	if got := f.total(); got != 1+15+20_000+15 {
		t.Errorf("the counter has %d after Settle", got)
	}
	if r = try(t, l2, limit.Send{Input: 10, Output: 10}); r == nil || got[0].Max != 1<<63-1 {
		t.Errorf("a soft limit's charge is %+v, want no Max", got)
	}
}

type spyCounter struct {
	*fakeCounter
	seen *[]limit.Charge
}

func (s *spyCounter) Reserve(ctx context.Context, c []limit.Charge) (int, time.Time, error) {
	*s.seen = append(*s.seen, c...)
	return s.fakeCounter.Reserve(ctx, c)
}

func TestWhatIsInFlightNeedsNoCounter(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	f.down(false)
	l := newLimiter(t, &limit.Options{Now: c.Now, Counter: f}, limit.Limit{InFlight: 2})
	for range 2 {
		if try(t, l, limit.Send{}) == nil {
			t.Error("refused")
		}
	}
	refused(t, l, limit.Send{})
	if f.reserves != 0 {
		t.Errorf("the counter was asked %d times", f.reserves)
	}
}

func TestAFullCounterRefuses(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	o := &limit.Options{Now: c.Now, Counter: f}
	day := limit.Limit{Name: "day", Requests: 5, Per: limit.Day, By: limit.ByTenant}
	flight := limit.Limit{Name: "flight", InFlight: 100}
	one, two := newLimiter(t, o, flight, day), newLimiter(t, o, flight, day)
	s := limit.Send{Tenant: "t"}
	if n := fill(t, one, s, 3); n != 3 {
		t.Fatalf("%d admitted, want 3", n)
	}
	if n := fill(t, two, s, 10); n != 2 {
		t.Errorf("%d admitted by the second process, want 2", n)
	}
	e := refused(t, two, s)
	if e.Limit != "day" || e.Tenant != "t" || e.What != "requests" || !e.Reset.Equal(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("refused by %+v", e)
	}
	if got := used(t, two, "flight"); got != 0 {
		t.Errorf("%d in flight, want 0", got)
	}
	if e2 := refused(t, two, s); e2 != e {
		t.Error("the same refusal is another error")
	}
}

func TestACounterThatFailsRefuses(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	var events []limit.Event
	l := newLimiter(t, &limit.Options{Now: c.Now, Counter: f, OnEvent: func(e limit.Event) { events = append(events, e) }},
		limit.Limit{Name: "day", Requests: 5, Per: limit.Day}, limit.Limit{Name: "flight", InFlight: 3})
	f.down(false)
	for range 10 {
		if _, err := reserve(l, limit.Send{}); !errors.Is(err, limit.ErrCounter) || !errors.Is(err, errDown) {
			t.Fatalf("Reserve: %v, want ErrCounter and its cause", err)
		}
	}
	f.up()
	if n := fill(t, l, limit.Send{}, 2); n != 2 {
		t.Fatalf("%d admitted when the counter is back, want 2", n)
	}
	if len(events) != 2 || events[0].What != "counter" || !errors.Is(events[0].Err, errDown) || events[1].What != "counter" || events[1].Err != nil {
		t.Errorf("events are %+v, want that the counter fails and that it is back", events)
	}
}

func TestASoftLimitRefusesNothingWhenTheCounterFails(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	f.down(false)
	passed := 0
	l := newLimiter(t, &limit.Options{Now: c.Now, Counter: f, OnEvent: func(e limit.Event) {
		if e.Soft {
			passed++
		}
	}}, limit.Limit{Requests: 2, Per: limit.Day, Soft: true})
	if n := fill(t, l, limit.Send{}, 10); n != 10 || passed != 1 {
		t.Errorf("%d admitted and %d events, want 10 and 1", n, passed)
	}
}

func TestAnEndedContextIsNoFailureOfTheCounter(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	l := newLimiter(t, &limit.Options{Now: c.Now, Counter: f, Processes: 1, Fallback: 0.5,
		OnEvent: func(e limit.Event) { t.Errorf("event %+v", e) }},
		limit.Limit{Requests: 10, Per: limit.Day, InFlight: 3})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var r limit.Reservation
	err := l.Reserve(ctx, limit.Send{}, &r)
	if !errors.Is(err, context.Canceled) || errors.Is(err, limit.ErrCounter) {
		t.Errorf("Reserve: %v, want context.Canceled alone", err)
	}
	if got := l.State(); len(got) != 0 {
		t.Errorf("counted: %+v", got)
	}
}

func TestACounterThatAnswersNonsenseHasFailed(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	for _, full := range []int{-2, 1, 100} {
		l := newLimiter(t, &limit.Options{Now: c.Now, Counter: oddCounter(full)}, limit.Limit{Requests: 10, Per: limit.Day})
		if _, err := reserve(l, limit.Send{}); !errors.Is(err, limit.ErrCounter) {
			t.Errorf("index %d: %v, want ErrCounter", full, err)
		}
	}
	l := newLimiter(t, &limit.Options{Now: c.Now, Counter: oddCounter(0)}, limit.Limit{Requests: 10, Per: limit.Minute})
	if e := refused(t, l, limit.Send{}); e.Reset.IsZero() {
		t.Error("a counter without a time of reset: the error says that the request never fits")
	}
}

type oddCounter int

func (n oddCounter) Reserve(context.Context, []limit.Charge) (int, time.Time, error) {
	return int(n), time.Time{}, nil
}
func (oddCounter) Settle([]limit.Charge) {}
