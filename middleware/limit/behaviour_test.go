package limit_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

func TestNewSaysWhatIsWrong(t *testing.T) {
	ok := limit.Limit{Name: "x", Requests: 1, Per: limit.Day}
	c := newCounter(at(t, "2026-03-01 12:00:00", time.UTC))
	for _, tt := range []struct {
		limits []limit.Limit
		opts   limit.Options
		want   string
	}{
		{[]limit.Limit{{Requests: 1, Per: limit.Day}, ok}, worst, "limit 1 of 2 has no Name"},
		{[]limit.Limit{ok, ok}, worst, `"x"`},
		{[]limit.Limit{{Name: "x"}}, worst, "no ceiling"},
		{[]limit.Limit{{Name: "x", Requests: -1, Per: limit.Day}}, worst, `limit "x": a ceiling must not be negative`},
		{[]limit.Limit{{Name: "x", Cost: math.NaN(), Per: limit.Day}}, worst, "cannot be counted"},
		{[]limit.Limit{{Name: "x", Cost: math.Inf(1), Per: limit.Day}}, worst, "cannot be counted"},
		{[]limit.Limit{{Name: "x", Cost: 1e10, Per: limit.Day}}, worst, "cannot be counted"},
		{[]limit.Limit{{Name: "x", Cost: 1e-10, Per: limit.Day}}, worst, "cannot be counted"},
		{[]limit.Limit{{Name: "x", Requests: 1}}, worst, "set Per"},
		{[]limit.Limit{{Name: "x", Requests: 1, Per: 9}}, worst, "Per is 9"},
		{[]limit.Limit{{Name: "x", InFlight: 1, Per: limit.Day}}, worst, "leave Per out"},
		{[]limit.Limit{{Name: "x", Requests: 1, Per: limit.Day, By: 64}}, worst, "64 in By"},
		{[]limit.Limit{{Name: "x", Tokens: 1, Per: limit.Day}}, limit.Options{WorstInput: 1}, "WorstOutput"},
		{[]limit.Limit{{Name: "x", Cost: 1, Per: limit.Day}}, limit.Options{WorstOutput: 1}, "WorstInput"},
		{nil, limit.Options{WorstInput: -1}, "WorstInput"},
		{nil, limit.Options{MaxKeys: -1}, "MaxKeys"},
		{nil, limit.Options{Processes: -1}, "Processes"},
		{nil, limit.Options{Fallback: 0.1, Processes: 1}, "Counter"},
		{nil, limit.Options{Fallback: 0.1, Counter: c}, "Processes"},
		{nil, limit.Options{Fallback: math.NaN(), Counter: c, Processes: 1}, "NaN"},
		{nil, limit.Options{Fallback: 0.26, Counter: c, Processes: 4}, "more than 1"},
		{nil, limit.Options{Prices: map[string]limit.Price{"m": {Output: -1}}}, `Prices["m"]`},
		{nil, limit.Options{Prices: map[string]limit.Price{"m": {Input: math.Inf(1)}}}, `Prices["m"]`},
	} {
		if _, err := limit.New(tt.limits, &tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v, %+v: %v, want %q", tt.limits, tt.opts, err, tt.want)
		}
	}
	for _, n := range []int{1, 3, 7, 10, 49} {
		if _, err := limit.New(nil, &limit.Options{Counter: c, Processes: n, Fallback: 1 / float64(n)}); err != nil {
			t.Errorf("%d processes: %v", n, err)
		}
	}
}

func TestNoLimitsRefuseNothing(t *testing.T) {
	l := newLimiter(t, nil)
	var r limit.Reservation
	r.Settle(limit.Tokens{})
	r.Cancel()
	if err := l.Reserve(t.Context(), limit.Send{}, &r); err != nil {
		t.Fatal(err)
	}
	r.Keep()
}

