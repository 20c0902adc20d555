package anomaly_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/audit/anomaly"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// A bench is a Watch and shorthand for what is given to it.
type bench struct {
	*testing.T
	*anomaly.Watch
	told *[]anomaly.Alert
}

func newBench(t *testing.T, change func(*anomaly.Options)) *bench {
	w, told := watch(t, change)
	return &bench{t, w, told}
}

// send is a send that succeeds; change may make another one of it.
func (b *bench) send(at time.Time, version string, change ...func(*middleware.Send)) {
	b.Helper()
	s := &middleware.Send{
		Status: 200, Model: "gpt-4.1", Host: "api.openai.com", Started: at, Ended: at.Add(time.Second),
		Credential: middleware.Identity{Source: source, Version: version}, Usage: middleware.Usage{Reported: true, Input: 800, Output: 200},
	}
	for _, f := range change {
		f(s)
	}
	b.Observe(b.Context(), s)
}

func (b *bench) event(kind credential.EventKind, version string, at time.Time) {
	b.OnEvent(credential.Event{Kind: kind, Time: at, Source: source, Version: version})
}

// wants checks which rules have told something since it was last called.
func (b *bench) wants(what string, rules ...anomaly.Rule) {
	b.Helper()
	var got []anomaly.Rule
	for _, a := range *b.told {
		got = append(got, a.Rule)
	}
	if fmt.Sprint(got) != fmt.Sprint(rules) {
		b.Errorf("%s: told %v, want %v\n%s", what, got, rules, list(*b.told))
	}
	*b.told = nil
}

func refused(s *middleware.Send) {
	s.Status, s.Credential.Refused, s.Usage = 401, true, middleware.Usage{}
}

func TestAVersionIsOldWhenTheOverlapAfterItsReplacementIsOver(t *testing.T) {
	b := newBench(t, nil)
	at := monday
	b.event(credential.EventLoaded, "v1", at)
	b.send(at.Add(time.Hour), "v1")
	rotated := at.Add(2 * time.Hour)
	b.event(credential.EventRotated, "v2", rotated)
	b.send(rotated.Add(10*time.Minute), "v1")
	b.send(rotated.Add(10*time.Minute), "v2")
	b.send(rotated.Add(9*time.Minute), "v1", func(s *middleware.Send) { s.Ended = rotated.Add(time.Hour) })
	b.wants("the overlap")
	b.send(rotated.Add(time.Hour), "v1")
	b.send(rotated.Add(2*time.Hour), "v1")
	if len(*b.told) > 0 {
		if a := (*b.told)[0]; a.Version != "v1" || a.Source != source || a.Value != 60 || a.Norm != 10 || !a.Time.Equal(rotated.Add(time.Hour+time.Second)) || a.Model != "gpt-4.1" || a.Endpoint != "api.openai.com" {
			t.Errorf("%+v", a)
		}
	}
	b.wants("after it", anomaly.OldVersion)
	b.event(credential.EventPromoted, "v1", rotated.Add(3*time.Hour))
	b.send(rotated.Add(40*time.Hour), "v1")
	b.wants("a rotation that was taken back")
	b.send(rotated.Add(40*time.Hour), "v2")
	b.wants("the other one", anomaly.OldVersion)
}

func TestAVersionThatComesIntoUseReplacesTheOneBefore(t *testing.T) {
	b := newBench(t, nil)
	b.send(monday, "v1")
	b.send(monday.Add(time.Minute), "v2") // who knows which one is newer
	b.send(monday.Add(time.Hour), "v1")
	b.send(monday.Add(time.Hour), "v2")
	b.wants("a log that begins in the middle of a rotation")
	b.send(monday.Add(2*time.Hour), "v3")
	b.send(monday.Add(3*time.Hour), "v3")
	b.wants("another version")
	b.send(monday.Add(3*time.Hour), "v1")
	b.send(monday.Add(3*time.Hour), "v2")
	b.wants("both that were before", anomaly.OldVersion, anomaly.OldVersion)
}

func TestAVersionThatIsATimeIsOfOneProcessAndNeverOld(t *testing.T) {
	b := newBench(t, nil)
	for i := range 100 {
		at := monday.Add(time.Duration(i) * time.Hour)
		anomaly.As(b.Watch, fmt.Sprint("p", i%2))
		b.send(at, monday.Add(time.Duration(i%2)*time.Second).Format(time.RFC3339Nano))
	}
	b.wants("two processes with a token each")
}

