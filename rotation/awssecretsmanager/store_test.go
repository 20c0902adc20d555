package awssecretsmanager_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
)

func TestTheStateComesBackAsItWasStored(t *testing.T) {
	for _, field := range []string{"", "apiKey"} {
		b := newBench(t, field)
		urgent := b.prepared("latchkey/urgent & odd=1")
		urgent.Urgent = true
		b.must(b.store.Stage(t.Context(), b.load(), urgent))
		if s := b.load(); s.Current != nil || s.Previous != nil || !same(s.Pending, &urgent) {
			t.Fatalf("prepared: %+v", s)
		}
		keyed := b.keyed(urgent)
		b.must(b.store.Stage(t.Context(), b.load(), keyed))
		if s := b.load(); s.Current != nil || !same(s.Pending, &keyed) {
			t.Fatalf("issued: %+v", s)
		}
		b.must(b.store.Promote(t.Context(), b.load(), b.Service.Clock()))
		promoted := keyed
		promoted.Promoted = b.Service.Clock()
		if s := b.load(); !same(s.Current, &promoted) || s.Pending != nil || s.Previous != nil {
			t.Fatalf("promoted: %+v", s)
		}
		if got, want := b.sm.TagOf(name, "expires"), keyed.Expires.Format(time.RFC3339); got != want {
			t.Errorf("the tag is %q, want %q", got, want)
		}
		b.must(b.store.Stage(t.Context(), b.load(), b.prepared("two")))
		b.must(b.store.Stage(t.Context(), b.load(), b.keyed(b.prepared("two"))))
		b.must(b.store.Abandon(t.Context(), b.load()))
		if s := b.load(); !same(s.Current, &promoted) || s.Pending != nil || b.ours() != 2 {
			t.Errorf("abandoned: %+v, %d labels", s, b.ours())
		}
		b.must(b.store.Stage(t.Context(), b.load(), b.prepared("three")))
		b.must(b.store.Stage(t.Context(), b.load(), b.keyed(b.prepared("three"))))
		b.must(b.store.Promote(t.Context(), b.load(), b.Service.Clock()))
		if s := b.load(); tokenOf(s.Current) != "three" || tokenOf(s.Previous) != urgent.Token || s.Previous.KeyID != "key_1" || !s.Previous.Urgent {
			t.Errorf("promoted again: %+v", s)
		}
		b.must(b.store.Retire(t.Context(), b.load()))
		if s := b.load(); s.Previous != nil || s.Pending != nil || b.ours() != 2 || b.sm.Text(name, awstest.Previous) != "" {
			t.Errorf("retired: %+v, %d labels", s, b.ours())
		}
	}
}

// Each change is refused after each other one: two rotators have read the same state.
func TestAChangeInBetweenIsAConflict(t *testing.T) {
	type change struct {
		name string
		make func(*bench, rotation.State) error
	}
	changes := []change{
		{"stage", func(b *bench, s rotation.State) error {
			return b.store.Stage(b.T.Context(), s, b.prepared(fmt.Sprint("other", b.Service.Made())))
		}},
		{"stage with a key", func(b *bench, s rotation.State) error {
			return b.store.Stage(b.T.Context(), s, b.keyed(b.prepared(fmt.Sprint("third", b.Service.Made()))))
		}},
		{"promote", func(b *bench, s rotation.State) error {
			return b.store.Promote(b.T.Context(), s, b.Service.Clock())
		}},
		{"retire", func(b *bench, s rotation.State) error { return b.store.Retire(b.T.Context(), s) }},
		{"abandon", func(b *bench, s rotation.State) error { return b.store.Abandon(b.T.Context(), s) }},
	}
	for _, first := range changes {
		for _, second := range changes {
			b := newBench(t, "")
			b.MustRun()
			b.Service.Pass(30 * rotationtest.Day)
			b.MustRun()
			b.must(b.store.Stage(t.Context(), b.load(), b.prepared("next")))
			b.must(b.store.Stage(t.Context(), b.load(), b.keyed(b.prepared("next"))))
			from := b.load()
			b.must(first.make(b, from))
			after := b.load()
			if err := second.make(b, from); !errors.Is(err, rotation.ErrConflict) {
				t.Errorf("%s after %s: %v, want ErrConflict", second.name, first.name, err)
			}
			if now := b.load(); now.Revision != after.Revision {
				t.Errorf("%s after %s has changed %s to %s", second.name, first.name, after.Revision, now.Revision)
			}
		}
	}
}

