package storm_test

import (
	"context"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/bench/storm"
)

// shortTimes are those of a test. Counts are asserted, never times: only the
// grace has to be longer than any pause of the machine where calls must not
// fail, and over soon where they must.
func shortTimes(m storm.Mode) storm.Times {
	t := storm.Times{
		Answer: 50 * time.Millisecond, Refusal: 5 * time.Millisecond, Read: 10 * time.Millisecond,
		Rotate: 200 * time.Millisecond, Overlap: 200 * time.Millisecond, Gap: 200 * time.Millisecond,
		Grace: 10 * time.Second,
	}
	if m.Name == "dead" {
		t.Grace = 300 * time.Millisecond
	}
	return t
}

func TestStorm(t *testing.T) {
	for _, m := range storm.Modes() {
		for _, c := range storm.Contenders() {
			if !c.Ours {
				continue
			}
			t.Run(m.Name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				r := run(t, m, c)
				if r.ReadsBefore != 1 {
					t.Errorf("%d reads of the store before the rotation, want 1", r.ReadsBefore)
				}
				if r.NewConns != 0 {
					t.Errorf("%d new connections, want none", r.NewConns)
				}
				if m.Heals {
					healed(t, m, r)
				} else {
					wrongForGood(t, r)
				}
			})
		}
	}
}

func run(t *testing.T, m storm.Mode, c storm.Contender) storm.Result {
	t.Helper()
	r, err := storm.Run(context.Background(), storm.Plan{
		Mode: m, Contender: c, Callers: 20, Duration: 1500 * time.Millisecond, Times: shortTimes(m),
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Calls == 0 || r.Denied == 0 {
		t.Fatalf("%d calls, %d of them refused: the rotation missed them", r.Calls, r.Denied)
	}
	return r
}

// healed holds a run to promises P1 and P2.
func healed(t *testing.T, m storm.Mode, r storm.Result) {
	t.Helper()
	if r.Failed != 0 {
		t.Errorf("%d of %d calls failed, first: %s", r.Failed, r.Calls, r.FirstError)
	}
	most := 1
	if m.Name == "lag" || m.Name == "early" {
		most = 10 // the polls of the grace
	}
	if r.ReadsAfter < 1 || r.ReadsAfter > most {
		t.Errorf("%d reads of the store after the rotation, want 1 to %d", r.ReadsAfter, most)
	}
	if r.MostSends > 4 {
		t.Errorf("a call was sent %d times, want at most 4", r.MostSends)
	}
}

// wrongForGood holds a run to promise P3.
func wrongForGood(t *testing.T, r storm.Result) {
	t.Helper()
	if r.ReadsAfter > 10 {
		t.Errorf("%d reads of the store after its key had died, want at most 10", r.ReadsAfter)
	}
	if r.MostSends > 2 {
		t.Errorf("a call was sent %d times, want at most 2", r.MostSends)
	}
	if r.Late.Calls == 0 {
		t.Error("no call began after the grace")
	}
	if r.Late.MostSends > 1 {
		t.Errorf("after the grace a call was sent %d times, want 1", r.Late.MostSends)
	}
}

// TestStormFailsStaticKeys shows that the storm is one.
func TestStormFailsStaticKeys(t *testing.T) {
	t.Parallel()
	for _, c := range storm.Contenders() {
		if c.Name != "openai-go static" {
			continue
		}
		if r := run(t, storm.Modes()[0], c); r.Failed == 0 {
			t.Errorf("none of %d calls failed", r.Calls)
		}
	}
}
