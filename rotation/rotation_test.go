package rotation_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/file"
)

const day = 24 * time.Hour

func TestARotationGoesThroughItsSteps(t *testing.T) {
	l := newLab(t)
	first := l.mustRun()
	if want := []rotation.Step{"prepare", "issue", "prove", "promote"}; !slices.Equal(first.Steps, want) || first.Previous != "" {
		t.Fatalf("%+v", first)
	}
	key := l.readers("")
	if r := l.mustRun(); len(r.Steps) != 0 || !r.Next.Equal(l.service.clock().Add(30*day)) {
		t.Errorf("a run when nothing is due: %+v", r)
	}
	l.service.pass(30 * day)
	if r := l.mustRun(); len(r.Steps) != 4 || r.Previous != first.Current || !r.Next.Equal(l.service.clock().Add(day)) {
		t.Errorf("%+v", r)
	}
	next := l.readers(key)
	l.service.pass(day - time.Hour)
	l.mustRun()
	l.readers(key) // used an hour before the overlap ends
	l.service.pass(time.Hour)
	if r := l.mustRun(); len(r.Steps) != 0 || !r.Next.After(l.service.clock()) {
		t.Errorf("the previous key is still used: %+v", r)
	}
	l.service.pass(day)
	if r := l.mustRun(); !slices.Equal(r.Steps, []rotation.Step{"retire"}) || r.Previous != "" {
		t.Errorf("%+v", r)
	}
	if l.service.accepts(key) || !l.service.accepts(next) || len(l.service.alive()) != 1 {
		t.Errorf("alive: %v", l.service.alive())
	}
}

// A key that is used without end goes after Longest.
func TestAPreviousKeyThatIsStillUsedIsKeptForSoLongOnly(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	key := l.readers("")
	l.service.pass(30 * day)
	l.mustRun()
	for hour := range 24 * 7 {
		if !l.service.accepts(key) {
			t.Fatalf("revoked after %d hours", hour)
		}
		l.service.pass(time.Hour)
		l.mustRun()
	}
	if l.service.accepts(key) {
		t.Error("it is still accepted after Longest")
	}
}

func TestALeakedKeyIsReplacedAtOnce(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	leaked := l.readers("")
	report, err := l.rotator(&fault{}).Now(t.Context())
	if err != nil || len(report.Steps) != 4 {
		t.Fatalf("%+v, %v", report, err)
	}
	l.readers(leaked)
	for l.service.accepts(leaked) {
		l.service.pass(time.Minute)
		l.mustRun()
		if l.service.clock().Sub(newService().now) > 10*time.Minute {
			t.Fatal("the leaked key lives longer than twice the readers' TTL")
		}
	}
	// The next rotation is an ordinary one.
	l.service.pass(30 * day)
	key := l.readers("")
	l.mustRun()
	l.service.pass(time.Hour)
	l.mustRun()
	l.readers(key)
}

// Every pair of crashes, in two rotations that follow each other: each remote call
// loses its request or its answer, and the rotator is dead. Run again, it ends with
// one current key that works, at most one previous one, and no key beside them; no
// reader has had a key that does not work.
func TestARotationCanBeKilledAnywhereAndRunAgain(t *testing.T) {
	count := func(l *lab) int {
		f := &fault{}
		if _, err := l.run(f); err != nil {
			t.Fatal(err)
		}
		return f.calls
	}
	l := newLab(t)
	calls := count(l)
	l.service.pass(30 * day)
	calls = max(calls, count(l))
	if calls < 11 {
		t.Fatalf("%d calls", calls)
	}
	for first := range 2*calls + 1 {
		for second := range 2*calls + 1 {
			crash(t, newMemoryLab(t), fault{at: (first + 1) / 2, answer: first%2 == 0}, fault{at: (second + 1) / 2, answer: second%2 == 0})
		}
		crash(t, newLab(t), fault{at: (first + 1) / 2, answer: first%2 == 0}, fault{})
	}
}

