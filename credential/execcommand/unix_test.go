//go:build unix

package execcommand_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/execcommand"
)

func TestTheChildrenOfTheCommandAreKilledWithIt(t *testing.T) {
	h := newHelper(t, "", "")
	h.hang(t, "children")
	killedWith(t, h, errors.New("enough")) // the one that connects is the child
}

// named makes the helper a command of that name in a folder of its own.
func named(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Symlink(executable(t), filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOnlyWhatAnAbsolutePathLeadsToIsRun(t *testing.T) {
	const name = "latchkey-test-helper"
	for what, c := range map[string]struct {
		path, godebug string
		runs          int
	}{
		"in PATH":                         {path: "/nonexistent:%", runs: 1},
		"in the current directory":        {path: "/nonexistent"},
		"in a PATH of the current one":    {path: "."},
		"in an empty entry of PATH":       {path: ":/nonexistent"},
		"in one that Go is told to allow": {path: ".", godebug: "execerrdot=0"},
		"in a relative directory":         {path: "../DIR", godebug: "execerrdot=0"},
	} {
		t.Run(what, func(t *testing.T) {
			h, dir := newHelper(t, "print", "sk-CANARY-1"), named(t, name)
			t.Chdir(dir)
			switch c.path {
			case "/nonexistent:%":
				t.Setenv("PATH", "/nonexistent:"+dir)
			case "../DIR":
				t.Setenv("PATH", "../"+filepath.Base(dir))
			default:
				t.Setenv("PATH", c.path)
			}
			t.Setenv("GODEBUG", c.godebug)
			src, err := execcommand.New(name, nil, &execcommand.Options{Env: h.env(), Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			_, err = src.Retrieve(background)
			if c.runs == 0 && c.path != "/nonexistent" {
				wantFault(t, err, false, "PATH finds it in a relative directory")
			}
			if gone := errors.Is(err, credential.ErrUnavailable); gone != (c.path == "/nonexistent") {
				t.Errorf("%v: a chain would go on: %v", err, gone)
			}
			if n := h.runs(); n != c.runs {
				t.Errorf("%d runs, want %d: %v", n, c.runs, err)
			}
		})
	}
}

func TestWhatIsNotExecutableIsAnError(t *testing.T) {
	dir := t.TempDir()
	plain, broken := filepath.Join(dir, "plain"), filepath.Join(dir, "broken")
	for path, mode := range map[string]os.FileMode{plain: 0o600, broken: 0o700} {
		if err := os.WriteFile(path, []byte("CANARY"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for path, c := range map[string]struct {
		transient bool
		part      string
	}{dir: {false, "not an executable"}, plain: {false, "not an executable"}, broken: {true, "cannot be started"}} {
		src, err := execcommand.New(path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = src.Retrieve(background)
		wantFault(t, err, c.transient, c.part)
		if errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%v: a chain would go on", err)
		}
	}
}
