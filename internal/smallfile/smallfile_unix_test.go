//go:build unix

package smallfile_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/latchkey-go/latchkey/internal/smallfile"
)

func TestOnlySmallRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"key": "CANARY\n", "limit": strings.Repeat("C", 100), "large": strings.Repeat("CANARY", 17)} {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("pipe", path("link")); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", path("s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	for name, c := range map[string]struct{ path, text, err string }{
		"a file":            {path("key"), "CANARY\n", ""},
		"as large as it is": {path("limit"), strings.Repeat("C", 100), ""},
		"a byte too large":  {path("large"), "", "102 bytes, at most 100 are read"},
		"no size":           {"/proc/self/maps", "", "more than 100 bytes"},
		"a named pipe":      {path("pipe"), "", "not a regular file"},
		"a link to a pipe":  {path("link"), "", "not a regular file"},
		"a device":          {"/dev/zero", "", "not a regular file"},
		"a directory":       {dir, "", "not a regular file"},
		"a socket":          {path("s"), "", syscall.ENXIO.Error()},
		"none":              {path("none"), "", syscall.ENOENT.Error()},
		"below a file":      {path("key/x"), "", syscall.ENOTDIR.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(c.path, "/proc") {
				if _, err := os.Stat(c.path); err != nil {
					t.Skip("there is no /proc here")
				}
			}
			f, err := smallfile.Read(c.path, 100)
			if string(f.Text) != c.text {
				t.Error("another content than the file's")
			}
			switch {
			case err != nil && err.Error() != c.err, err == nil && c.err != "":
				t.Errorf("got %v, want %q", err, c.err)
			case err == nil && f.Modified.IsZero():
				t.Error("no time of modification")
			case errors.Is(err, fs.ErrNotExist) != (name == "none"):
				t.Errorf("%v: ErrNotExist is %t", err, errors.Is(err, fs.ErrNotExist))
			}
		})
	}
}
