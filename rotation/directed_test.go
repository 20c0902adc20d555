package rotation_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
)

// prepare is what the other service does: it puts a version without a key into the
// store.
func prepare(t *testing.T, l *rotationtest.Lab, token string) {
	t.Helper()
	state, err := l.Store.Load(t.Context())
	if err == nil {
		err = l.Store.Stage(t.Context(), state, rotation.Version{Token: "found/" + token})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// take takes the step, twice: the other service may ask as often as it likes.
func take(t *testing.T, l *rotationtest.Lab, token string, step rotation.Step) *rotation.Report {
	t.Helper()
	report, err := l.Rotator(&rotationtest.Fault{}).Take(t.Context(), token, step)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := l.Rotator(&rotationtest.Fault{}).Take(t.Context(), token, step); err != nil || again.Current != report.Current || again.Pending != report.Pending {
		t.Fatalf("%s again: %+v, %v", step, again, err)
	}
	return report
}

func TestARotationThatAnotherServiceDirects(t *testing.T) {
	l := newMemoryLab(t)
	key := ""
	for _, token := range []string{"one", "two", "three"} {
		prepare(t, l, token)
		if r := take(t, l, token, rotation.Issue); r.Pending != "latchkey/"+token {
			t.Fatalf("%s: %+v", token, r)
		}
		if r := take(t, l, token, rotation.Prove); !slices.Equal(r.Steps, []rotation.Step{rotation.Prove}) {
			t.Fatalf("%s: %+v", token, r)
		}
		if r := take(t, l, token, rotation.Promote); !slices.Equal(r.Steps, []rotation.Step{rotation.Prove, rotation.Promote}) || r.Current != "latchkey/"+token {
			t.Fatalf("%s: %+v", token, r)
		}
		if r := take(t, l, token, rotation.Issue); len(r.Steps) != 0 {
			t.Fatalf("%s: a late step did %v", token, r.Steps)
		}
		key = l.Readers(key)
		l.Service.Pass(8 * day)
	}
	if l.Service.Made() != 3 || len(l.Service.Alive()) != 2 {
		t.Errorf("%d keys made, %v alive", l.Service.Made(), l.Service.Alive())
	}
	if r := take(t, l, "", rotation.Retire); r.Previous != "" || len(l.Service.Alive()) != 1 {
		t.Errorf("%+v, %v alive", r, l.Service.Alive())
	}
	l.Readers("")
}

func TestTheOldKeyIsRevokedOnlyAfterTheOverlapWhoeverDirects(t *testing.T) {
	l := newMemoryLab(t)
	l.MustRun()
	key := l.Readers("")
	l.Service.Pass(time.Minute)
	prepare(t, l, "next")
	for _, step := range []rotation.Step{rotation.Issue, rotation.Prove, rotation.Promote} {
		take(t, l, "next", step)
	}
	if r := take(t, l, "", rotation.Retire); r.Previous == "" || !r.Next.After(l.Service.Clock()) {
		t.Errorf("%+v", r)
	}
	l.Readers(key)
	prepare(t, l, "too soon")
	if _, err := l.Rotator(&rotationtest.Fault{}).Take(t.Context(), "too soon", rotation.Issue); err == nil || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("%v", err)
	}
	l.Readers(key)
	l.Service.Pass(3 * day)
	if r := take(t, l, "too soon", rotation.Issue); r.Previous != "" || l.Service.Accepts(key) {
		t.Errorf("%+v", r)
	}
}

func TestAStepThatIsNotNextIsRefused(t *testing.T) {
	l := newMemoryLab(t)
	l.MustRun()
	prepare(t, l, "next")
	for name, test := range map[string]struct {
		token string
		step  rotation.Step
		says  string
	}{
		"another version": {"other", rotation.Issue, "not the pending one"},
		"no token":        {"", rotation.Issue, "no token"},
		"no key":          {"next", rotation.Prove, "no key yet"},
		"no key either":   {"next", rotation.Promote, "no key yet"},
		"prepare":         {"next", rotation.Prepare, "nobody"},
		"unknown":         {"next", "rewind", "no such step"},
	} {
		if r, err := l.Rotator(&rotationtest.Fault{}).Take(t.Context(), test.token, test.step); err == nil || !strings.Contains(err.Error(), test.says) || len(r.Steps) > 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if l.Service.Made() != 1 {
		t.Errorf("%d keys made", l.Service.Made())
	}
}

func TestAStoreWithoutAKeyHasNothingToProve(t *testing.T) {
	l := newMemoryLab(t)
	prepare(t, l, "first")
	if r := take(t, l, "first", rotation.Prove); len(r.Steps) != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := l.Rotator(&rotationtest.Fault{}).Take(t.Context(), "first", rotation.Promote); err == nil {
		t.Error("a version without a key was promoted")
	}
}

func TestADirectedKeyIsProvedBeforeItIsPromoted(t *testing.T) {
	l := newMemoryLab(t)
	l.MustRun()
	key := l.Readers("")
	l.Service.Pass(2 * time.Hour)
	l.Service.Lag(time.Hour, 0)
	prepare(t, l, "next")
	take(t, l, "next", rotation.Issue)
	for _, step := range []rotation.Step{rotation.Prove, rotation.Promote} {
		if _, err := l.Rotator(&rotationtest.Fault{}).Take(t.Context(), "next", step); !errors.Is(err, rotation.ErrNotAccepted) {
			t.Errorf("%s: %v", step, err)
		}
	}
	if l.Readers("") != key {
		t.Error("readers have a key that is not proved")
	}
}

// A run that died after it had made the key has left one with the name of the version.
func TestAKeyOfARunThatDiedIsRevokedWhenTheVersionHasAnother(t *testing.T) {
	l := newMemoryLab(t)
	l.MustRun()
	prepare(t, l, "next")
	if _, err := l.Rotator(&rotationtest.Fault{At: 2, Answer: true}).Take(t.Context(), "next", rotation.Issue); !errors.Is(err, rotationtest.ErrLost) {
		t.Fatal(err)
	}
	take(t, l, "next", rotation.Issue)
	take(t, l, "", rotation.Retire)
	if len(l.Service.Alive()) != 3 {
		t.Fatalf("alive: %v", l.Service.Alive())
	}
	l.Service.Pass(2 * time.Hour)
	take(t, l, "", rotation.Retire)
	if len(l.Service.Alive()) != 2 {
		t.Errorf("alive: %v", l.Service.Alive())
	}
	take(t, l, "next", rotation.Promote)
	l.Readers("")
}

// An outrunIssuer lets others go on when it has made a key.
type outrunIssuer struct {
	rotation.Issuer
	meanwhile func()
}

func (s outrunIssuer) Issue(ctx context.Context, p rotation.Version, c *rotation.Version, e time.Time) (rotation.Key, error) {
	k, err := s.Issuer.Issue(ctx, p, c, e)
	s.meanwhile()
	return k, err
}

// A key is no orphan as long as its version may still get it.
func TestAKeyThatIsOnItsWayIsNotRevoked(t *testing.T) {
	l := newMemoryLab(t)
	l.MustRun()
	prepare(t, l, "next")
	r, err := rotation.New(outrunIssuer{l.Service, func() {
		l.Service.Pass(2 * time.Hour)
		take(t, l, "", rotation.Retire)
	}}, l.Store, &l.Options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Take(t.Context(), "next", rotation.Issue); err != nil || len(l.Service.Alive()) != 2 {
		t.Errorf("alive: %v, %v", l.Service.Alive(), err)
	}
}
