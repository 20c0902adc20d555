package anomaly_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/audit/anomaly"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// weeks sends at each hour of so many days: n times, with a thousand tokens.
func (b *bench) weeks(days int, n func(at time.Time) int) {
	for h := range days * 24 {
		at := monday.Add(time.Duration(h) * time.Hour)
		for range n(at) {
			b.send(at.Add(time.Minute), "v1")
		}
	}
}

func TestRateIsThatOfTheHourOfTheWeek(t *testing.T) {
	const night, noon = 20, 60
	b := newBench(t, func(o *anomaly.Options) { o.RateFloor = 1000 })
	usual := func(at time.Time) int {
		if at.Hour() >= 10 && at.Hour() < 14 {
			return noon
		}
		return night
	}
	b.weeks(14, usual)
	b.wants("two weeks that are alike")
	at := func(h int) time.Time { return on(14, time.Duration(h)*time.Hour) }
	for range 4*night + 1 {
		if b.send(at(4), "v1"); len(*b.told) > 0 {
			break
		}
	}
	if len(*b.told) == 1 {
		if a := (*b.told)[0]; a.Value != 81_000 || a.Norm != 20_000 {
			t.Errorf("%+v", a)
		}
	}
	b.wants("more than four times what is usual", anomaly.Rate)
	for range 4 * noon { // more than a day later
		b.send(at(33), "v1") // the hour before: clocks are changed twice a year
	}
	b.wants("what is usual at noon, an hour too early")
	for range 4 * noon {
		b.send(at(82), "v1")
	}
	b.wants("what is usual at noon")
	b.send(at(82), "v1")
	b.wants("more than that", anomaly.Rate)
}

func TestRateTakesAWeekToLearn(t *testing.T) {
	for days, want := range map[int][]anomaly.Rule{6: nil, 8: {anomaly.Rate}} {
		b := newBench(t, func(o *anomaly.Options) { o.RateFloor = 1000 })
		b.weeks(days, func(time.Time) int { return 10 })
		for range 100 {
			b.send(on(days, time.Minute), "v1")
		}
		b.wants(fmt.Sprint(days, " days"), want...)
	}
}

func TestARunawayDoesNotBecomeUsual(t *testing.T) {
	b := newBench(t, func(o *anomaly.Options) { o.RateFloor = 1000 })
	b.weeks(14, func(time.Time) int { return 10 })
	for range 10_000 {
		b.send(on(14, time.Minute), "v1")
	}
	b.wants("the runaway", anomaly.Rate)
	for d := 15; d < 21; d++ {
		b.send(on(d, 0), "v1")
	}
	for range 200 {
		b.send(on(21, time.Minute), "v1")
	}
	b.wants("a week later", anomaly.Rate)
}

func TestHoursThatDifferMuchAreGivenMoreRoom(t *testing.T) {
	b := newBench(t, func(o *anomaly.Options) { o.RateFloor, o.RateRatio = 1000, 1 })
	n := 0
	b.weeks(42, func(at time.Time) int {
		n = 5
		if int(at.Sub(monday).Hours()/24/7)%2 == 1 {
			n = 30
		}
		return n
	})
	*b.told = nil // six deviations of one week are none
	for range 60 {
		b.send(on(44, time.Minute), "v1")
	}
	b.wants("within six deviations")
}

func TestRateIsOfSpendWherePricesAreGiven(t *testing.T) {
	b := newBench(t, func(o *anomaly.Options) {
		o.Prices = map[string]limit.Price{"gpt-4.1": {Input: 1000, Output: 1000}, "gpt-4.1-mini": {Input: 1, Output: 1}}
	})
	b.weeks(8, func(time.Time) int { return 1 }) // of 1 each
	model := func(name string) func(*middleware.Send) { return func(s *middleware.Send) { s.Model = name } }
	for range 1000 {
		b.send(on(8, time.Minute), "v1", model("gpt-4.1-mini-2026-01-01"))
	}
	b.wants("a thousand sends of a cheap model, which is new", anomaly.NewName)
	for range 4 {
		b.send(on(8, 2*time.Minute), "v1", model("no-price"))
	}
	if len(*b.told) == 2 {
		if a := (*b.told)[1]; a.Norm != 1 || a.Value < 4 || a.Value > 5.1 || !strings.Contains(a.Text, "has spent ") {
			t.Errorf("%+v", a)
		}
	}
	b.wants("five times what is usual, at the dearest price", anomaly.NewName, anomaly.Rate)
}

func TestWhatIsNewAfterTheWeekOfLearningIsTold(t *testing.T) {
	b := newBench(t, nil)
	other := func(model, endpoint, tenant string, status int) func(*middleware.Send) {
		return func(s *middleware.Send) {
			s.Model, s.Endpoint, s.Credential.Tenant, s.Status = model, endpoint, tenant, status
		}
	}
	b.send(monday, "v1")
	b.send(on(6, 0), "v1", other("m1", "east", "acme", 200))
	b.wants("while it learns")
	b.send(on(7, time.Minute), "v1", other("m2", "east", "acme", 404))
	b.wants("a model that does not exist")
	b.send(on(7, 2*time.Minute), "v1", other("m2", "east", "acme", 200))
	b.wants("a model", anomaly.NewName)
	b.send(on(7, 3*time.Minute), "v1", other("m2", "west", "acme", 200))
	b.wants("an endpoint", anomaly.NewName)
	b.send(on(7, 4*time.Minute), "v1", other("m2", "west", "evil", 500))
	b.wants("a tenant that has not succeeded")
	b.send(on(7, 5*time.Minute), "v1", other("m2", "west", "evil", 200))
	b.wants("a tenant", anomaly.NewName)
	b.send(on(9, 0), "v1", other("m2", "west", "evil", 200))
	b.wants("what was told is known")
}

func TestAnHourIsUnusualIfNobodyHasEverSentInIt(t *testing.T) {
	office := func(at time.Time) int {
		if at.Hour() >= 8 && at.Hour() <= 17 {
			return 1
		}
		return 0
	}
	night := func(b *bench, day, h, n int) {
		for range n {
			b.send(on(day, time.Duration(h)*time.Hour), "v1")
		}
	}
	b := newBench(t, nil)
	b.weeks(13, office)
	night(b, 13, 2, 20)
	b.wants("before two weeks are learned")

	b = newBench(t, nil)
	b.weeks(15, office)
	night(b, 15, 18, 20)
	b.wants("the hour after work")
	night(b, 16, 1, 19)
	b.wants("a few sends")
	night(b, 16, 2, 20)
	b.wants("many, after a few in the hour before", anomaly.UnusualHour)
	night(b, 16, 3, 20)
	b.wants("the same night")
	night(b, 23, 2, 20)
	b.wants("a week later it is known")
}
