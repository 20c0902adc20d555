package limit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

func TestTheFallbackIsAShareOfEachWindow(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	l := newLimiter(t, &limit.Options{Now: c.Now, Counter: f, Processes: 4, Fallback: 0.1}, limit.Limit{Name: "day", Requests: 100, Per: limit.Day})
	f.down(false)
	if n := fill(t, l, limit.Send{}, 1000); n != 10 {
		t.Errorf("%d admitted alone, want 10", n)
	}
	_, err := reserve(l, limit.Send{})
	var e *limit.Error
	if !errors.As(err, &e) || !errors.Is(err, limit.ErrCounter) || e.Reset.IsZero() {
		t.Errorf("refused with %v, want an *Error with a Reset that wraps ErrCounter", err)
	}
	f.up()
	// The ten are told to the counter, so that it has less for all.
	if n := fill(t, l, limit.Send{}, 1000); n != 50 {
		t.Errorf("%d admitted through the counter, want 50", n)
	}
	if e := refused(t, l, limit.Send{}); errors.Is(e, limit.ErrCounter) {
		t.Errorf("refused by %v, but the counter has answered", e)
	}
	f.down(false)
	if n := fill(t, l, limit.Send{}, 1000); n != 0 {
		t.Errorf("%d admitted in the second outage of a day, want 0", n)
	}
	if e := refused(t, l, limit.Send{}); !errors.Is(e, limit.ErrCounter) {
		t.Errorf("refused by %v, want that the counter fails", e)
	}
	c.set(t, "2026-03-02 00:00:00", time.UTC)
	if n := fill(t, l, limit.Send{}, 1000); n != 10 {
		t.Errorf("%d admitted alone on the next day, want 10", n)
	}
}

func TestWhatWasUsedAloneIsToldToTheCounter(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Counter, o.Processes, o.Fallback = c.Now, f, 2, 0.25 }),
		limit.Limit{Tokens: 1000, Per: limit.Day})
	f.down(false)
	first, second := try(t, l, limit.Send{Input: 100}), try(t, l, limit.Send{Input: 50})
	first.Settle(limit.Tokens{Input: 70})
	if got := f.total(); got != 0 {
		t.Fatalf("the counter has %d while it fails", got)
	}
	f.up()
	third := try(t, l, limit.Send{Input: 1})
	if got := f.total(); got != 71 {
		t.Errorf("the counter has %d when it is back, want 71", got)
	}
	second.Keep()
	third.Keep()
	if got := f.total(); got != 121 {
		t.Errorf("the counter has %d at the end, want 121", got)
	}
	if got := used(t, l, ""); got != 121 {
		t.Errorf("State has %d, want 121", got)
	}
}

func TestACounterThatHasAddedAndFailedKeepsWhatItAdded(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	l := newLimiter(t, &limit.Options{Now: c.Now, Counter: f, Processes: 1, Fallback: 0.5}, limit.Limit{Requests: 10, Per: limit.Day})
	f.down(true)
	r := try(t, l, limit.Send{})
	f.up()
	r.Cancel()
	if got := f.total(); got != 1 {
		t.Errorf("the counter has %d, want the 1 that is lost", got)
	}
}

func TestALateSettlementGoesToThePresentWindowOfTheCounter(t *testing.T) {
	for _, per := range []limit.Window{limit.Minute, limit.Day, limit.Month} {
		c := at(t, "2026-03-31 23:59:59", time.UTC)
		f := newCounter(c)
		l := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Counter = c.Now, f }), limit.Limit{Tokens: 1000, Per: per})
		less, more := try(t, l, limit.Send{Input: 100}), try(t, l, limit.Send{Input: 100})
		c.add(2 * time.Minute)
		less.Settle(limit.Tokens{Input: 1})
		more.Settle(limit.Tokens{Input: 130})
		if len(f.settled) != 1 || f.settled[0].Amount != 30 {
			t.Fatalf("window %d: settled %+v, want 30 more only", per, f.settled)
		}
		if n := f.used(limit.Charge{Key: f.settled[0].Key, Window: per, Start: f.settled[0].Start}, c.Now().Unix()); n != 30 {
			t.Errorf("window %d: the present window has %d, want 30", per, n)
		}
		if got := used(t, l, ""); got != 30 {
			t.Errorf("window %d: State has %d in the present window, want 30", per, got)
		}
	}
}

