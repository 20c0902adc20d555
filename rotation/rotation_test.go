package rotation_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/file"
)

const day = rotationtest.Day

func TestARotationGoesThroughItsSteps(t *testing.T) {
	l := newLab(t)
	first := l.MustRun()
	if want := []rotation.Step{"prepare", "issue", "prove", "promote"}; !slices.Equal(first.Steps, want) || first.Previous != "" {
		t.Fatalf("%+v", first)
	}
	key := l.Readers("")
	if r := l.MustRun(); len(r.Steps) != 0 || !r.Next.Equal(l.Service.Clock().Add(30*day)) {
		t.Errorf("a run when nothing is due: %+v", r)
	}
	l.Service.Pass(30 * day)
	if r := l.MustRun(); len(r.Steps) != 4 || r.Previous != first.Current || !r.Next.Equal(l.Service.Clock().Add(day)) {
		t.Errorf("%+v", r)
	}
	next := l.Readers(key)
	l.Service.Pass(day - time.Hour)
	l.MustRun()
	l.Readers(key) // used an hour before the overlap ends
	l.Service.Pass(time.Hour)
	if r := l.MustRun(); len(r.Steps) != 0 || !r.Next.After(l.Service.Clock()) {
		t.Errorf("the previous key is still used: %+v", r)
	}
	l.Service.Pass(day)
	if r := l.MustRun(); !slices.Equal(r.Steps, []rotation.Step{"retire"}) || r.Previous != "" {
		t.Errorf("%+v", r)
	}
	if l.Service.Accepts(key) || !l.Service.Accepts(next) || len(l.Service.Alive()) != 1 {
		t.Errorf("alive: %v", l.Service.Alive())
	}
}

// A key that is used without end goes after Longest.
func TestAPreviousKeyThatIsStillUsedIsKeptForSoLongOnly(t *testing.T) {
	l := newLab(t)
	l.MustRun()
	key := l.Readers("")
	l.Service.Pass(30 * day)
	l.MustRun()
	for hour := range 24 * 7 {
		if !l.Service.Accepts(key) {
			t.Fatalf("revoked after %d hours", hour)
		}
		l.Service.Pass(time.Hour)
		l.MustRun()
	}
	if l.Service.Accepts(key) {
		t.Error("it is still accepted after Longest")
	}
}

func TestALeakedKeyIsReplacedAtOnce(t *testing.T) {
	l := newLab(t)
	l.MustRun()
	leaked := l.Readers("")
	report, err := l.Rotator(&rotationtest.Fault{}).Now(t.Context())
	if err != nil || len(report.Steps) != 4 {
		t.Fatalf("%+v, %v", report, err)
	}
	l.Readers(leaked)
	for l.Service.Accepts(leaked) {
		l.Service.Pass(time.Minute)
		l.MustRun()
		if l.Service.Clock().Sub(rotationtest.NewService().Clock()) > 10*time.Minute {
			t.Fatal("the leaked key lives longer than twice the readers' TTL")
		}
	}
	// The next rotation is an ordinary one.
	l.Service.Pass(30 * day)
	key := l.Readers("")
	l.MustRun()
	l.Service.Pass(time.Hour)
	l.MustRun()
	l.Readers(key)
}

// Every pair of crashes, in two rotations that follow each other: each remote call
// loses its request or its answer, and the rotator is dead. Run again, it ends with
// one current key that works, at most one previous one, and no key beside them; no
// reader has had a key that does not work.
func TestARotationCanBeKilledAnywhereAndRunAgain(t *testing.T) {
	calls := rotationtest.Crashes(t, newMemoryLab)
	if calls < 11 {
		t.Fatalf("%d calls", calls)
	}
	for first := range 2*calls + 1 {
		rotationtest.Crash(newLab(t), rotationtest.Fault{At: (first + 1) / 2, Answer: first%2 == 0}, rotationtest.Fault{})
	}
}

