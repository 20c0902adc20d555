package credential_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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
