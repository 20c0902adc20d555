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

func TestEnvReadsTheVariableEachTime(t *testing.T) {
	const name = "LATCHKEY_TEST_KEY"
	src := credential.Env(name)
	for n := 1; n <= 2; n++ {
		t.Setenv(name, key(n)+"\n")
		v, err := src.Retrieve(background)
		if want(t, n, v, err); v.Source != "env:"+name || v.Version != "" || v.Scheme != credential.APIKey {
			t.Errorf("got %+v", v)
		}
	}
	t.Setenv(name, "")
	_, err := src.Retrieve(background)
	wantErr(t, err, credential.ErrUnavailable)
}

func TestEnvRefusesWhatIsNoNameWithoutQuotingIt(t *testing.T) {
	for _, name := range []string{"", "sk-CANARY-1", "CANARY=1", "CANARY\x00"} {
		src := credential.Env(name)
		_, err := src.Retrieve(background)
		if err == nil || errors.Is(err, credential.ErrUnavailable) || strings.Contains(err.Error(), "CANARY") {
			t.Error("a bad name gave no error, one that a chain passes over, or one that quotes it")
		}
		if s := newCache(t, src, nil).String(); s != "cache(env)" {
			t.Error("the name is quoted")
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

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
		"empty":           {path("empty"), "check the secret: it is empty (store the bare key, or name its field)", false},
		"a directory":     {dir, "read: not a regular file (name the file that holds the key)", false},
		"a named pipe":    {path("pipe"), "read: not a regular file (name the file that holds the key)", false},
		"over 64 KiB":     {path("large"), "read: 66000 bytes, at most 65536 are read (name the file that holds only the key)", false},
		"64 KiB":          {path("limit"), "check the secret: it has 65536 bytes, a key has at most 16384 (store the bare key, or name its field)", false},
		"two lines":       {path("lines"), "check the secret: byte 7 of 13 is a line break (store the bare key, or name its field)", false},
		"below a file":    {path("lines/key"), "read: not a directory (let the process read it)", false},
		"endless":         {"/dev/zero", "read: not a regular file (name the file that holds the key)", false},
		"an odd file":     {"/proc/self/mem", "read: input/output error (try again)", false},
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

func TestFileInUseIsReadAgainAfterTenSeconds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	writeFile(t, path, key(1))
	v, err := credential.File(path).Retrieve(background)
	want(t, 1, v, err)
	if d := time.Until(v.RefreshAfter); d > 10*time.Second || d < time.Second {
		t.Errorf("RefreshAfter is in %v", d)
	}
	bubble(t, func(t *testing.T) {
		cache := newCache(t, credential.File(path), nil)
		retrieve(t, cache, 1)
		writeFile(t, path, key(2))
		pass(9 * time.Second)
		retrieve(t, cache, 1)
		pass(time.Second)
		retrieve(t, cache, 1) // this call starts the read
		pass(time.Second)
		retrieve(t, cache, 2)
		if err := os.Remove(path); err != nil { // the moment of a replacement
			t.Fatal(err)
		}
		pass(time.Minute)
		retrieve(t, cache, 2)
		writeFile(t, path, key(3))
		pass(time.Hour)
		retrieve(t, cache, 3)
	})
}