func TestWhatIsReserved(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	opts := limit.Options{Now: c.Now, WorstInput: 700, WorstOutput: 80, Prices: map[string]limit.Price{
		"m":      {Input: 3, Output: 15, CachedInput: 0.3, CacheWrite: 3.75, Reasoning: 20},
		"third":  {Input: 0.0375, Output: 0.3},
		"absurd": {Input: 1e9, Output: 1e9},
	}}
	for _, tt := range []struct {
		send         limit.Send
		tokens, cost int64 // reserved
		real         limit.Tokens
		use, spent   int64
	}{
		{limit.Send{Model: "m", Input: 100, Output: 10}, 110, 100*3750 + 10*20_000,
			limit.Tokens{Input: 100, CachedInput: 50, CacheWrite: 20, Output: 8, Reasoning: 3}, 108, 30*3000 + 50*300 + 20*3750 + 5*15_000 + 3*20_000},
		{limit.Send{Model: "m", Input: -1, Output: -1}, 780, 700*3750 + 80*20_000, limit.Tokens{}, 0, 0},
		{limit.Send{Model: "m", Input: 0, Output: 0}, 0, 0, limit.Tokens{Input: 10, Output: 10}, 20, 180_000},
		// A half of a billionth is one.
		{limit.Send{Model: "third", Input: 1, Output: 0}, 1, 38, limit.Tokens{Input: 1}, 1, 38},
		{limit.Send{Model: "third", Input: 2, Output: 0}, 2, 75, limit.Tokens{Input: 2}, 2, 75},
		// What cannot be: parts that are more than the whole, and negative numbers.
		{limit.Send{Model: "m", Input: 9, Output: 9}, 18, 9*3750 + 9*20_000,
			limit.Tokens{Input: 4, CachedInput: 10, CacheWrite: 10, Output: 2, Reasoning: 10}, 6, 4*300 + 2*20_000},
		{limit.Send{Model: "m", Input: 9, Output: 9}, 18, 9*3750 + 9*20_000,
			limit.Tokens{Input: -4, CachedInput: -1, CacheWrite: -1, Output: -2, Reasoning: -3}, 0, 0},
		{limit.Send{Model: "absurd", Input: math.MaxInt64, Output: math.MaxInt64}, math.MaxInt64, math.MaxInt64, limit.Tokens{}, 0, 0},
	} {
		l := newLimiter(t, &opts,
			limit.Limit{Name: "tokens", Tokens: 1, Per: limit.Day, Soft: true}, limit.Limit{Name: "cost", Cost: 1, Per: limit.Minute, Soft: true})
		r := try(t, l, tt.send)
		if a, b := used(t, l, "tokens"), used(t, l, "cost"); a != tt.tokens || b != tt.cost {
			t.Errorf("%+v: reserved %d and %d, want %d and %d", tt.send, a, b, tt.tokens, tt.cost)
		}
		r.Settle(tt.real)
		if a, b := used(t, l, "tokens"), used(t, l, "cost"); a != tt.use || b != tt.spent {
			t.Errorf("%+v: used %d and %d, want %d and %d", tt.real, a, b, tt.use, tt.spent)
		}
	}
}

func TestThePriceOfAModel(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	prices := map[string]limit.Price{"gpt-4o": {Input: 1}, "gpt-4o-mini": {Input: 2}, "gpt-4o-2024-08-06": {Input: 3}, "o1": {Input: 4}}
	cases := map[string]int64{"gpt-4o": 1, "gpt-4o-mini": 2, "gpt-4o-mini-2024-07-18": 2, "gpt-4o-2024-08-06": 3, "gpt-4o-2024-11-20": 1, "o1-preview": 4,
		"gpt-4": 0, "gpt-4omni": 0, "gpt": 0, "": 0, "*": 0, "-": 0}
	for _, star := range []bool{false, true} {
		if star {
			prices["*"] = limit.Price{Input: 9}
		}
		for model, want := range cases {
			l := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Prices = c.Now, prices }),
				limit.Limit{Name: "first", Requests: 5, Per: limit.Day}, limit.Limit{Name: "cost", Cost: 1, Per: limit.Day})
			_, err := reserve(l, limit.Send{Model: model, Input: 1000})
			if want == 0 && !star {
				if !errors.Is(err, limit.ErrPrice) || !strings.Contains(err.Error(), fmt.Sprintf("%q", model)) || used(t, l, "first") != 0 {
					t.Errorf("%q: %v, want ErrPrice and nothing counted", model, err)
				}
				continue
			}
			if want == 0 {
				want = 9
			}
			if got := used(t, l, "cost"); err != nil || got != want*1_000_000 {
				t.Errorf("%q: %d and %v, want %d", model, got, err, want*1_000_000)
			}
		}
	}
}