// The labels change after they were compared: the request itself is the compare-and-set.
func TestAChangeAtTheLastMomentIsAConflict(t *testing.T) {
	for name, test := range map[string]struct {
		op     string
		change func(s rotation.Store, b *bench, from rotation.State) error
	}{
		"stage": {"PutSecretValue", func(s rotation.Store, b *bench, from rotation.State) error {
			return s.Stage(b.T.Context(), from, b.prepared("mine"))
		}},
		"stage with a key": {"PutSecretValue", func(s rotation.Store, b *bench, from rotation.State) error {
			return s.Stage(b.T.Context(), from, b.keyed(b.prepared("mine")))
		}},
		"abandon": {"UpdateSecretVersionStage", func(s rotation.Store, b *bench, from rotation.State) error {
			return s.Abandon(b.T.Context(), from)
		}},
	} {
		b := newBench(t, "")
		b.MustRun()
		b.must(b.store.Stage(t.Context(), b.load(), b.prepared("pending")))
		from := b.load()
		between := &hook{to: b.sm, op: test.op, do: func() { b.must(b.store.Stage(t.Context(), b.load(), b.prepared("theirs"))) }}
		if err := test.change(newStore(t, b.sm, between, ""), b, from); !errors.Is(err, rotation.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
		if s := b.load(); tokenOf(s.Pending) != "theirs" {
			t.Errorf("%s: pending is %q", name, tokenOf(s.Pending))
		}
	}
}

func TestTwoPromotionsAtOnceAreOne(t *testing.T) {
	b := newBench(t, "")
	b.MustRun()
	for _, token := range []string{"mine", "theirs"} {
		b.must(b.store.Stage(t.Context(), b.load(), b.prepared(token)))
		b.must(b.store.Stage(t.Context(), b.load(), b.keyed(b.prepared(token))))
	}
	from := b.load()
	between := &hook{to: b.sm, op: "UpdateSecretVersionStage", do: func() { b.must(b.store.Promote(t.Context(), b.load(), b.Service.Clock())) }}
	if err := newStore(t, b.sm, between, "").Promote(t.Context(), from, b.Service.Clock()); err != nil {
		t.Error(err)
	}
	if s := b.load(); tokenOf(s.Current) != "theirs" || s.Pending != nil || s.Previous == nil {
		t.Errorf("%+v", s)
	}
}

// The SDK sends a request again when its answer was lost. The second one finds the
// label where it should be.
func TestALostAnswerThatIsAskedForAgainIsNoConflict(t *testing.T) {
	for _, op := range []string{"PutSecretValue", "UpdateSecretVersionStage"} {
		b := newBench(t, "")
		run := func(rt *hook) (*rotation.Report, error) {
			r, err := rotation.New(b.Service, newStore(t, b.sm, rt, ""), &b.Options)
			b.must(err)
			return r.Run(t.Context())
		}
		for range 2 {
			if r, err := run(&hook{to: b.sm, op: op, twice: true}); err != nil || len(r.Steps) < 4 {
				t.Errorf("%s twice: %+v, %v", op, r, err)
			}
			b.Readers("")
			b.Service.Pass(30 * rotationtest.Day)
		}
		if b.Service.Made() != 2 {
			t.Errorf("%s twice: %d keys", op, b.Service.Made())
		}
	}
}

func TestRevisionsOfOtherStoresAreRefused(t *testing.T) {
	b := newBench(t, "")
	if err := b.store.Stage(t.Context(), rotation.State{}, b.prepared("x")); err == nil || errors.Is(err, rotation.ErrConflict) {
		t.Errorf("%v", err)
	}
	b.must(b.store.Stage(t.Context(), b.load(), b.prepared("x")))
	if err := b.store.Promote(t.Context(), b.load(), b.Service.Clock()); err == nil || errors.Is(err, rotation.ErrConflict) {
		t.Errorf("a version without a key was promoted: %v", err)
	}
	long := b.prepared(strings.Repeat("x", 300))
	if err := b.store.Stage(t.Context(), b.load(), long); err == nil || !strings.Contains(err.Error(), "Name") {
		t.Errorf("a label that is too long: %v", err)
	}
}

// A run that died leaves labels behind; the next rotation takes them away, and not
// those of a run that is under way.
func TestLabelsOfARunThatDiedAreTakenAway(t *testing.T) {
	b := newBench(t, "")
	b.MustRun()
	for range 30 {
		b.Service.Pass(30 * rotationtest.Day)
		// Dead between the version and the label.
		f := &rotationtest.Fault{At: 2, Changes: true}
		_, _ = b.Run(f)
		b.Service.Pass(time.Hour)
		b.MustRun()
		b.Service.Pass(3 * rotationtest.Day)
		b.MustRun()
		b.Readers("")
	}
	b.Service.Pass(30 * rotationtest.Day)
	b.MustRun()
	if n := b.ours(); n > 4 {
		t.Errorf("%d labels of ours: %v", n, b.sm.Stages(name))
	}
}