// Many rotators at once make one rotation.
func TestTwoRotatorsMakeOneRotation(t *testing.T) {
	for round := range 50 {
		l := newLab(t)
		l.MustRun()
		l.Service.Pass(30 * day)
		var wg sync.WaitGroup
		var mu sync.Mutex
		promoted, conflicts := 0, 0
		for range 4 {
			wg.Go(func() {
				report, err := l.Run(&rotationtest.Fault{})
				mu.Lock()
				defer mu.Unlock()
				if slices.Contains(report.Steps, "promote") {
					promoted++
				}
				if errors.Is(err, rotation.ErrConflict) {
					conflicts++
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		l.MustRun()
		l.Service.Pass(3 * day)
		l.MustRun()
		if alive := l.Service.Alive(); promoted > 1 || len(alive) != 1 {
			t.Fatalf("round %d: %d rotations, %d conflicts, alive: %v", round, promoted, conflicts, alive)
		}
		l.Readers("")
	}
}

// A new key that is accepted late is waited for, over several runs, and is not
// promoted before.
func TestAKeyIsProvedBeforeReadersSeeIt(t *testing.T) {
	l := newLab(t)
	l.MustRun()
	key := l.Readers("")
	l.Service.Pass(30 * day)
	l.Service.Lag(time.Minute, 0)
	for range 5 {
		report, err := l.Run(&rotationtest.Fault{})
		if !errors.Is(err, rotation.ErrNotAccepted) || report.Pending == "" {
			t.Fatalf("%+v, %v", report, err)
		}
		if now := l.Readers(""); now != key {
			t.Fatal("readers have a key that is not proved")
		}
		l.Service.Pass(10 * time.Second)
	}
	l.Service.Pass(10 * time.Second)
	if report := l.MustRun(); report.Pending != "" || l.Readers(key) == key || len(l.Service.Alive()) != 2 {
		t.Errorf("%+v, alive %v", report, l.Service.Alive())
	}
}

// A pending key that somebody has revoked is given up, and another one is made.
func TestAPendingKeyThatIsGoneIsGivenUp(t *testing.T) {
	l := newLab(t)
	l.MustRun()
	l.Service.Pass(30 * day)
	l.Service.Lag(time.Hour, 0)
	if _, err := l.Run(&rotationtest.Fault{}); !errors.Is(err, rotation.ErrNotAccepted) {
		t.Fatal(err)
	}
	state, err := l.Store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Service.Revoke(t.Context(), state.Pending.KeyID)
	l.Service.Lag(0, 0)
	if _, err := l.Run(&rotationtest.Fault{}); !errors.Is(err, rotation.ErrNotAccepted) {
		t.Fatal(err)
	}
	if report := l.MustRun(); report.Current == state.Current.Token {
		t.Errorf("%+v", report)
	}
	l.Readers("")
}

// The last key that works is never revoked.
func TestThePreviousKeyStaysWhileTheCurrentOneFails(t *testing.T) {
	l := newLab(t)
	l.MustRun()
	key := l.Readers("")
	l.Service.Pass(30 * day)
	l.MustRun()
	state, err := l.Store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Service.Revoke(t.Context(), state.Current.KeyID) // by mistake
	l.Service.Pass(3 * day)
	if _, err := l.Run(&rotationtest.Fault{}); !errors.Is(err, rotation.ErrNotAccepted) {
		t.Errorf("%v, want ErrNotAccepted", err)
	}
	if !l.Service.Accepts(key) {
		t.Error("the last key that works was revoked")
	}
}

func TestKeysOfOthersAreLeftAlone(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"", "by hand", "other/token", "latchkey", "latchkeys/x"} {
		if _, err := l.Service.Issue(t.Context(), rotation.Version{Token: name}, nil, l.Service.Clock().Add(1000*day)); err != nil {
			t.Fatal(err)
		}
	}
	orphan, err := l.Service.Issue(t.Context(), rotation.Version{Token: "latchkey/lost"}, nil, l.Service.Clock().Add(1000*day))
	if err != nil {
		t.Fatal(err)
	}
	l.MustRun()
	if !l.Service.Accepts(orphan.Secret.Reveal()) {
		t.Error("a key that may just be on its way was revoked")
	}
	l.Service.Pass(2 * time.Hour)
	if report := l.MustRun(); report.Orphans != 1 || l.Service.Accepts(orphan.Secret.Reveal()) || len(l.Service.Alive()) != 6 {
		t.Errorf("%+v, alive %v", report, l.Service.Alive())
	}
}

// Every key ends by itself, so that one that nobody finds does.
func TestEveryKeyHasAnExpiry(t *testing.T) {
	l := newLab(t)
	l.MustRun()
	state, err := l.Store.Load(t.Context())
	if err != nil || !state.Current.Expires.Equal(l.Service.Clock().Add((30+7+7)*day)) {
		t.Errorf("%v, %v", state.Current, err)
	}
}

func TestPlanChangesNothing(t *testing.T) {
	l := newLab(t)
	step, _, err := l.Rotator(&rotationtest.Fault{}).Plan(t.Context())
	if err != nil || step != "prepare" {
		t.Fatalf("%s, %v", step, err)
	}
	l.MustRun()
	if step, at, err := l.Rotator(&rotationtest.Fault{}).Plan(t.Context()); err != nil || step != "wait" || !at.Equal(l.Service.Clock().Add(30*day)) {
		t.Errorf("%s at %v, %v", step, at, err)
	}
	if len(l.Service.Alive()) != 1 {
		t.Error("a plan has made a key")
	}
}

func TestOptionsThatLoseCallsAreRefused(t *testing.T) {
	l := newLab(t)
	for name, o := range map[string]rotation.Options{
		"overlap":  {Overlap: 5 * time.Minute, ReadersTTL: 5 * time.Minute},
		"every":    {Every: time.Hour},
		"longest":  {Longest: time.Hour},
		"negative": {ProveFor: -1},
		"name":     {Name: "a/b"},
	} {
		if r, err := rotation.New(l.Service, l.Store, &o); err == nil || r != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := rotation.New(nil, l.Store, nil); err == nil {
		t.Error("no issuer: accepted")
	}
}

func TestAnIssuerThatRefusesChangesNothingForReaders(t *testing.T) {
	l := newLab(t)
	l.MustRun()
	key := l.Readers("")
	l.Service.Pass(30 * day)
	l.Service.Refuse(errors.New("the policy demands a shorter life"))
	if _, err := l.Run(&rotationtest.Fault{}); err == nil || !strings.Contains(err.Error(), "policy") {
		t.Errorf("%v", err)
	}
	if now := l.Readers(""); now != key {
		t.Error("readers have another key")
	}
	l.Service.Refuse(nil)
	l.MustRun()
	l.Readers(key)
}

func TestTheFileOfReadersIsTheirsAlone(t *testing.T) {
	l := newLab(t)
	l.MustRun()
	store, ok := l.Store.(*file.Store)
	if !ok {
		t.Fatal("another store")
	}
	about, err := os.Stat(store.Key())
	if err != nil || about.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", about, err)
	}
}
