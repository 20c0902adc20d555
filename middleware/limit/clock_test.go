package limit_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

// A lateClock shows an older time once: a goroutine has read it, and was then
// overtaken by others.
type lateClock struct {
	*clock
	late time.Duration
}

func (c *lateClock) Now() time.Time {
	now := c.clock.Now().Add(-c.late)
	c.late = 0
	return now
}

func TestAGoroutineThatWasOvertakenSetsNoClockBack(t *testing.T) {
	c := &lateClock{clock: at(t, "2026-03-01 12:00:00", time.UTC)}
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 10, Per: limit.Minute})
	fill(t, l, limit.Send{}, 5)
	c.add(30 * time.Second)
	fill(t, l, limit.Send{}, 5)
	c.late = 20 * time.Second
	refused(t, l, limit.Send{})
	c.add(42 * time.Second)
	if n := fill(t, l, limit.Send{}, 100); n != 5 {
		t.Errorf("%d admitted, want the 5 that are over", n)
	}

	c.set(t, "2026-03-02 00:00:01", time.UTC)
	l = newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 10, Per: limit.Day})
	fill(t, l, limit.Send{}, 10)
	c.late = 3 * time.Second
	refused(t, l, limit.Send{})
	if n := fill(t, l, limit.Send{}, 100); n != 0 {
		t.Errorf("%d admitted on a day that is full", n)
	}
}

func TestAClockThatStandsStillLosesNoReservation(t *testing.T) {
	c := at(t, "2026-03-01 12:00:30", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 1, Per: limit.Minute})
	r := try(t, l, limit.Send{})
	c.add(-200 * time.Millisecond)
	r.Cancel()
	if try(t, l, limit.Send{}) == nil {
		t.Error("what was canceled was not given back")
	}
}

func TestTheEdgeOfAMinute(t *testing.T) {
	for _, tt := range []struct {
		after time.Duration
		want  int64
	}{{60 * time.Second, 51}, {61 * time.Second, 50}, {62 * time.Second, 50}} {
		c := at(t, "2026-03-01 12:00:00", time.UTC)
		l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }), limit.Limit{Tokens: 100, Per: limit.Minute})
		r := try(t, l, limit.Send{Input: 40})
		c.add(tt.after)
		if try(t, l, limit.Send{Input: 50}) == nil {
			t.Fatal("refused")
		}
		r.Settle(limit.Tokens{Input: 1})
		if got := used(t, l, ""); got != tt.want {
			t.Errorf("after %v: %d are used, want %d", tt.after, got, tt.want)
		}
	}
}

func TestResetFollowsWhatIsGivenBack(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }), limit.Limit{Tokens: 100, Requests: 100, Per: limit.Minute})
	start := c.Now()
	reset := func(n int64, want time.Duration) {
		t.Helper()
		for range 2 {
			if got := refused(t, l, limit.Send{Input: n}).Reset.Sub(start); got != want {
				t.Errorf("room for %d tokens after %v, want %v", n, got, want)
			}
		}
	}
	a := try(t, l, limit.Send{Input: 60})
	c.add(10 * time.Second)
	try(t, l, limit.Send{Input: 40})
	reset(50, 61*time.Second)
	reset(70, 71*time.Second)
	reset(60, 61*time.Second)
	set := func(most int64) {
		t.Helper()
		if err := l.Set([]limit.Limit{{Tokens: most, Requests: 100, Per: limit.Minute}}); err != nil {
			t.Fatal(err)
		}
	}
	set(80)
	reset(60, 71*time.Second)
	set(100)
	a.Settle(limit.Tokens{Input: 20})
	reset(70, 71*time.Second)
	reset(60, 61*time.Second)
	reset(61, 71*time.Second)
}

// TestNoMinuteIsPassedWhileTheClockRuns notes the time before and after each send
// that is admitted: those that lie in the same 60 seconds with both were reserved
// in them.
func TestNoMinuteIsPassedWhileTheClockRuns(t *testing.T) {
	const most = 100
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: most, Per: limit.Minute})
	type send struct{ before, after time.Time }
	var mu sync.Mutex
	var sends []send
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 7))
			for range 2000 {
				c.add(time.Duration(rnd.IntN(50)) * time.Millisecond)
				before := c.Now()
				r, err := reserve(l, limit.Send{})
				if err != nil {
					continue
				}
				after := c.Now()
				if rnd.IntN(5) == 0 {
					r.Cancel()
					continue
				}
				r.Keep()
				mu.Lock()
				sends = append(sends, send{before, after})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(sends) < 5*most {
		t.Errorf("%d sends in all: the test shows little", len(sends))
	}
	for _, s := range sends {
		n, end := 0, s.before.Add(time.Minute)
		for _, o := range sends {
			if !o.before.Before(s.before) && !o.after.After(end) {
				n++
			}
		}
		if n > most {
			t.Fatalf("%d sends in the minute from %v, at most %d", n, s.before, most)
		}
	}
}
