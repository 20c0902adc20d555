package rotation_test

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/file"
)

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

// newMemoryLab is newLab with a store that costs no time.
func newMemoryLab(t *testing.T) *rotationtest.Lab {
	t.Helper()
	return rotationtest.New(t, &memory{})
}

func newLab(t *testing.T) *rotationtest.Lab {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := file.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := rotationtest.New(t, store)
	l.Source = credential.File(store.Key())
	return l
}