func TestAGatewaysKeyIsWatchedAsTheCredentialIs(t *testing.T) {
	b := newBench(t, nil)
	with := func(version string) func(*middleware.Send) {
		return func(s *middleware.Send) { s.Gateway = middleware.Identity{Source: "vault:apim", Version: version} }
	}
	b.send(monday, "v1", with("g1"))
	b.send(monday.Add(time.Hour), "v1", with("g2"))
	b.send(monday.Add(2*time.Hour), "v1", with("g1"))
	if len(*b.told) == 1 && (*b.told)[0].Source != "vault:apim" {
		t.Errorf("%+v", (*b.told)[0])
	}
	b.wants("an old key of the gateway", anomaly.OldVersion)
	// The gateway answers 401 because of its own key.
	for i := range 3 {
		anomaly.As(b.Watch, fmt.Sprint("p", i))
		b.send(monday.Add(2*time.Hour), "v1", refused, with("g2"), func(s *middleware.Send) { s.Credential.Refused, s.Gateway.Refused = false, true })
	}
	if len(*b.told) == 1 && (*b.told)[0].Source != "vault:apim" {
		t.Errorf("%+v", (*b.told)[0])
	}
	b.wants("refused by the gateway", anomaly.RefusedWidely)
}

func TestAVersionRefusedInThreeProcessesIsOneAlert(t *testing.T) {
	b := newBench(t, nil)
	in := func(process string, after time.Duration, version string) {
		anomaly.As(b.Watch, process)
		b.send(monday.Add(after), version, refused)
	}
	in("a", 0, "v1")
	in("b", time.Minute, "v1")
	in("b", 2*time.Minute, "v1")
	in("c", 2*time.Minute, "v2")
	in("c", 6*time.Minute, "v1")
	b.wants("two in five minutes, three in six")
	in("d", 6*time.Minute, "v1")
	in("e", 6*time.Minute, "v1")
	b.wants("b, c and d", anomaly.RefusedWidely)

	b = newBench(t, func(o *anomaly.Options) { o.Processes = 2 })
	in("a", 0, "v1")
	anomaly.As(b.Watch, "b")
	b.event(credential.EventRejected, "v1", monday)
	b.wants("an event counts as a send does", anomaly.RefusedWidely)
	b.event(credential.EventRotated, "v2", monday.Add(time.Hour))
	in("a", time.Hour, "v1")
	in("b", time.Hour, "v1")
	b.wants("the end of a rotation")
}

func TestRefusalsAreJudgedByNumberByShareAndByWhatIsUsual(t *testing.T) {
	for name, c := range map[string]struct {
		bad, good int // in the bad minute
		usual     int // of a hundred sends
		want      []anomaly.Rule
	}{
		"nine":                     {bad: 9},
		"ten":                      {bad: 10, want: []anomaly.Rule{anomaly.Refusals}},
		"a twentieth":              {bad: 10, good: 190},
		"more than a twentieth":    {bad: 11, good: 189, want: []anomaly.Rule{anomaly.Refusals}},
		"five times what is usual": {bad: 98, good: 102, usual: 10},
		"more than what is usual":  {bad: 190, good: 10, usual: 10, want: []anomaly.Rule{anomaly.Refusals}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			for i := range 100 {
				var how []func(*middleware.Send)
				if i < c.usual {
					how = append(how, refused)
				}
				b.send(monday.Add(time.Duration(i/10)*10*time.Minute), "v1", how...)
			}
			*b.told = nil // where a tenth is usual, the first hundred sends were not yet
			bad := monday.Add(3 * time.Hour * 24)
			for range c.bad {
				b.send(bad, "v1", refused)
			}
			for range c.good {
				b.send(bad, "v1")
			}
			b.wants("before the minute is over")
			b.send(bad.Add(time.Minute), "v1")
			b.wants("after it", c.want...)
		})
	}
}

func TestRefusalsThatARotationCuresAreNoAlert(t *testing.T) {
	b := newBench(t, nil)
	b.send(monday, "v1")
	at := monday.Add(time.Hour)
	for range 50 {
		b.send(at, "v1", refused)
	}
	b.event(credential.EventRotated, "v2", at.Add(2*time.Second))
	for range 50 {
		b.send(at, "v1", refused) // they were on the way
	}
	b.send(at.Add(time.Minute), "v2")
	b.wants("a key that was revoked when the next one was there")
}

