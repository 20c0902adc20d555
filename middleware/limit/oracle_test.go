package limit_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

// An oracle counts as the documentation says, in the simplest way: it keeps each
// use, with the moment at which it was reserved.
type oracle struct {
	per  limit.Window
	most int64
	now  time.Time
	uses []*use // of the present window
	past []past // the last two days or months that it was in, the latest last
}

type use struct {
	at     time.Time
	n      int64
	frozen bool // its window is over, or the clock was set back since
}

type past struct {
	start time.Time
	n     int64
}

// start is the beginning of the window of a calendar, by plain arithmetic in UTC.
func (o *oracle) start(t time.Time) time.Time {
	if o.per == limit.Day {
		return t.Truncate(24 * time.Hour)
	}
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// tick sets the clock. If it is set back, what is later than now belongs to now.
func (o *oracle) tick(now time.Time) {
	last := o.now
	o.now = now
	if o.per == limit.Minute {
		if now.Unix() < last.Unix()-1 {
			for _, u := range o.uses {
				u.frozen = true
				if u.at.After(now) {
					u.at = now
				}
			}
		}
		o.keep(func(u *use) bool { return u.at.Unix() >= now.Unix()-60 })
		return
	}
	start := o.start(now)
	switch {
	case start.After(o.start(last)):
		o.past = append(o.past, past{o.start(last), o.used()})
		o.past = o.past[max(0, len(o.past)-2):]
		o.keep(func(*use) bool { return false })
	case start.Before(o.start(last)):
		for _, u := range o.uses {
			u.frozen = true
		}
		for n := len(o.past); n > 0 && !o.past[n-1].start.Before(start); n-- {
			o.uses = append(o.uses, &use{at: now, n: o.past[n-1].n, frozen: true})
			o.past = o.past[:n-1]
		}
	}
}

func (o *oracle) keep(live func(*use) bool) {
	var kept []*use
	for _, u := range o.uses {
		if live(u) {
			kept = append(kept, u)
		} else {
			u.frozen = true
		}
	}
	o.uses = kept
}

func (o *oracle) used() (n int64) {
	for _, u := range o.uses {
		n += u.n
	}
	return n
}

func (o *oracle) reserve(n int64) *use {
	if o.used()+n > o.most {
		return nil
	}
	u := &use{at: o.now, n: n}
	o.uses = append(o.uses, u)
	return u
}

func (o *oracle) settle(u *use, n int64) {
	d := n - u.n
	switch {
	case !u.frozen:
		u.n = n
	case d > 0:
		o.uses = append(o.uses, &use{at: o.now, n: d})
	}
}

// TestALimiterAgreesWithAnOracle makes 100,000 random steps with each window: sends
// of any size, ends of any kind and late, and a clock that goes on, jumps ahead and
// is set back.
func TestALimiterAgreesWithAnOracle(t *testing.T) {
	steps := 100_000
	if testing.Short() {
		steps = 10_000
	}
	for _, per := range []limit.Window{limit.Minute, limit.Day, limit.Month} {
		schedule(t, per, rand.New(rand.NewPCG(1, uint64(per))), steps)
	}
}

func FuzzALimiterAgreesWithAnOracle(f *testing.F) {
	f.Add(uint64(1), uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, per uint8) {
		schedule(t, limit.Window(per%3)+limit.Minute, rand.New(rand.NewPCG(seed, 2)), 500)
	})
}

type pending struct {
	r *limit.Reservation
	u *use
}

func schedule(t *testing.T, per limit.Window, rnd *rand.Rand, steps int) {
	t.Helper()
	const most = 1000
	c := at(t, "2026-03-31 12:00:00", time.UTC)
	o := &oracle{per: per, most: most, now: c.Now()}
	l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }), limit.Limit{Tokens: most, Per: per})
	var open []pending
	for i := range steps {
		c.add(jump(per, rnd))
		o.tick(c.Now())
		if n := len(open); n > 0 && rnd.IntN(2) == 0 {
			j := rnd.IntN(n)
			p := open[j]
			open[j] = open[n-1]
			open = open[:n-1]
			n := p.u.n
			switch rnd.IntN(4) {
			case 0:
				p.r.Keep()
			case 1:
				p.r.Release()
				o.settle(p.u, 0)
			default:
				n = rnd.Int64N(n*5/4 + 1)
				p.r.Settle(limit.Tokens{Input: n})
				o.settle(p.u, n)
			}
		} else {
			n := rnd.Int64N(most/5) + 1
			u := o.reserve(n)
			r, err := reserve(l, limit.Send{Input: n})
			if (err == nil) != (u != nil) {
				t.Fatalf("step %d, window %d, %v: %d tokens: %v; the oracle has %d of %d", i, per, c.Now(), n, err, o.used(), most)
			}
			if e := (*limit.Error)(nil); errors.As(err, &e) && !e.Reset.After(c.Now()) {
				t.Fatalf("step %d, window %d, %v: Reset is %v", i, per, c.Now(), e.Reset)
			}
			if u != nil {
				open = append(open, pending{r, u})
			}
		}
		if got, want := used(t, l, ""), o.used(); got != want {
			t.Fatalf("step %d, window %d, %v: %d are used, the oracle has %d", i, per, c.Now(), got, want)
		}
	}
}

// jump returns how far the clock goes between two steps.
func jump(per limit.Window, rnd *rand.Rand) time.Duration {
	unit := map[limit.Window]time.Duration{limit.Minute: time.Minute, limit.Day: 24 * time.Hour, limit.Month: 31 * 24 * time.Hour}[per]
	switch n := rnd.IntN(1000); {
	case n < 500:
		return 0
	case n < 980:
		return time.Duration(rnd.Int64N(int64(unit / 20)))
	case n < 995:
		return time.Duration(rnd.Int64N(int64(3 * unit)))
	default:
		// A clock that is set back by less than two seconds stands still.
		return -2*time.Second - time.Duration(rnd.Int64N(int64(unit)))
	}
}