// crash lets the first run of a rotation, and the one after it, die.
func crash(t *testing.T, l *lab, first, second fault) {
	t.Helper()
	name := fmt.Sprintf("crashes at %d (%t) and %d (%t)", first.at, first.answer, second.at, second.answer)
	l.mustRun()
	key := l.readers("")
	for rotation := range 2 {
		l.service.pass(30 * day)
		for _, f := range []fault{first, second} {
			_, _ = l.run(&f)
			l.readers(key)
			l.service.pass(6 * time.Minute) // a rotator that died has had its time
		}
		l.mustRun()
		next := l.readers(key)
		if next == key {
			t.Fatalf("%s: rotation %d has not taken place", name, rotation)
		}
		l.service.pass(3 * day) // the overlap, and what is not used is gone
		for _, f := range []fault{first, second} {
			_, _ = l.run(&f)
			l.readers("")
			l.service.pass(6 * time.Minute)
		}
		l.service.pass(time.Hour) // orphans
		l.mustRun()
		if alive := l.service.alive(); len(alive) != 1 {
			t.Fatalf("%s: after rotation %d these keys live: %v", name, rotation, alive)
		}
		key = l.readers("")
	}
	if state, err := l.store.Load(t.Context()); err != nil || state.Pending != nil || state.Previous != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// Many rotators at once make one rotation.
func TestTwoRotatorsMakeOneRotation(t *testing.T) {
	for round := range 50 {
		l := newLab(t)
		l.mustRun()
		l.service.pass(30 * day)
		var wg sync.WaitGroup
		var mu sync.Mutex
		promoted, conflicts := 0, 0
		for range 4 {
			wg.Go(func() {
				report, err := l.run(&fault{})
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
		l.mustRun()
		l.service.pass(3 * day)
		l.mustRun()
		if alive := l.service.alive(); promoted > 1 || len(alive) != 1 {
			t.Fatalf("round %d: %d rotations, %d conflicts, alive: %v", round, promoted, conflicts, alive)
		}
		l.readers("")
	}
}

// A new key that is accepted late is waited for, over several runs, and is not
// promoted before.
func TestAKeyIsProvedBeforeReadersSeeIt(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	key := l.readers("")
	l.service.pass(30 * day)
	l.service.lag = time.Minute
	for range 5 {
		report, err := l.run(&fault{})
		if !errors.Is(err, rotation.ErrNotAccepted) || report.Pending == "" {
			t.Fatalf("%+v, %v", report, err)
		}
		if now := l.readers(""); now != key {
			t.Fatal("readers have a key that is not proved")
		}
		l.service.pass(10 * time.Second)
	}
	l.service.pass(10 * time.Second)
	if report := l.mustRun(); report.Pending != "" || l.readers(key) == key || len(l.service.alive()) != 2 {
		t.Errorf("%+v, alive %v", report, l.service.alive())
	}
}

// A pending key that somebody has revoked is given up, and another one is made.
func TestAPendingKeyThatIsGoneIsGivenUp(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	l.service.pass(30 * day)
	l.service.lag = time.Hour
	if _, err := l.run(&fault{}); !errors.Is(err, rotation.ErrNotAccepted) {
		t.Fatal(err)
	}
	state, err := l.store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = l.service.Revoke(t.Context(), state.Pending.KeyID)
	l.service.lag = 0
	if _, err := l.run(&fault{}); !errors.Is(err, rotation.ErrNotAccepted) {
		t.Fatal(err)
	}
	if report := l.mustRun(); report.Current == state.Current.Token {
		t.Errorf("%+v", report)
	}
	l.readers("")
}

// The last key that works is never revoked.
func TestThePreviousKeyStaysWhileTheCurrentOneFails(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	key := l.readers("")
	l.service.pass(30 * day)
	l.mustRun()
	state, err := l.store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = l.service.Revoke(t.Context(), state.Current.KeyID) // by mistake
	l.service.pass(3 * day)
	if _, err := l.run(&fault{}); !errors.Is(err, rotation.ErrNotAccepted) {
		t.Errorf("%v, want ErrNotAccepted", err)
	}
	if !l.service.accepts(key) {
		t.Error("the last key that works was revoked")
	}
}

func TestKeysOfOthersAreLeftAlone(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"", "by hand", "other/token", "latchkey", "latchkeys/x"} {
		if _, err := l.service.Issue(t.Context(), rotation.Version{Token: name}, nil, l.service.clock().Add(1000*day)); err != nil {
			t.Fatal(err)
		}
	}
	orphan, err := l.service.Issue(t.Context(), rotation.Version{Token: "latchkey/lost"}, nil, l.service.clock().Add(1000*day))
	if err != nil {
		t.Fatal(err)
	}
	l.mustRun()
	if !l.service.accepts(orphan.Secret.Reveal()) {
		t.Error("a key that may just be on its way was revoked")
	}
	l.service.pass(2 * time.Hour)
	if report := l.mustRun(); report.Orphans != 1 || l.service.accepts(orphan.Secret.Reveal()) || len(l.service.alive()) != 6 {
		t.Errorf("%+v, alive %v", report, l.service.alive())
	}
}

// Every key ends by itself, so that one that nobody finds does.
func TestEveryKeyHasAnExpiry(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	state, err := l.store.Load(t.Context())
	if err != nil || !state.Current.Expires.Equal(l.service.clock().Add((30+7+7)*day)) {
		t.Errorf("%v, %v", state.Current, err)
	}
}

func TestPlanChangesNothing(t *testing.T) {
	l := newLab(t)
	step, _, err := l.rotator(&fault{}).Plan(t.Context())
	if err != nil || step != "prepare" {
		t.Fatalf("%s, %v", step, err)
	}
	l.mustRun()
	if step, at, err := l.rotator(&fault{}).Plan(t.Context()); err != nil || step != "wait" || !at.Equal(l.service.clock().Add(30*day)) {
		t.Errorf("%s at %v, %v", step, at, err)
	}
	if len(l.service.alive()) != 1 {
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
		if _, err := rotation.New(l.service, l.store, &o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := rotation.New(nil, l.store, nil); err == nil {
		t.Error("no issuer: accepted")
	}
}

func TestAnIssuerThatRefusesChangesNothingForReaders(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	key := l.readers("")
	l.service.pass(30 * day)
	l.service.refuses = errors.New("the policy demands a shorter life")
	if _, err := l.run(&fault{}); err == nil || !strings.Contains(err.Error(), "policy") {
		t.Errorf("%v", err)
	}
	if now := l.readers(""); now != key {
		t.Error("readers have another key")
	}
	l.service.refuses = nil
	l.mustRun()
	l.readers(key)
}

func TestTheFileOfReadersIsTheirsAlone(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	store, ok := l.store.(*file.Store)
	if !ok {
		t.Fatal("another store")
	}
	about, err := os.Stat(store.Key())
	if err != nil || about.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", about, err)
	}
}