func TestAnExpiringCredentialIsToldOnce(t *testing.T) {
	b := newBench(t, nil)
	b.OnEvent(credential.Event{Kind: credential.EventExpiring, Time: monday, Source: source, Version: "v1", Expires: on(1, 0)})
	b.event(credential.EventExpiring, "v1", monday.Add(time.Hour))
	if len(*b.told) == 1 && (*b.told)[0].Value != 24 {
		t.Errorf("%+v", (*b.told)[0])
	}
	b.wants("two events", anomaly.Expiring)
}

func TestASourceIsLateWhenItWasNotRotatedInTime(t *testing.T) {
	daily := func(o *anomaly.Options) { o.RotateEvery = 24 * time.Hour }
	for _, version := range []string{"v1", ""} {
		b := newBench(t, daily)
		b.send(monday, version)
		b.send(monday.Add(26*time.Hour), version)
		b.wants("in time")
		b.send(monday.Add(27*time.Hour), version)
		b.wants("late", anomaly.Late)
		next := version
		if version != "" {
			next = "v2"
		}
		b.event(credential.EventRotated, next, monday.Add(28*time.Hour))
		b.send(monday.Add(53*time.Hour), next)
		b.wants("rotated")
		b.event(credential.EventLoaded, next, monday.Add(81*time.Hour))
		b.wants("late again", anomaly.Late)
	}
	b := newBench(t, nil)
	b.send(monday, "v1")
	b.send(on(1000, 0), "v1", func(s *middleware.Send) { s.Status = 500 })
	b.wants("nobody has said how often")
}

func TestACauseIsToldAgainAfterADayWithoutIt(t *testing.T) {
	b := newBench(t, nil)
	b.send(monday, "v1")
	b.event(credential.EventRotated, "v2", monday.Add(time.Hour))
	for i := range 10 {
		b.send(on(1, time.Duration(i)*20*time.Hour), "v1")
	}
	b.wants("a week with it", anomaly.OldVersion)
	b.send(on(9, 0), "v2")
	b.send(on(10, 12*time.Hour), "v1")
	b.wants("after a pause", anomaly.OldVersion)
}

func TestTheLoggerGetsEachAlert(t *testing.T) {
	var out bytes.Buffer
	w, err := anomaly.New(&anomaly.Options{Logger: slog.New(slog.NewJSONHandler(&out, nil)), Process: "web-1"})
	if err != nil {
		t.Fatal(err)
	}
	w.OnEvent(credential.Event{Kind: credential.EventExpiring, Time: monday, Tenant: "acme", Source: source, Version: "v\n1"})
	for _, want := range []string{`"level":"WARN"`, `"rule":"expiring"`, `"tenant":"acme"`, `"source":"` + source + `"`, `"version":"v\n1"`, `"process":"web-1"`, `"at":"2026-06-01T00:00:00Z"`, `version \"v\\n1\" of`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "model") {
		t.Errorf("what does not apply is there: %s", out.String())
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	nobody := func(anomaly.Alert) {}
	for name, opts := range map[string]*anomaly.Options{
		"nil": nil, "nobody is told": {}, "Overlap": {OnAlert: nobody, Overlap: -1}, "Processes 1": {OnAlert: nobody, Processes: 1},
		"Processes 17": {OnAlert: nobody, Processes: 17}, "Refusals": {OnAlert: nobody, Refusals: -1}, "RateRatio": {OnAlert: nobody, RateRatio: 0.5},
		"RateFloor": {OnAlert: nobody, RateFloor: math.NaN()}, "RateDeviations": {OnAlert: nobody, RateDeviations: math.Inf(1)}, "Learn": {OnAlert: nobody, Learn: -1},
		"UnusualSends": {OnAlert: nobody, UnusualSends: -1}, "RotateEvery": {OnAlert: nobody, RotateEvery: -1},
		"Prices": {OnAlert: nobody, Prices: map[string]limit.Price{"m": {Input: -1}}},
	} {
		if w, err := anomaly.New(opts); err == nil || w != nil || !strings.HasPrefix(err.Error(), "anomaly: ") {
			t.Errorf("%s: %v, %v", name, w, err)
		}
	}
	if _, err := anomaly.New(&anomaly.Options{OnAlert: nobody}); err != nil {
		t.Error(err)
	}
}
