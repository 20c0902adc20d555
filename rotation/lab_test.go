package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/file"
)

var (
	errLost  = errors.New("the connection was lost")
	errCrash = errors.New("the rotator was killed")
)

// A service is an issuer as OpenAI's: it shows a key once, a new key is accepted only
// after a while, and a revoked one for a while longer. Its clock is the test's.
type service struct {
	mu      sync.Mutex
	now     time.Time
	n       int
	keys    map[string]*issued // by id
	lag     time.Duration      // until a new key is accepted
	linger  time.Duration      // for which a revoked one still is
	refuses error              // of Issue
}

type issued struct {
	rotation.Key
	revoked time.Time
}

func newService() *service {
	return &service{now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), keys: map[string]*issued{}}
}

func (s *service) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *service) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// accepts reports whether the service takes the key now, and notes its use.
func (s *service) accepts(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.Secret.Reveal() != key {
			continue
		}
		if s.now.Before(k.Created.Add(s.lag)) || !k.Expires.IsZero() && !s.now.Before(k.Expires) || !k.revoked.IsZero() && !s.now.Before(k.revoked.Add(s.linger)) {
			return false
		}
		k.LastUsed = s.now
		return true
	}
	return false
}

func (s *service) Issue(_ context.Context, pending rotation.Version, _ *rotation.Version, expires time.Time) (rotation.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses != nil {
		return rotation.Key{}, s.refuses
	}
	s.n++
	k := &issued{Key: rotation.Key{
		ID: fmt.Sprintf("key_%d", s.n), Name: pending.Token, Secret: credential.NewSecret(fmt.Sprintf("sk-CANARY-%d", s.n)), Created: s.now, Expires: expires,
	}}
	s.keys[k.ID] = k
	return k.Key, nil
}

func (s *service) Prove(_ context.Context, secret credential.Secret) error {
	if !s.accepts(secret.Reveal()) {
		return rotation.ErrNotAccepted
	}
	return nil
}

func (s *service) Keys(context.Context) ([]rotation.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []rotation.Key
	for _, k := range s.keys {
		if k.revoked.IsZero() && s.now.Before(k.Expires) {
			listed := k.Key
			listed.Secret = credential.Secret{}
			keys = append(keys, listed)
		}
	}
	return keys, nil
}

func (s *service) Revoke(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keys[id]; k != nil && k.revoked.IsZero() {
		k.revoked = s.now
	}
	return nil
}

// alive returns the ids of the keys that work, or will.
func (s *service) alive() (ids []string) {
	keys, _ := s.Keys(context.Background())
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}

// A fault breaks one remote call of a run: the request is lost, or the answer.
// After that the rotator is dead: each further call fails.
type fault struct {
	at     int  // counts calls from 1; 0 is none
	answer bool // the call is carried out
	calls  int
	dead   bool
}

func (f *fault) do(call func() error) error {
	f.calls++
	switch {
	case f.dead:
		return errCrash
	case f.calls != f.at:
		return call()
	}
	f.dead = true
	if f.answer {
		if err := call(); err != nil {
			return err
		}
	}
	return errLost
}

// lossy is an issuer and a store behind a fault.
type lossy struct {
	rotation.Issuer
	store rotation.Store
	*fault
}

func (l lossy) Issue(ctx context.Context, p rotation.Version, c *rotation.Version, e time.Time) (k rotation.Key, err error) {
	err = l.do(func() error { k, err = l.Issuer.Issue(ctx, p, c, e); return err })
	return k, err
}

func (l lossy) Prove(ctx context.Context, s credential.Secret) error {
	return l.do(func() error { return l.Issuer.Prove(ctx, s) })
}

func (l lossy) Keys(ctx context.Context) (k []rotation.Key, err error) {
	err = l.do(func() error { k, err = l.Issuer.Keys(ctx); return err })
	return k, err
}

func (l lossy) Revoke(ctx context.Context, id string) error {
	return l.do(func() error { return l.Issuer.Revoke(ctx, id) })
}

