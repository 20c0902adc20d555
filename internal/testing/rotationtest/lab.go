// Package rotationtest is what the tests of rotations have in common: a service that
// makes keys, faults, and every pair of crashes.
package rotationtest

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

// Day is 24 hours.
const Day = 24 * time.Hour

// A Lab is a service, a store, and options for a rotator.
type Lab struct {
	T       *testing.T
	Service *Service
	// Store is the one that no fault meets.
	Store rotation.Store
	// Under returns the store with requests that meet the fault. Nil is Store, each of
	// whose methods is one remote call.
	Under func(*Fault) rotation.Store
	// Source is where readers find the key, through a credential.Cache. Nil is none.
	Source  credential.Source
	Options rotation.Options

	cache *credential.Cache
}

// New returns a Lab with a new Service, whose clock is that of the rotator.
func New(t *testing.T, store rotation.Store) *Lab {
	l := &Lab{T: t, Service: NewService(), Store: store}
	l.Options = rotation.Options{Now: l.Service.Clock, ProveFor: time.Millisecond}
	return l
}

// Rotator returns one that meets the fault.
func (l *Lab) Rotator(f *Fault) *rotation.Rotator {
	l.T.Helper()
	var store rotation.Store = lossyStore{l.Store, f}
	if l.Under != nil {
		store = l.Under(f)
	}
	r, err := rotation.New(lossyIssuer{l.Service, f}, store, &l.Options)
	if err != nil {
		l.T.Fatal(err)
	}
	return r
}

// Run runs a rotator that meets the fault.
func (l *Lab) Run(f *Fault) (*rotation.Report, error) {
	l.T.Helper()
	report, err := l.Rotator(f).Run(l.T.Context())
	if err != nil && strings.Contains(err.Error(), "CANARY") || strings.Contains(fmt.Sprintf("%+v", report), "CANARY") {
		l.T.Error("a report or an error shows a key")
	}
	return report, err
}

// MustRun runs a rotator without faults.
func (l *Lab) MustRun() *rotation.Report {
	l.T.Helper()
	report, err := l.Run(&Fault{})
	if err != nil {
		l.T.Fatal(err)
	}
	return report
}

// Readers checks that the key that readers find works, that before does, for those who
// have not read again, and that a reader with a Cache gets through. It returns the key.
func (l *Lab) Readers(before string) string {
	l.T.Helper()
	now := l.current()
	if !l.Service.Accepts(now) {
		l.T.Error("the key in the store does not work")
	}
	if before != "" && !l.Service.Accepts(before) {
		l.T.Error("the key of a reader that has not read again does not work")
	}
	if l.Source != nil {
		if err := l.call(); err != nil {
			l.T.Errorf("a reader: %v", err)
		}
	}
	return now
}

func (l *Lab) current() string {
	l.T.Helper()
	if l.Source != nil {
		v, err := l.Source.Retrieve(l.T.Context())
		if err != nil {
			l.T.Fatal(err)
		}
		return strings.TrimSuffix(v.Secret.Reveal(), "\n") // as a Cache does
	}
	state, err := l.Store.Load(l.T.Context())
	if err != nil || state.Current == nil {
		l.T.Fatalf("no current key: %v", err)
	}
	return state.Current.Secret.Reveal()
}

// call is one call of a program that keeps the key in a Cache.
func (l *Lab) call() (err error) {
	if l.cache == nil {
		if l.cache, err = credential.NewCache(l.Source, &credential.CacheOptions{Now: l.Service.Clock}); err != nil {
			return err
		}
	}
	v, err := l.cache.Retrieve(l.T.Context())
	if err != nil {
		return err
	}
	if !l.Service.Accepts(v.Secret.Reveal()) {
		if v, err = l.cache.Replace(l.T.Context(), credential.Rejection{Value: v, StatusCode: 401}); err != nil {
			return err
		}
		if !l.Service.Accepts(v.Secret.Reveal()) {
			return errors.New("the call has failed: the service refuses both keys")
		}
	}
	l.cache.Accept(v)
	return nil
}

