package rotation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
)

// What a key lives longer than it is needed counts from when it was made: a rotation
// that took days must not leave the next one less time.
func TestAKeyThatWasPromotedLateIsDueAsIfItHadNotBeen(t *testing.T) {
	l := newLab(t)
	l.MustRun()
	l.Service.Pass(30 * day)
	l.Service.Lag(5*day, 0)
	made := l.Service.Clock()
	if _, err := l.Run(&rotationtest.Fault{}); !errors.Is(err, rotation.ErrNotAccepted) {
		t.Fatalf("%v", err)
	}
	l.Service.Pass(5 * day)
	if r := l.MustRun(); len(r.Steps) != 2 {
		t.Fatalf("%+v", r)
	}
	l.Service.Pass(3 * day)
	if r := l.MustRun(); !r.Next.Equal(made.Add(30 * day)) {
		t.Errorf("due on %v, want 30 days after %v, when the key was made", r.Next, made)
	}
}

// A brief issuer makes keys of its own choice of life.
type brief struct {
	*rotationtest.Service
	life time.Duration
}

func (b brief) Issue(ctx context.Context, pending rotation.Version, current *rotation.Version, _ time.Time) (rotation.Key, error) {
	return b.Service.Issue(ctx, pending, current, b.Clock().Add(b.life))
}

func TestAKeyWhoseLifeTheIssuerShortensIsReplacedBeforeItEnds(t *testing.T) {
	for _, life := range []time.Duration{4 * day, 10 * day, 20 * day, 31 * day} {
		l := newMemoryLab(t)
		r, err := rotation.New(brief{l.Service, life}, l.Store, &l.Options)
		if err != nil {
			t.Fatal(err)
		}
		const hours = 120 * 24
		for hour := 0; hour < hours; hour += 6 {
			if _, err := r.Run(t.Context()); err != nil {
				t.Fatalf("keys of %v, after %d hours: %v", life, hour, err)
			}
			state, err := l.Store.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !l.Service.Accepts(state.Current.Secret.Reveal()) {
				t.Fatalf("keys of %v: the current one is dead after %d hours", life, hour)
			}
			l.Service.Pass(6 * time.Hour)
		}
		if most := 2*hours/int(life/time.Hour) + 2; l.Service.Made() > most {
			t.Errorf("keys of %v: %d were made in 120 days, want %d at the most", life, l.Service.Made(), most)
		}
	}
}