func (l lossy) Load(ctx context.Context) (s rotation.State, err error) {
	err = l.do(func() error { s, err = l.store.Load(ctx); return err })
	return s, err
}

func (l lossy) Stage(ctx context.Context, from rotation.State, p rotation.Version) error {
	return l.do(func() error { return l.store.Stage(ctx, from, p) })
}

func (l lossy) Promote(ctx context.Context, from rotation.State, now time.Time) error {
	return l.do(func() error { return l.store.Promote(ctx, from, now) })
}

func (l lossy) Retire(ctx context.Context, from rotation.State) error {
	return l.do(func() error { return l.store.Retire(ctx, from) })
}

func (l lossy) Abandon(ctx context.Context, from rotation.State) error {
	return l.do(func() error { return l.store.Abandon(ctx, from) })
}

// memory is a store that forgets.
type memory struct {
	mu       sync.Mutex
	revision int
	state    rotation.State
}

func (m *memory) Load(context.Context) (rotation.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	s.Revision = strconv.Itoa(m.revision)
	return s, nil
}

func (m *memory) change(from rotation.State, change func(*rotation.State)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from.Revision != strconv.Itoa(m.revision) {
		return rotation.ErrConflict
	}
	change(&m.state)
	m.revision++
	return nil
}

func (m *memory) Stage(_ context.Context, from rotation.State, pending rotation.Version) error {
	return m.change(from, func(s *rotation.State) { s.Pending = &pending })
}

func (m *memory) Promote(_ context.Context, from rotation.State, now time.Time) error {
	return m.change(from, func(s *rotation.State) {
		next := *s.Pending
		next.Promoted = now
		s.Current, s.Previous, s.Pending = &next, s.Current, nil
	})
}

func (m *memory) Retire(_ context.Context, from rotation.State) error {
	return m.change(from, func(s *rotation.State) { s.Previous = nil })
}

func (m *memory) Abandon(_ context.Context, from rotation.State) error {
	return m.change(from, func(s *rotation.State) { s.Pending = nil })
}

// A lab is a service, a store, and options for a rotator.
type lab struct {
	t       *testing.T
	service *service
	store   rotation.Store
	opts    rotation.Options
}

// newMemoryLab is newLab with a store that costs no time.
func newMemoryLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, service: newService(), store: &memory{}}
	l.opts = rotation.Options{Now: l.service.clock, ProveFor: time.Millisecond}
	return l
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := file.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, service: newService(), store: store}
	l.opts = rotation.Options{Now: l.service.clock, ProveFor: time.Millisecond}
	return l
}

func (l *lab) rotator(f *fault) *rotation.Rotator {
	l.t.Helper()
	both := lossy{l.service, l.store, f}
	r, err := rotation.New(both, both, &l.opts)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

func (l *lab) run(f *fault) (*rotation.Report, error) {
	l.t.Helper()
	report, err := l.rotator(f).Run(l.t.Context())
	if err != nil && strings.Contains(err.Error(), "CANARY") || strings.Contains(fmt.Sprintf("%+v", report), "CANARY") {
		l.t.Error("a report or an error shows a key")
	}
	return report, err
}

func (l *lab) mustRun() *rotation.Report {
	l.t.Helper()
	report, err := l.run(&fault{})
	if err != nil {
		l.t.Fatal(err)
	}
	return report
}

// readers checks that the key in the file works, as that of the one before does for
// those who have not read again.
func (l *lab) readers(before string) (now string) {
	l.t.Helper()
	if f, ok := l.store.(*file.Store); ok {
		text, err := os.ReadFile(f.Key())
		if err != nil {
			l.t.Fatal(err)
		}
		now = string(text)
	} else if state, err := l.store.Load(l.t.Context()); err != nil || state.Current == nil {
		l.t.Fatal(err)
	} else {
		now = state.Current.Secret.Reveal()
	}
	if !l.service.accepts(now) {
		l.t.Error("the key in the store does not work")
	}
	if before != "" && !l.service.accepts(before) {
		l.t.Error("the key of a reader that has not read again does not work")
	}
	return now
}