func TestARequestThatNeverFitsIsToldSo(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	opts := with(func(o *limit.Options) { o.Now = c.Now })
	for _, counter := range []limit.Counter{nil, newCounter(c)} {
		opts.Counter = counter
		l := newLimiter(t, opts, limit.Limit{Name: "small", Tokens: 100, Per: limit.Day})
		e := refused(t, l, limit.Send{Input: 60, Output: 41})
		if !e.Reset.IsZero() || !strings.Contains(e.Error(), "never fits") || e.What != "tokens" {
			t.Errorf("%v, want that it never fits and no Reset", e)
		}
		if try(t, l, limit.Send{Input: 60, Output: 40}) == nil {
			t.Error("a request as large as the limit is refused")
		}
	}
}

func TestARefusalTellsWhatItIsAbout(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	s := limit.Send{Tenant: "acme\n", Model: "gpt-4o", Endpoint: "east", Input: 1, Output: 1}
	for _, tt := range []struct {
		limit limit.Limit
		want  string
	}{
		{limit.Limit{Name: "rpm", Requests: 1, Per: limit.Minute, By: limit.ByTenant | limit.ByModel},
			`limit "rpm": no room for more requests for tenant "acme\n", model "gpt-4o" until 2026-03-01T12:01:01Z`},
		{limit.Limit{Tokens: 2, Per: limit.Day, Endpoint: "east"}, `limit: no room for more tokens for endpoint "east" until 2026-03-02T00:00:00Z`},
		{limit.Limit{Name: "budget", Cost: 2e-6, Per: limit.Month}, `limit "budget": no room for more cost until 2026-04-01T00:00:00Z`},
		{limit.Limit{Name: "flight", InFlight: 1, By: limit.ByEndpoint}, `limit "flight": as many requests are in flight as it allows for endpoint "east"`},
	} {
		l := newLimiter(t, with(func(o *limit.Options) {
			o.Now, o.Prices = c.Now, map[string]limit.Price{"*": {Input: 1, Output: 1}}
		}), tt.limit)
		try(t, l, s)
		e := refused(t, l, s)
		if e.Error() != tt.want {
			t.Errorf("got  %s\nwant %s", e, tt.want)
		}
		if e != refused(t, l, s) {
			t.Errorf("%s: the same refusal is another error", e)
		}
	}
	long := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{InFlight: 1, By: limit.ByModel})
	s.Model = strings.Repeat("m", 1000)
	try(t, long, s)
	if n := len(refused(t, long, s).Error()); n > 300 {
		t.Errorf("the error has %d bytes", n)
	}
}

func TestTheFirstEndOfAReservationCounts(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	ends := map[string]func(*limit.Reservation){
		"settle":  func(r *limit.Reservation) { r.Settle(limit.Tokens{Input: 3, Output: 4}) },
		"more":    func(r *limit.Reservation) { r.Settle(limit.Tokens{Input: 300, Output: 400}) },
		"release": (*limit.Reservation).Release, "cancel": (*limit.Reservation).Cancel, "keep": (*limit.Reservation).Keep,
	}
	want := map[string][3]int64{"settle": {1, 7}, "more": {1, 700}, "release": {1, 0}, "cancel": {0, 0}, "keep": {1, 20}}
	for name, first := range ends {
		l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }),
			limit.Limit{Name: "requests", Requests: 10, Per: limit.Day}, limit.Limit{Name: "tokens", Tokens: 100, Per: limit.Minute},
			limit.Limit{Name: "flight", InFlight: 1})
		r := try(t, l, limit.Send{Input: 10, Output: 10})
		first(r)
		for _, again := range ends {
			again(r)
		}
		if got := [3]int64{used(t, l, "requests"), used(t, l, "tokens"), used(t, l, "flight")}; got != want[name] {
			t.Errorf("%s: requests, tokens and in flight are %v, want %v", name, got, want[name])
		}
		for _, s := range l.State() {
			if s.Reserved != 0 {
				t.Errorf("%s: still reserved: %+v", name, s)
			}
		}
	}
}