func TestKeysOfCountsAreDistinct(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	l := newLimiter(t, &limit.Options{Now: c.Now, Counter: f, MaxKeys: 1},
		limit.Limit{Name: "x", Requests: 10, Per: limit.Day, By: limit.ByTenant | limit.ByModel | limit.ByEndpoint})
	parts := []string{"", "a", "1:", ":", "a1:a", "\x00", "1:a"}
	for _, tenant := range parts {
		for _, model := range parts {
			for _, endpoint := range parts {
				if _, err := reserve(l, limit.Send{Tenant: tenant, Model: model, Endpoint: endpoint}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if want := len(parts) * len(parts) * len(parts); len(f.counts) != want {
		t.Errorf("%d counts for %d keys", len(f.counts), want)
	}
}

// TestTheCeilingHoldsInEveryMixOfUpAndDown lets four processes use one counter that
// fails at random for each call, before or after it has added.
func TestTheCeilingHoldsInEveryMixOfUpAndDown(t *testing.T) {
	const most = 10_000
	for seed := range uint64(8) {
		for _, fallback := range []float64{0, 0.02, 0.2} {
			t.Run(fmt.Sprint(seed, " ", fallback), func(t *testing.T) {
				c := at(t, "2026-03-01 12:00:00", time.UTC)
				f := newCounter(c)
				rnd := rand.New(rand.NewPCG(seed, 1))
				down := false
				f.fail = func() (bool, bool) { // f.mu is held
					if rnd.IntN(20) == 0 {
						down = !down
					}
					return down, rnd.IntN(2) == 0
				}
				per := []limit.Window{limit.Minute, limit.Day}[seed%2]
				var sent account
				var wg sync.WaitGroup
				for p := range 4 {
					l := newLimiter(t, with(func(o *limit.Options) {
						o.Now, o.Counter, o.Processes, o.Fallback = c.Now, f, 4, fallback
					}), limit.Limit{Name: "tokens", Tokens: most, Per: per, By: limit.ByTenant})
					for g := range 10 {
						wg.Go(func() { mixed(t, l, &sent, most, rand.New(rand.NewPCG(uint64(p), uint64(g)))) })
					}
				}
				wg.Wait()
				if sent.most < most/4 {
					t.Errorf("at most %d of %d were used: the test shows little", sent.most, most)
				}
			})
		}
	}
}

// An account is what is used or held by all.
type account struct {
	mu        sync.Mutex
	sum, most int64
}

func (a *account) add(n int64) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sum += n
	a.most = max(a.most, a.sum)
	return a.sum
}

func mixed(t *testing.T, l *limit.Limiter, sent *account, most int64, rnd *rand.Rand) {
	for range 150 {
		in := rnd.Int64N(100) + 1
		var r limit.Reservation
		if l.Reserve(context.Background(), limit.Send{Tenant: "t", Input: in}, &r) != nil {
			continue
		}
		if got := sent.add(in); got > most {
			t.Errorf("%d are used, at most %d", got, most)
		}
		switch rnd.IntN(4) {
		case 0:
			sent.add(-in)
			r.Release()
		case 1:
			r.Keep()
		default:
			use := rnd.Int64N(in + 1)
			sent.add(use - in)
			r.Settle(limit.Tokens{Input: use})
		}
	}
}

func TestTheSharesOfAllProcessesAreNoMoreThanTheCeiling(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	f.down(false)
	for _, n := range []int{3, 7, 9, 10} {
		for _, most := range []int64{math.MaxInt64, math.MaxInt64 / 2, 1<<60 + 1, 101, 2} {
			l := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Counter, o.Processes, o.Fallback = c.Now, f, n, 1/float64(n) }),
				limit.Limit{Tokens: most, Per: limit.Day})
			refused(t, l, limit.Send{Input: most/int64(n) + 1})
		}
	}
}

func TestWhatFitsOnlyAloneNeverFitsThroughTheCounter(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Counter, o.Processes, o.Fallback = c.Now, f, 1, 0.6 }),
		limit.Limit{Tokens: 100, Per: limit.Day})
	if e := refused(t, l, limit.Send{Input: 50}); !e.Reset.IsZero() {
		t.Errorf("Reset is %v, but 50 of 40 never fit", e.Reset)
	}
	f.down(false)
	if e := refused(t, l, limit.Send{Input: 61}); !e.Reset.IsZero() {
		t.Errorf("Reset is %v, but 61 of 60 never fit", e.Reset)
	}
	if try(t, l, limit.Send{Input: 50}) == nil {
		t.Error("50 of 60 do not fit alone")
	}
}

// TestWhatTheCounterAdmitsIsAdmitted: its clock is not that of the process.
func TestWhatTheCounterAdmitsIsAdmitted(t *testing.T) {
	c, theirs := at(t, "2026-03-01 12:00:00", time.UTC), at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(theirs)
	l := newLimiter(t, &limit.Options{Now: c.Now, Counter: f}, limit.Limit{Requests: 10, Per: limit.Minute})
	for range 2 {
		if n := fill(t, l, limit.Send{}, 100); n != 10 {
			t.Errorf("%d admitted, want 10", n)
		}
		theirs.add(61 * time.Second)
	}
	if got := used(t, l, ""); got != 20 {
		t.Errorf("State has %d, want 20", got)
	}
}
