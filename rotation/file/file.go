// Package file keeps a rotation in a directory, for small set-ups and for rehearsals.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/rotationdoc"
	"github.com/latchkey-go/latchkey/rotation"
)

const (
	prefix = "state-"
	suffix = ".json"
	// keyFile is where readers find the current key.
	keyFile = "key"
	mostTry = 100
	// keptNames is how many changes a rotator may be held up between two of its own.
	keptNames = 1000
)

// A Store is a directory. The file key in it holds the current key and nothing else:
// readers use credential.File, and have the new key when they read next. The rest is
// for the rotator. A change is made by a hard link, which the file system makes once
// only, and is on the disk when it is reported.
type Store struct{ dir string }

// New returns the Store in dir, which must be a directory that only its owner can
// read.
func New(dir string) (*Store, error) {
	about, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("rotation/file: %w", err)
	case !about.IsDir():
		return nil, fmt.Errorf("rotation/file: %s is no directory", dir)
	case about.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/':
		return nil, fmt.Errorf("rotation/file: others can read %s; chmod 700 it", dir)
	}
	return &Store{dir: dir}, nil
}

// Key is the path of the file with the current key.
func (s *Store) Key() string { return filepath.Join(s.dir, keyFile) }

// Load reads the state, and puts the key of readers right if a process was killed
// before it had.
func (s *Store) Load(ctx context.Context) (rotation.State, error) {
	for range mostTry {
		if err := ctx.Err(); err != nil {
			return rotation.State{}, context.Cause(ctx)
		}
		n, err := s.last()
		if err != nil || n == 0 {
			return rotation.State{}, err
		}
		text, err := os.ReadFile(s.path(n))
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
			continue // another rotator has gone on
		}
		if err != nil {
			return rotation.State{}, fmt.Errorf("rotation/file: %w", err)
		}
		state, err := rotationdoc.Decode(text)
		if err != nil {
			return rotation.State{}, fmt.Errorf("rotation/file: %s: %w", s.path(n), err)
		}
		state.Revision = strconv.Itoa(n)
		return state, s.publish(state)
	}
	return rotation.State{}, rotation.ErrConflict
}

// Stage writes pending.
func (s *Store) Stage(_ context.Context, from rotation.State, pending rotation.Version) error {
	from.Pending = &pending
	return s.save(from)
}

// Promote makes the pending version current.
func (s *Store) Promote(_ context.Context, from rotation.State, now time.Time) error {
	next, err := rotationdoc.Promoted(from, now)
	if err != nil {
		return fmt.Errorf("rotation/file: %w", err)
	}
	return s.save(next)
}

// Retire forgets the previous version.
func (s *Store) Retire(_ context.Context, from rotation.State) error {
	from.Previous = nil
	return s.save(from)
}

// Abandon forgets the pending version.
func (s *Store) Abandon(_ context.Context, from rotation.State) error {
	from.Pending = nil
	return s.save(from)
}

// last returns the number of the present state, 0 for none.
func (s *Store) last() (n int, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, fmt.Errorf("rotation/file: %w", err)
	}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), prefix)
		name, isState := strings.CutSuffix(name, suffix)
		if i := 0; ok && isState {
			if _, err := fmt.Sscanf(name, "%d", &i); err == nil {
				n = max(n, i)
			}
		}
	}
	return n, nil
}

func (s *Store) path(n int) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s%012d%s", prefix, n, suffix))
}

// save makes the state that follows from.
func (s *Store) save(state rotation.State) error {
	n := 0
	if state.Revision != "" {
		if _, err := fmt.Sscanf(state.Revision, "%d", &n); err != nil {
			return errors.New("rotation/file: a Revision that is not of this store")
		}
	}
	if last, err := s.last(); err != nil || last != n {
		return errors.Join(err, rotation.ErrConflict)
	}
	text, err := rotationdoc.Encode(state)
	if err != nil {
		return fmt.Errorf("rotation/file: %w", err)
	}
	temporary, err := s.write(text)
	if err != nil {
		return err
	}
	defer os.Remove(temporary) //nolint:errcheck // a link to the same file is left
	if err := os.Link(temporary, s.path(n+1)); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return rotation.ErrConflict
		}
		return fmt.Errorf("rotation/file: %w", err)
	}
	s.sync()
	if n > 0 {
		// The names of states stay for a while, so that a rotator that was held up
		// cannot make one of them again. What is in them goes.
		_ = os.Truncate(s.path(n), 0)
		_ = os.Remove(s.path(n - keptNames))
	}
	return s.publish(state)
}

// publish writes the key for readers, unless it is there.
func (s *Store) publish(state rotation.State) error {
	if state.Current == nil {
		return nil
	}
	text := state.Current.Secret.Reveal()
	if now, err := os.ReadFile(s.Key()); err == nil && string(now) == text {
		return nil
	}
	temporary, err := s.write([]byte(text))
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, s.Key()); err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("rotation/file: %w", err)
	}
	s.sync()
	return nil
}

// write writes a file that is on the disk when it returns.
func (s *Store) write(text []byte) (path string, err error) {
	f, err := os.CreateTemp(s.dir, ".new-") // 0600
	if err != nil {
		return "", fmt.Errorf("rotation/file: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("rotation/file: %w", err)
	}
	return f.Name(), nil
}

// sync puts the names in the directory onto the disk, where the system can.
func (s *Store) sync() {
	if d, err := os.Open(s.dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
