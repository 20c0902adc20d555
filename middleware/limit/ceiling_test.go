package limit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

func notOver(t *testing.T, n *atomic.Int64, add, most int64, what string) {
	t.Helper()
	if got := n.Add(add); got > most {
		t.Errorf("%d %s at once, at most %d", got, what, most)
	}
}

// TestACeilingIsNeverPassedBy200Goroutines lets goroutines reserve, and keep,
// release or settle. An account beside the Limiter is added to after each Reserve
// and reduced before each end: what it shows was held at that instant.
func TestACeilingIsNeverPassedBy200Goroutines(t *testing.T) {
	const tokens, requests, most = 200_000, 2000, 500
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	for _, per := range []limit.Window{limit.Minute, limit.Day, limit.Month} {
		t.Run(fmt.Sprint(per), func(t *testing.T) {
			l := newLimiter(t, with(func(o *limit.Options) {
				o.Now = c.Now
				o.Prices = map[string]limit.Price{"*": {Input: 1e6, Output: 1e6}} // 1 each
			}),
				limit.Limit{Name: "requests", Requests: requests, Per: per},
				limit.Limit{Name: "tokens", Tokens: tokens, Per: per, By: limit.ByTenant},
				limit.Limit{Name: "cost", Cost: tokens + 10_000, Per: per, By: limit.ByModel},
				limit.Limit{Name: "flight", InFlight: 50},
			)
			var sum, sent, flight atomic.Int64
			var wg sync.WaitGroup
			for g := range 200 {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(g), uint64(per)))
					for range 100 {
						in, out := rnd.Int64N(most/2)+1, rnd.Int64N(most/2)+1
						var r limit.Reservation
						if l.Reserve(context.Background(), limit.Send{Tenant: "a", Model: "m", Input: in, Output: out}, &r) != nil {
							continue
						}
						notOver(t, &sum, in+out, tokens, "tokens")
						notOver(t, &sent, 1, requests, "requests")
						notOver(t, &flight, 1, 50, "in flight")
						flight.Add(-1)
						switch rnd.IntN(5) {
						case 0:
							r.Keep()
						case 1:
							sum.Add(-in - out)
							r.Release()
						default:
							use := rnd.Int64N(out + 1)
							sum.Add(use - out)
							r.Settle(limit.Tokens{Input: in, Output: use})
						}
					}
				})
			}
			wg.Wait()
			if got := used(t, l, "tokens"); got != sum.Load() {
				t.Errorf("%d tokens are counted, %d were used", got, sum.Load())
			}
			if got := used(t, l, "requests"); got != sent.Load() {
				t.Errorf("%d requests are counted, %d were sent", got, sent.Load())
			}
			if got := used(t, l, "flight"); got != 0 {
				t.Errorf("%d are in flight, and all have ended", got)
			}
			if got := used(t, l, "cost"); got != sum.Load()*1e9 {
				t.Errorf("cost is %d billionths, want %d", got, sum.Load()*1e9)
			}
		})
	}
}

func TestAllOfACeilingCanBeUsed(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }), limit.Limit{Tokens: 100_000, Per: limit.Day})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			for {
				var r limit.Reservation
				if l.Reserve(context.Background(), limit.Send{Input: 70, Output: 30}, &r) != nil {
					return
				}
				r.Settle(limit.Tokens{Input: 60, Output: 5})
			}
		})
	}
	wg.Wait()
	// Each goroutine has ended when there was no room beside what was held then; at
	// the end nothing is held.
	fill(t, l, limit.Send{Input: 70, Output: 30}, 1000)
	if got := used(t, l, ""); got <= 99_900 || got > 100_000 {
		t.Errorf("%d tokens are used, want more than 99,900 and at most 100,000", got)
	}
}

func TestARefusalByOneLimitCountsInNoOther(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }),
		limit.Limit{Name: "all", Requests: 100, Per: limit.Minute},
		limit.Limit{Name: "tokens", Tokens: 10_000, Per: limit.Day},
		limit.Limit{Name: "flight", InFlight: 100},
		limit.Limit{Name: "model", Model: "m", Requests: 1, Per: limit.Minute},
	)
	s := limit.Send{Model: "m", Input: 1, Output: 1}
	if try(t, l, s) == nil {
		t.Fatal("the first send is refused")
	}
	for range 10 {
		if e := refused(t, l, s); e.Limit != "model" || e.What != "requests" || e.Model != "m" {
			t.Fatalf("refused by %+v", e)
		}
	}
	for name, want := range map[string]int64{"all": 1, "tokens": 2, "flight": 1, "model": 1} {
		if got := used(t, l, name); got != want {
			t.Errorf("%s: %d are counted, want %d", name, got, want)
		}
	}
	if try(t, l, limit.Send{Model: "other"}) == nil {
		t.Error("a limit for one model refuses another")
	}
}

func TestSevenLimitsAreHeldAndGivenBack(t *testing.T) {
	var limits []limit.Limit
	for i := range 9 {
		limits = append(limits, limit.Limit{Name: fmt.Sprint(i), Requests: 5, Per: limit.Day, InFlight: 5})
	}
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limits...)
	var r limit.Reservation
	for range 20 {
		if err := l.Reserve(t.Context(), limit.Send{}, &r); err != nil {
			t.Fatal(err)
		}
		r.Cancel()
	}
	if got := l.State(); len(got) != 0 {
		t.Errorf("still counted: %+v", got)
	}
	if err := l.Reserve(t.Context(), limit.Send{}, &r); err != nil {
		t.Fatal(err)
	}
	if err := l.Reserve(t.Context(), limit.Send{}, &r); err == nil {
		t.Error("a Reservation that is in use was reserved again")
	}
	for _, s := range l.State() {
		if s.Used != 1 {
			t.Errorf("%+v: want 1 used", s)
		}
	}
}
