//go:build unix

package credential_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	writeFile(t, path("empty"), "")
	writeFile(t, path("large"), strings.Repeat("CANARY", 11_000))
	writeFile(t, path("limit"), strings.Repeat("C", 64<<10))
	writeFile(t, path("lines"), "CANARY\nCANARY\n")
	if err := syscall.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path, says  string
		unavailable bool
	}{
		"missing":         {path("none"), "source unavailable: there is no such file (mount or write it)", true},
		"no name":         {"", "source unavailable: there is no such file (mount or write it)", true},
		"empty":           {path("empty"), "check the secret: it is empty (put the key itself there)", false},
		"a directory":     {dir, "read: not a regular file (name the file that holds the key)", false},
		"a named pipe":    {path("pipe"), "read: not a regular file (name the file that holds the key)", false},
		"over 64 KiB":     {path("large"), "read: 66000 bytes, at most 65536 are read (name the file that holds only the key)", false},
		"64 KiB":          {path("limit"), "check the secret: it has 65536 bytes, a key has at most 16384 (store the key alone)", false},
		"two lines":       {path("lines"), "check the secret: byte 7 of 13 is a line break (store the key alone)", false},
		"below a file":    {path("lines/key"), "read: not a directory (let the process read it)", false},
		"endless":         {"/dev/zero", "read: not a regular file (name the file that holds the key)", false},
		"a name with NUL": {"a\x00b", "read: invalid argument (let the process read it)", false},
	} {
		_, err := credential.File(c.path).Retrieve(background)
		if err == nil || err.Error() != "credential: file:"+c.path+": "+c.says {
			t.Errorf("%s: got %v, want %s", name, err, c.says)
		}
		if errors.Is(err, credential.ErrUnavailable) != c.unavailable {
			t.Errorf("%s: unavailable is %v", name, !c.unavailable)
		}
	}
}

func TestFileThatMayNotBeReadIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	writeFile(t, path, key(1))
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	v, err := credential.File(path).Retrieve(background)
	if os.Geteuid() == 0 { // nothing is forbidden to root
		want(t, 1, v, err)
		return
	}
	if !errors.Is(err, os.ErrPermission) || errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// A kubelet writes a new directory and swaps the link ..data.
func TestFileFollowsTheSwapOfAMountedSecret(t *testing.T) {
	dir := t.TempDir()
	swap := func(n int, at time.Time) {
		version := filepath.Join(dir, at.Format("..2006_01_02"))
		if err := os.Mkdir(version, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(version, "key"), key(n)+"\n")
		if err := os.Chtimes(filepath.Join(version, "key"), at, at); err != nil {
			t.Fatal(err)
		}
		tmp := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(filepath.Base(version), tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	swap(1, day)
	if err := os.Symlink("..data/key", filepath.Join(dir, "key")); err != nil {
		t.Fatal(err)
	}
	wall := &clock{}
	cache := newCache(t, credential.File(filepath.Join(dir, "key")), &credential.CacheOptions{Now: wall.now})
	v := retrieve(t, cache, 1)
	if v.Version != "2026-01-01T00:00:00Z" || v.Source != "file:"+filepath.Join(dir, "key") {
		t.Errorf("got %+v", v)
	}
	swap(2, day.AddDate(0, 0, 1))
	v = replace(t, cache, v, 2) // at once on a rejection
	if v.Version != "2026-01-02T00:00:00Z" {
		t.Errorf("Version is %q", v.Version)
	}
}
