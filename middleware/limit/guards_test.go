package limit_test

import (
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

// A price in dollars has no exact binary fraction, and is not one more for that.
func TestAPriceIsWhatItSays(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	for dollars, want := range map[float64]int64{0.067: 67000000, 0.14: 140_000_000, 0.55: 550_000_000, 2.5: 2_500_000_000, 1e-9: 1, 1.1e-9: 2} {
		l := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Prices = c.Now, map[string]limit.Price{"*": {Input: dollars}} }),
			limit.Limit{Name: "cost", Cost: 1000, Per: limit.Day})
		if try(t, l, limit.Send{Input: 1_000_000}) == nil {
			t.Fatalf("%v: refused", dollars)
		}
		if got := used(t, l, "cost"); got != want {
			t.Errorf("%v: a million tokens are %d, want %d", dollars, got, want)
		}
	}
}

// A cost that no number can hold is the highest there is, and not a negative one.
func TestACostBeyondAllNumbersIsRefused(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	for _, tokens := range []int64{9_000_000, 9_300_000, 10_000_000, 18_000_000, 20_000_000, 1 << 62} {
		l := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Prices = c.Now, map[string]limit.Price{"*": {Input: 1e9}} }),
			limit.Limit{Name: "cost", Cost: 1000, Per: limit.Day})
		refused(t, l, limit.Send{Input: tokens})
		if got := used(t, l, "cost"); got != 0 {
			t.Errorf("%d tokens: %d is used", tokens, got)
		}
	}
}

func TestARefusalOfTheCounterNamesTheCountThatIsFull(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Counter = c.Now, f }),
		limit.Limit{Name: "wide", Requests: 100, Tokens: 1000, Per: limit.Day}, limit.Limit{Name: "narrow", Requests: 100, Tokens: 20, Per: limit.Day})
	other := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Counter = c.Now, f }), limit.Limit{Name: "narrow", Requests: 100, Tokens: 20, Per: limit.Day})
	try(t, other, limit.Send{Input: 10, Output: 5}).Keep()
	if e := refused(t, l, limit.Send{Input: 10, Output: 5}); e.Limit != "narrow" || e.What != "tokens" {
		t.Errorf("refused by %s of %q, want the tokens of narrow", e.What, e.Limit)
	}
}

func TestWhatNeverFitsDoesNotReachTheCounter(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	f := newCounter(c)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now, o.Counter = c.Now, f }), limit.Limit{Tokens: 20, Per: limit.Day})
	if e := refused(t, l, limit.Send{Input: 21}); !e.Reset.IsZero() || f.reserves != 0 {
		t.Errorf("Reset is %v, and the counter was asked %d times", e.Reset, f.reserves)
	}
}
