package limit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

func TestKeysBeyondMaxKeysShareOneCount(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now, MaxKeys: 2}, limit.Limit{Requests: 10, Per: limit.Day, By: limit.ByTenant})
	admitted := func(tenant string, want int) {
		t.Helper()
		if n := fill(t, l, limit.Send{Tenant: tenant}, 100); n != want {
			t.Errorf("%s: %d admitted, want %d", tenant, n, want)
		}
	}
	fillTwo := func(tenant string) { fill(t, l, limit.Send{Tenant: tenant}, 2) }
	fillTwo("a")
	fillTwo("b")
	fillTwo("c")
	fillTwo("d")
	shared := 0
	for _, s := range l.State() {
		if s.Shared {
			shared++
			if s.Used != 4 || s.Tenant != "" {
				t.Errorf("shared count %+v, want 4 used and no tenant", s)
			}
		}
	}
	if shared != 1 {
		t.Errorf("%d shared counts, want 1", shared)
	}
	admitted("c", 6)
	admitted("e", 0)
	if e := refused(t, l, limit.Send{Tenant: "d"}); e.Tenant != "" || !strings.Contains(e.Error(), "MaxKeys") {
		t.Errorf("refused by %v, want that the count is shared", e)
	}
	admitted("a", 8)
	admitted("b", 8)
	c.set(t, "2026-04-01 00:00:00", time.UTC)
	// A new day: who comes first has a count.
	admitted("c", 10)
	admitted("d", 10)
	admitted("a", 10)
	admitted("b", 0)
}

// TestAKeyThatSharesDoesNotGetASecondCount: what a key has used of the shared count
// is not forgotten when there is room for a count of its own.
func TestAKeyThatSharesDoesNotGetASecondCount(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now, MaxKeys: 1}, limit.Limit{Requests: 10, Per: limit.Minute, By: limit.ByTenant})
	own := try(t, l, limit.Send{Tenant: "own"})
	c.add(30 * time.Second)
	fill(t, l, limit.Send{Tenant: "other"}, 9)
	own.Cancel()
	c.add(31 * time.Second)
	if n := fill(t, l, limit.Send{Tenant: "other"}, 100); n != 1 {
		t.Errorf("%d admitted, want the 1 that is left of the minute", n)
	}
	// When all is over, it has a count of its own.
	c.add(100 * time.Second)
	for _, s := range l.State() {
		t.Errorf("still held: %+v", s)
	}
}

func TestACountThatIsHeldIsNotDropped(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now, MaxKeys: 1}, limit.Limit{InFlight: 1, By: limit.ByTenant})
	r := try(t, l, limit.Send{Tenant: "a"})
	for i := range 10 {
		c.add(time.Hour)
		if o := try(t, l, limit.Send{Tenant: fmt.Sprint(i)}); o == nil {
			t.Fatal("refused")
		} else {
			o.Cancel()
		}
		refused(t, l, limit.Send{Tenant: "a"})
	}
	r.Cancel()
	c.add(time.Second)
	if o := try(t, l, limit.Send{Tenant: "new"}); o == nil {
		t.Fatal("refused")
	}
	if s := l.State(); len(s) != 1 || s[0].Shared || s[0].Tenant != "new" {
		t.Errorf("state %+v: the idle count has not made room", s)
	}
}

func TestALongKeyIsNotKept(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 3, Per: limit.Day, By: limit.ByModel})
	for i := range 3 {
		if try(t, l, limit.Send{Model: strings.Repeat("x", 2000+i)}) == nil {
			t.Fatal("refused")
		}
	}
	refused(t, l, limit.Send{Model: strings.Repeat("y", 2000)})
	if try(t, l, limit.Send{Model: "short"}) == nil {
		t.Error("a short name shares the count of long ones")
	}
}

// TestManyKeysAtOnce has more keys than counts, and a clock that moves, so that
// counts are made, shared and dropped while they are used.
func TestManyKeysAtOnce(t *testing.T) {
	const most, keys = 2, 4
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	for _, maxKeys := range []int{1, 2, 3, 100} {
		l := newLimiter(t, &limit.Options{Now: c.Now, MaxKeys: maxKeys}, limit.Limit{InFlight: most, By: limit.ByTenant})
		var flight [keys]atomic.Int64
		var wg sync.WaitGroup
		for g := range 20 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(g), 1))
				for range 2000 {
					k := rnd.IntN(keys)
					c.add(time.Second)
					var r limit.Reservation
					if l.Reserve(context.Background(), limit.Send{Tenant: fmt.Sprint(k)}, &r) != nil {
						continue
					}
					notOver(t, &flight[k], 1, most, "in flight")
					runtime.Gosched()
					flight[k].Add(-1)
					r.Cancel()
				}
			})
		}
		wg.Wait()
		if s := l.State(); len(s) != 0 {
			t.Errorf("MaxKeys %d: still held: %+v", maxKeys, s[0])
		}
	}
}

func TestManyKeysHaveCountsOfTheirOwn(t *testing.T) {
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 1, Per: limit.Day, By: limit.ByTenant | limit.ByModel})
	for round := range 2 {
		var wg sync.WaitGroup
		var admitted atomic.Int64
		for range 8 {
			wg.Go(func() {
				for i := range 3000 {
					r, err := reserve(l, limit.Send{Tenant: fmt.Sprint(i % 50), Model: fmt.Sprint(i / 50)})
					if err == nil {
						admitted.Add(1)
						r.Keep()
					}
				}
			})
		}
		wg.Wait()
		if want := int64(3000 * (1 - round)); admitted.Load() != want {
			t.Errorf("round %d: %d admitted, want %d", round, admitted.Load(), want)
		}
	}
	if n := len(l.State()); n != 3000 {
		t.Errorf("%d counts, want 3000", n)
	}
}
