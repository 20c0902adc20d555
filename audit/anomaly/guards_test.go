package anomaly_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/audit/anomaly"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

func named(source, tenant, model string) func(*middleware.Send) {
	return func(s *middleware.Send) { s.Credential.Source, s.Credential.Tenant, s.Model = source, tenant, model }
}

func TestWhatHasNoTimeIsNotLookedAt(t *testing.T) {
	b := newBench(t, nil)
	b.event(credential.EventExpiring, "v1", time.Time{})
	b.wants("an event without a time")
}

func TestARecordThatComesLateDoesNotSetTheClockBack(t *testing.T) {
	b := newBench(t, nil)
	b.event(credential.EventExpiring, "v1", on(1, 12*time.Hour))
	b.event(credential.EventExpiring, "v1", on(1, 0))
	*b.told = nil
	b.event(credential.EventExpiring, "v1", on(2, 6*time.Hour)) // 18 hours after the first one
	b.wants("the same cause")
}

func TestA401IsARefusalWhoeverIsToBlame(t *testing.T) {
	b := newBench(t, nil)
	for range 10 {
		b.send(monday, "", func(s *middleware.Send) { s.Status = 401 })
	}
	b.send(monday.Add(time.Minute), "")
	b.wants("ten of them", anomaly.Refusals)
}

func TestNamesForWhichThereIsNoRoomAreToldAsOne(t *testing.T) {
	b := newBench(t, nil)
	for i := range 1000 {
		b.send(monday, "v1", named(source, "", fmt.Sprint("m", i)))
	}
	for i := range 3 {
		b.send(on(8, 0), "v1", named(source, "", fmt.Sprint("new", i)))
	}
	if len(*b.told) == 1 && !strings.Contains((*b.told)[0].Text, "more than 1000 names of a model") {
		t.Errorf("%+v", (*b.told)[0])
	}
	b.wants("three further ones", anomaly.NewName)
}

func TestTenantsForWhichThereIsNoRoomAreWatchedAsOne(t *testing.T) {
	b := newBench(t, func(o *anomaly.Options) { o.RateFloor = 1000 })
	for i := range 1000 {
		b.send(monday, "v1", named(source, fmt.Sprint("t", i), "m"))
	}
	for h := 1; h < 200; h++ {
		b.send(monday.Add(time.Duration(h)*time.Hour), "v1", named(source, fmt.Sprint("x", h), "m"))
	}
	*b.told = nil // the tenants are new
	for i := range 20 {
		b.send(monday.Add(200*time.Hour), "v1", named(source, fmt.Sprint("y", i), "m"))
	}
	if len(*b.told) == 1 && (*b.told)[0].Tenant != "(other)" {
		t.Errorf("%+v", (*b.told)[0])
	}
	b.wants("many of them at once", anomaly.Rate)
}

func TestOnlyWhatIsNotUsedMakesRoom(t *testing.T) {
	b := newBench(t, nil)
	b.event(credential.EventLoaded, "v1", monday)
	b.event(credential.EventRotated, "v2", monday.Add(time.Hour))
	for i := range 999 {
		b.send(monday, "v1", named(fmt.Sprint("s", i), "", fmt.Sprint("m", i)))
	}
	for day := range 40 {
		b.send(on(day, 2*time.Hour), "v2")
	}
	b.wants("40 days")
	b.send(on(40, 0), "v1", named("another", "", "another"))
	if len(*b.told) == 1 && !strings.Contains((*b.told)[0].Text, `"another" was never used`) {
		t.Errorf("%+v", (*b.told)[0])
	}
	b.wants("room for another model", anomaly.NewName)
	b.send(on(40, time.Hour), "v1")
	b.wants("the model and the source are known", anomaly.OldVersion)
}

func TestVersionsThatAreTimesCountAsRotations(t *testing.T) {
	b := newBench(t, func(o *anomaly.Options) { o.RotateEvery = time.Hour })
	for _, after := range []time.Duration{0, 5 * time.Minute} {
		b.send(monday.Add(after), monday.Add(after).Format(time.RFC3339))
	}
	b.send(monday.Add(70*time.Minute), monday.Add(5*time.Minute).Format(time.RFC3339))
	b.wants("65 minutes after the second")
}

func TestAVersionStaysReplacedSinceTheFirstTime(t *testing.T) {
	b := newBench(t, nil)
	for i, version := range []string{"v1", "v2", "v3"} {
		b.event(credential.EventRotated, version, monday.Add(time.Duration(i)*time.Hour))
	}
	b.send(monday.Add(2*time.Hour+5*time.Minute), "v2")
	b.wants("in its overlap")
	b.send(monday.Add(2*time.Hour+5*time.Minute), "v1")
	b.wants("long after", anomaly.OldVersion)
}