// Crashes runs every pair of crashes, in two rotations that follow each other: each
// remote call loses its request or its answer, and the rotator is dead. Run again, it
// ends with one current key that works, at most one previous one, and no key beside
// them; no reader has had a key that does not work. It returns how many calls the
// longest run makes. Without LATCHKEY_PROOFS, which .ci/run sets, it runs one pair in
// three.
func Crashes(t *testing.T, open func(*testing.T) *Lab) int {
	t.Helper()
	calls := most(open(t), false)
	for first := range 2*calls + 1 {
		for second := range Second(first, 2*calls+1) {
			Crash(open(t), Fault{At: (first + 1) / 2, Answer: first%2 == 0}, Fault{At: (second + 1) / 2, Answer: second%2 == 0})
		}
	}
	return calls
}

// Second returns what is paired with the first of n: all of them with LATCHKEY_PROOFS,
// or else one in three.
func Second(first, n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		from, step := 0, 1
		if os.Getenv("LATCHKEY_PROOFS") == "" {
			from, step = first%3, 3
		}
		for second := from; second < n; second += step {
			if !yield(second) {
				return
			}
		}
	}
}

// CrashesByChange is Crashes for a store that makes many requests. What a dead rotator
// leaves behind depends on the changes that it has made: so each pair of crashes is
// right before a change, or after the last one. Each request and each answer is lost
// as well, once.
func CrashesByChange(t *testing.T, open func(*testing.T) *Lab) int {
	t.Helper()
	changes := most(open(t), true)
	for first := range changes + 2 {
		for second := range changes + 2 {
			Crash(open(t), Fault{At: first, Changes: true}, Fault{At: second, Changes: true})
		}
	}
	calls := most(open(t), false)
	for first := range 2*calls + 1 {
		Crash(open(t), Fault{At: (first + 1) / 2, Answer: first%2 == 0}, Fault{})
	}
	return changes
}

// Slots returns labs whose service has the two keys of a resource.
func Slots(open func(*testing.T) *Lab) func(*testing.T) *Lab {
	return func(t *testing.T) *Lab {
		l := open(t)
		l.Service.Slots()
		return l
	}
}

// most is how many calls, or changes, the longest run of a rotation makes.
func most(l *Lab, changes bool) (n int) {
	l.T.Helper()
	for _, pass := range []time.Duration{30 * Day, 3 * Day, 0} {
		f := &Fault{Changes: changes}
		if _, err := l.Run(f); err != nil {
			l.T.Fatal(err)
		}
		n = max(n, f.Calls)
		l.Service.Pass(pass)
	}
	return n
}

// Crash lets the first run of a rotation, and the one after it, die; twice.
func Crash(l *Lab, first, second Fault) {
	l.T.Helper()
	name := fmt.Sprintf("crashes at %d (%t) and %d (%t)", first.At, first.Answer, second.At, second.Answer)
	l.MustRun()
	key := l.Readers("")
	for turn := range 2 {
		l.Service.Pass(30 * Day)
		for _, f := range []Fault{first, second} {
			_, _ = l.Run(&f)
			l.Readers(key)
			l.Service.Pass(6 * time.Minute) // a rotator that died has had its time
		}
		l.MustRun()
		next := l.Readers(key)
		if next == key {
			l.T.Fatalf("%s: rotation %d has not taken place", name, turn)
		}
		l.Service.Pass(3 * Day) // the overlap, and what is not used is gone
		for _, f := range []Fault{first, second} {
			_, _ = l.Run(&f)
			l.Readers("")
			l.Service.Pass(6 * time.Minute)
		}
		l.Service.Pass(time.Hour) // orphans
		l.MustRun()
		if alive := l.Service.Alive(); len(alive) != 1 {
			l.T.Fatalf("%s: after rotation %d these keys live: %v", name, turn, alive)
		}
		key = l.Readers("")
	}
	if state, err := l.Store.Load(l.T.Context()); err != nil || state.Pending != nil || state.Previous != nil {
		l.T.Fatalf("%s: %v", name, err)
	}
	if l.T.Failed() {
		l.T.Fatal(name)
	}
}
