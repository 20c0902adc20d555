package azurekeyvault_test

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
)

// Each request to the vault, and each call of the issuer, loses its request or its
// answer, and the rotator is dead.
func TestARotationCanBeKilledAtEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		calls := callsOf(w)
		w.Service.Pass(30 * rotationtest.Day)
		calls = max(calls, callsOf(w))
		if calls < 25 {
			t.Fatalf("%d calls", calls)
		}
		for at := range calls {
			for _, answer := range []bool{false, true} {
				rotationtest.Crash(newWorld(t).Lab, rotationtest.Fault{At: at + 1, Answer: answer}, rotationtest.Fault{})
			}
		}
	})
}

func callsOf(w *world) int {
	f := &rotationtest.Fault{}
	if _, err := w.Run(f); err != nil {
		w.T.Fatal(err)
	}
	return f.Calls
}

// Each ordered pair of crashes, at what changes something.
func TestARotationCanBeKilledTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := rotationtest.Crashes(t, func(t *testing.T) *rotationtest.Lab {
			w := newWorld(t)
			w.Under = func(f *rotationtest.Fault) rotation.Store { return open(t, writes{f, w.transport}, nil) }
			return w.Lab
		})
		if calls < 7 {
			t.Errorf("%d calls", calls)
		}
	})
}

// slow is a network that takes a while, each time another one.
type slow struct {
	to     http.RoundTripper
	random *rand.Rand
	mu     *sync.Mutex
}

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	there, back := s.random.IntN(1500), s.random.IntN(1500)
	s.mu.Unlock()
	time.Sleep(time.Duration(there) * time.Millisecond)
	resp, err := s.to.RoundTrip(r)
	time.Sleep(time.Duration(back) * time.Millisecond)
	return resp, err
}

// Several rotators at once make one rotation for each due date, whatever the network
// does with the order of their requests.
func TestSeveralRotatorsMakeOneRotation(t *testing.T) {
	for round := range 60 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			random, mu := rand.New(rand.NewPCG(uint64(round), 1)), &sync.Mutex{}
			for turn := range 3 {
				var wg sync.WaitGroup
				promoted := 0
				for range 2 + round%2 {
					r, err := rotation.New(w.Service, open(t, slow{w.transport, random, mu}, nil), &w.Options)
					if err != nil {
						t.Fatal(err)
					}
					wg.Go(func() {
						report, err := r.Run(t.Context())
						mu.Lock()
						defer mu.Unlock()
						if slices.Contains(report.Steps, "promote") {
							promoted++
						}
						if err != nil && !errors.Is(err, rotation.ErrConflict) {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				w.Service.Pass(6 * time.Minute)
				w.MustRun()
				w.Readers("")
				if made := w.Service.Made(); made != turn+1 || promoted != 1 {
					t.Fatalf("round %d, turn %d: %d keys made, %d promoted", round, turn, made, promoted)
				}
				w.Service.Pass(3 * rotationtest.Day)
				w.MustRun()
				if alive := w.Service.Alive(); len(alive) != 1 {
					t.Fatalf("round %d, turn %d: %v alive", round, turn, alive)
				}
				w.Service.Pass(27 * rotationtest.Day)
			}
		})
	}
}