func TestAReplacedVersionIsRefusedRightly(t *testing.T) {
	b := newBench(t, nil)
	b.event(credential.EventRotated, "v1", monday)
	b.event(credential.EventRotated, "v2", monday.Add(time.Minute))
	for i := range 5 {
		anomaly.As(b.Watch, fmt.Sprint("p", i))
		b.event(credential.EventRejected, "v1", monday.Add(2*time.Minute))
	}
	b.wants("the end of a rotation")
}

func TestTheVersionInUseIsNotForgotten(t *testing.T) {
	b := newBench(t, nil)
	b.send(monday, "v0")
	for i := range 16 {
		b.send(monday.Add(time.Minute), fmt.Sprint("v", i+1))
	}
	b.send(monday.Add(time.Hour), "v0")
	b.send(monday.Add(2*time.Hour), "v5")
	b.wants("versions that came at about the same time")
}

func TestRefusalsAfterAReplayAreJudged(t *testing.T) {
	line := strings.NewReplacer(`"status":200`, `"status":401,"refused":true`, "T00:", "T01:").Replace(sendLine)
	b := newBench(t, nil)
	if err := b.Replay(strings.NewReader(strings.Repeat(sendLine, 1000) + strings.Repeat(line, 10))); err != nil {
		t.Fatal(err)
	}
	b.wants("the replay", anomaly.Refusals)
	for range 10 {
		b.send(on(3, 0), "v1", named("s", "", ""), refused)
	}
	b.send(on(3, time.Minute), "v1", named("s", "", ""))
	b.wants("as many again", anomaly.Refusals)
}

func TestATenantThatComesBackAfterWeeksIsLearnedAnew(t *testing.T) {
	b := newBench(t, func(o *anomaly.Options) { o.RateFloor = 1000 })
	b.weeks(14, func(time.Time) int { return 1 })
	for range 100 {
		b.send(on(14+40, time.Hour), "v1")
	}
	b.wants("after 40 days")
}

func TestTheHourInWhichATenantBeganIsNotLearned(t *testing.T) {
	b := newBench(t, func(o *anomaly.Options) { o.RateFloor = 1 })
	b.send(monday.Add(59*time.Minute), "v1")
	for range 100 {
		b.send(on(7, 30*time.Minute), "v1")
	}
	b.wants("its end says nothing")
}

// TestSpendIsWhatTheTokensCost reads the cost of one send in the alert about it.
func TestSpendIsWhatTheTokensCost(t *testing.T) {
	prices := map[string]limit.Price{
		"full": {Input: 1, CachedInput: 0.5, CacheWrite: 2, Output: 8, Reasoning: 16}, "plain": {Input: 3, Output: 5},
	}
	all := middleware.Usage{Input: 10e6, CachedInput: 2e6, CacheWrite: 1e6, Output: 4e6, Reasoning: 1e6}
	for name, c := range map[string]struct {
		model string
		usage middleware.Usage
		star  bool
		want  float64
	}{
		"all of it":             {"full", all, false, 7 + 1 + 2 + 24 + 16},
		"plain":                 {"plain-2026-01-01", all, false, 30 + 20},
		"the dearest":           {"unknown", all, false, 21 + 6 + 3 + 24 + 16},
		"that for others":       {"unknown", all, true, 10 + 4},
		"parts that are more":   {"full", middleware.Usage{Input: 1e6, CachedInput: 2e6, Reasoning: 1e6}, false, 0.5},
		"what cannot be at all": {"plain", middleware.Usage{Input: -1e6, CachedInput: -1, Output: 1e6}, false, 5},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(o *anomaly.Options) {
				o.RateFloor, o.Prices = 1e-9, map[string]limit.Price{"full": prices["full"], "plain": prices["plain"]}
				if c.star {
					o.Prices["*"] = limit.Price{Input: 1, Output: 1}
				}
			})
			how := func(s *middleware.Send) { s.Model, s.Usage = c.model, middleware.Usage{} }
			b.send(monday, "v1", how)
			b.send(on(8, 0), "v1", how, func(s *middleware.Send) { s.Usage = c.usage })
			if len(*b.told) == 1 && math.Abs((*b.told)[0].Value-c.want) > 1e-9 {
				t.Errorf("%+v, want %v", (*b.told)[0], c.want)
			}
			b.wants("use after a week without", anomaly.Rate)
		})
	}
}
