package rotation_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
)

// Events tell of all that a run has done to the store and the issuer, of what has
// failed, and of its end, and show no key.
func TestEventsTellOfEachStepAndOfTheEnd(t *testing.T) {
	l := newMemoryLab(t)
	var events []rotation.Event
	l.Options.OnEvent = func(e rotation.Event) { events = append(events, e) }
	told := func() (steps []rotation.Step) {
		for _, e := range events {
			steps = append(steps, e.Step)
			if e.Time.IsZero() || e.Token == "" && e.Step != "end" || (e.Report != nil) != (e.Step == "end") {
				t.Errorf("%+v", e)
			}
			if e.KeyID == "" && !slices.Contains([]rotation.Step{"prepare", "end"}, e.Step) {
				t.Errorf("%s names no key", e.Step)
			}
		}
		if strings.Contains(fmt.Sprintf("%+v", events), "CANARY") {
			t.Error("an event shows a key")
		}
		events = nil
		return steps
	}
	l.MustRun()
	if want := []rotation.Step{"prepare", "issue", "prove", "promote", "end"}; !slices.Equal(told(), want) {
		t.Errorf("not %v", want)
	}
	refusal := errors.New("no")
	l.Service.Refuse(refusal)
	l.Service.Pass(30 * day)
	_, err := l.Run(&rotationtest.Fault{})
	if last := events[len(events)-1]; !errors.Is(err, refusal) || !errors.Is(last.Err, refusal) || !errors.Is(events[1].Err, refusal) || last.Report.Pending == "" {
		t.Errorf("%+v", events)
	}
	events = nil
	l.Service.Refuse(nil)
	l.Service.Pass(6 * time.Minute)
	// The key is made, and its rotator dies before the store has it.
	_, _ = l.Run(&rotationtest.Fault{At: 5})
	events = nil
	l.Service.Pass(2 * time.Hour)
	l.MustRun()
	if steps := told(); !slices.Contains(steps, "revoke") || steps[len(steps)-1] != "end" {
		t.Errorf("%v", steps)
	}
}

// A key that was put into the store by hand has no name at the issuer: the report says
// that it still works.
func TestAKeyThatCannotBeRevokedIsReported(t *testing.T) {
	l := newMemoryLab(t)
	l.MustRun()
	m, ok := l.Store.(*memory)
	if !ok {
		t.Fatal("another store")
	}
	m.state.Current.KeyID, m.state.Current.Token = "", "found"
	l.Service.Pass(30 * day)
	if report := l.MustRun(); report.Unrevoked != "" {
		t.Errorf("%+v", report)
	}
	l.Service.Pass(2 * day)
	if report := l.MustRun(); report.Unrevoked != "found" || report.Previous != "" {
		t.Errorf("%+v", report)
	}
}
