package limit_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

func TestSetKeepsTheCountsOfTheSameLimit(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }),
		limit.Limit{Name: "a", Requests: 10, Per: limit.Day, By: limit.ByTenant}, limit.Limit{Name: "b", Requests: 10, Per: limit.Day})
	for range 6 {
		try(t, l, limit.Send{})
	}
	set := func(limits ...limit.Limit) {
		t.Helper()
		if err := l.Set(limits); err != nil {
			t.Fatal(err)
		}
	}
	set(limit.Limit{Name: "a", Requests: 8, Per: limit.Day, By: limit.ByTenant})
	if n := fill(t, l, limit.Send{}, 100); n != 2 {
		t.Errorf("%d admitted after a ceiling went from 10 to 8, want 2", n)
	}
	set(limit.Limit{Name: "a", Requests: 5, Per: limit.Day, By: limit.ByTenant})
	refused(t, l, limit.Send{})
	if err := l.Set([]limit.Limit{{Name: "a", Requests: 100}, {Name: "c"}}); err == nil {
		t.Error("nonsense was set")
	}
	refused(t, l, limit.Send{})
	set(limit.Limit{Name: "a", Requests: 5, Per: limit.Month, By: limit.ByTenant}, limit.Limit{Name: "b", Requests: 10, Per: limit.Day})
	if n := fill(t, l, limit.Send{}, 100); n != 5 {
		t.Errorf("%d admitted by a new window, want 5", n)
	}
}

func TestSetDoesNotMixCountsOfOtherThings(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 3, Per: limit.Day})
	for _, by := range []limit.Key{0, limit.ByTenant, limit.ByModel, limit.ByTenant | limit.ByModel, limit.ByEndpoint, 0} {
		if err := l.Set([]limit.Limit{{Requests: 3, Per: limit.Day, By: by}}); err != nil {
			t.Fatal(err)
		}
		for _, s := range []limit.Send{{Tenant: "a", Model: "a", Endpoint: "a"}, {Tenant: "b", Model: "b", Endpoint: "b"}} {
			want := 3
			if by == 0 && s.Tenant == "b" {
				want = 0
			}
			if n := fill(t, l, s, 100); n != want {
				t.Errorf("by %d: %d admitted for %s, want %d", by, n, s.Tenant, want)
			}
		}
	}
}

func TestARefusalNamesTheLimitAsItIsNow(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 1, Per: limit.Day})
	fill(t, l, limit.Send{}, 1)
	refused(t, l, limit.Send{Model: "m"})
	if err := l.Set([]limit.Limit{{Requests: 1, Per: limit.Day, Model: "m"}}); err != nil {
		t.Fatal(err)
	}
	if e := refused(t, l, limit.Send{Model: "m"}); e.Model != "m" {
		t.Errorf("refused by %+v, want the model", e)
	}
}

func TestAReservationThatWasRefusedCanBeReserved(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 1, Per: limit.Minute})
	var r limit.Reservation
	for range 3 {
		if err := l.Reserve(t.Context(), limit.Send{}, &r); err != nil {
			t.Fatal(err)
		}
		r.Keep()
		if err := l.Reserve(t.Context(), limit.Send{}, &r); err == nil {
			t.Fatal("admitted")
		}
		r.Cancel() // nothing is reserved
		c.add(61 * time.Second)
	}
}

func TestSetWhileSendsAreUnderWay(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	limits := func(n int64) []limit.Limit {
		return []limit.Limit{{Name: "a", Requests: n, Per: limit.Day, By: limit.ByTenant, InFlight: 20}, {Name: fmt.Sprint(n), Requests: 1e6, Per: limit.Day}}
	}
	l := newLimiter(t, &limit.Options{Now: c.Now}, limits(1000)...)
	var sent, flight atomic.Int64
	stop := make(chan struct{})
	var wg, sets sync.WaitGroup
	sets.Go(func() {
		for n := int64(0); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := l.Set(limits(990 + n%11)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 50 {
		wg.Go(func() {
			for range 100 {
				var r limit.Reservation
				if l.Reserve(context.Background(), limit.Send{Tenant: "t"}, &r) != nil {
					continue
				}
				notOver(t, &flight, 1, 20, "in flight")
				notOver(t, &sent, 1, 1000, "sent")
				flight.Add(-1)
				r.Settle(limit.Tokens{})
			}
		})
	}
	wg.Wait()
	close(stop)
	sets.Wait()
	if err := l.Set(limits(1000)); err != nil {
		t.Fatal(err)
	}
	if got := used(t, l, "a"); got != sent.Load() {
		t.Errorf("%d are counted, %d were sent", got, sent.Load())
	}
}
