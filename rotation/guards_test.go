package rotation_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
)

// A slot is an issuer whose keys have places in the account, and no names.
type slot struct{ *rotationtest.Service }

func (s slot) Issue(ctx context.Context, p rotation.Version, c *rotation.Version, e time.Time) (rotation.Key, error) {
	k, err := s.Service.Issue(ctx, p, c, e)
	k.Name = ""
	return k, err
}

// atIssue runs a rotation, and does something right before the key is made.
func atIssue(t *testing.T, l *rotationtest.Lab, issuer rotation.Issuer, do func()) error {
	t.Helper()
	l.Options.OnStep = func(step rotation.Step, _ rotation.State) {
		if step == "issue" {
			do()
		}
	}
	r, err := rotation.New(issuer, l.Store, &l.Options)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Run(t.Context())
	return err
}

func TestARotatorThatWasHeldUpMakesNoKey(t *testing.T) {
	l := newMemoryLab(t)
	if err := atIssue(t, l, l.Service, func() { l.Service.Pass(3 * time.Minute) }); !errors.Is(err, rotation.ErrConflict) || l.Service.Made() != 0 {
		t.Errorf("%d keys made, %v", l.Service.Made(), err)
	}
}

// A key that lost is revoked, but not one in a place that the winner may have.
func TestAKeyThatLostIsRevokedIfItIsItsOwn(t *testing.T) {
	for name, alive := range map[string]int{"named": 0, "in a place": 1} {
		l := newMemoryLab(t)
		var issuer rotation.Issuer = l.Service
		if alive == 1 {
			issuer = slot{l.Service}
		}
		err := atIssue(t, l, issuer, func() {
			state, _ := l.Store.Load(t.Context())
			_ = l.Store.Stage(t.Context(), state, rotation.Version{Token: "of another", Prepared: l.Service.Clock()})
		})
		if !errors.Is(err, rotation.ErrConflict) || len(l.Service.Alive()) != alive {
			t.Errorf("%s: %v alive, %v", name, l.Service.Alive(), err)
		}
	}
}

// A previous version with the key of the current one is forgotten, and its key lives.
func TestAKeyThatIsCurrentIsNotRevokedAsPrevious(t *testing.T) {
	l := newMemoryLab(t)
	l.MustRun()
	key := l.Readers("")
	m, ok := l.Store.(*memory)
	if !ok {
		t.Fatal("another store")
	}
	same := *m.state.Current
	m.state.Previous = &same
	l.Service.Pass(3 * day)
	if report := l.MustRun(); report.Previous != "" || l.Readers("") != key {
		t.Errorf("%+v", report)
	}
}

// empty is an issuer that answers without a key.
type empty struct{ *rotationtest.Service }

func (empty) Issue(context.Context, rotation.Version, *rotation.Version, time.Time) (rotation.Key, error) {
	return rotation.Key{}, nil
}

func TestAnAnswerWithoutAKeyIsNotStaged(t *testing.T) {
	l := newMemoryLab(t)
	err := atIssue(t, l, empty{l.Service}, func() {})
	if state, _ := l.Store.Load(t.Context()); err == nil || state.Pending == nil || !state.Pending.Issued.IsZero() {
		t.Errorf("%v", err)
	}
}

// An issuer that cannot be asked is none that refuses: a run does not wait for it.
func TestOnlyARefusalIsWaitedOut(t *testing.T) {
	l := newMemoryLab(t)
	l.Options.ProveFor = time.Hour
	proofs := 0
	r, err := rotation.New(deafIssuer{l.Service, &proofs, errors.New("no route to host")}, l.Store, &l.Options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(t.Context()); err == nil || proofs != 1 {
		t.Errorf("%d proofs, %v", proofs, err)
	}
}

// A run whose context ends while it waits says so, and gives up no key.
func TestARunThatIsEndedWhileItProvesGivesUpNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemoryLab(t)
		l.Options.ProveFor = time.Hour
		proofs := 0
		r, err := rotation.New(deafIssuer{l.Service, &proofs, rotation.ErrNotAccepted}, l.Store, &l.Options)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, rotation.ErrNotAccepted) {
			t.Errorf("%v", err)
		}
		if s, _ := l.Store.Load(t.Context()); s.Pending == nil || proofs < 10 {
			t.Errorf("%d proofs, pending %v", proofs, s.Pending != nil)
		}
	})
}

// A deafIssuer proves nothing.
type deafIssuer struct {
	*rotationtest.Service
	proofs *int
	err    error
}

func (i deafIssuer) Prove(context.Context, credential.Secret) error { *i.proofs++; return i.err }