func TestManyEndsAtOnceAreOne(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }), limit.Limit{Tokens: 10_000, Per: limit.Day, InFlight: 1})
	for range 100 {
		r := try(t, l, limit.Send{Input: 10})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { r.Settle(limit.Tokens{Input: 7}) })
		}
		wg.Wait()
	}
	for _, s := range l.State() {
		if want := map[string]int64{"tokens": 700, "in flight": 0}[s.What]; s.Used != want || s.Reserved != 0 {
			t.Errorf("%+v, want %d used", s, want)
		}
	}
}

func TestALateSettlementGivesNothingBack(t *testing.T) {
	for _, per := range []limit.Window{limit.Minute, limit.Day, limit.Month} {
		c := at(t, "2026-03-31 23:59:59", time.UTC)
		l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }), limit.Limit{Tokens: 100, Per: per})
		less, more := try(t, l, limit.Send{Input: 40}), try(t, l, limit.Send{Input: 40})
		c.add(2 * time.Minute)
		try(t, l, limit.Send{Input: 50})
		less.Settle(limit.Tokens{Input: 1})
		if got := used(t, l, ""); got != 50 {
			t.Errorf("window %d: %d are used, want 50", per, got)
		}
		more.Settle(limit.Tokens{Input: 70})
		if got := used(t, l, ""); got != 80 {
			t.Errorf("window %d: %d are used, want 50 and 30 more", per, got)
		}
	}
}

func TestASettlementCountsInTheSecondOfItsReservation(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }), limit.Limit{Tokens: 100, Per: limit.Minute})
	r := try(t, l, limit.Send{Input: 50})
	c.add(30 * time.Second)
	try(t, l, limit.Send{Input: 50})
	r.Settle(limit.Tokens{Input: 90}) // 140 are used
	c.add(31 * time.Second)
	if got := used(t, l, ""); got != 50 {
		t.Errorf("%d are used after the first minute, want 50", got)
	}
}

func TestStateIsTheAccountOfEachTenant(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }),
		limit.Limit{Name: "tokens", Tokens: 1000, Per: limit.Minute, By: limit.ByTenant, InFlight: 5},
		limit.Limit{Name: "requests", Requests: 10, Per: limit.Day, Model: "m"})
	try(t, l, limit.Send{Tenant: "b", Model: "m", Input: 10})
	try(t, l, limit.Send{Tenant: "a", Model: "m", Input: 20}).Settle(limit.Tokens{Input: 15})
	c.add(5 * time.Second)
	try(t, l, limit.Send{Tenant: "b", Model: "other", Input: 7})
	minute, day := time.Date(2026, 3, 1, 12, 1, 1, 0, time.UTC), time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	want := []limit.State{
		{Limit: "tokens", What: "tokens", Tenant: "a", Used: 15, Max: 1000, Reset: minute},
		{Limit: "tokens", What: "in flight", Tenant: "a", Max: 5},
		{Limit: "tokens", What: "tokens", Tenant: "b", Used: 17, Reserved: 17, Max: 1000, Reset: minute.Add(5 * time.Second)},
		{Limit: "tokens", What: "in flight", Tenant: "b", Used: 2, Reserved: 2, Max: 5},
		{Limit: "requests", What: "requests", Model: "m", Used: 2, Reserved: 1, Max: 10, Reset: day},
	}
	if got := l.State(); !slices.Equal(got, want) {
		t.Errorf("State is\n%+v, want\n%+v", got, want)
	}
	c.add(2 * time.Minute)
	got := l.State()
	if len(got) != 3 || got[0].Used != 0 || got[0].Reserved != 17 || !got[0].Reset.IsZero() {
		t.Errorf("State is %+v after the minute: want what is held of it and no Reset", got)
	}
}
