package credentialtest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// A loose source keeps its secret where every printer finds it.
type loose struct{ Text string }

func (l loose) Retrieve(ctx context.Context) (credential.Value, error) {
	return credential.Value{Secret: credential.NewSecret(l.Text), Source: "loose"}, ctx.Err()
}

type sourceFunc = func(context.Context) (credential.Value, error)

func value(text string) credential.Value {
	return credential.Value{Secret: credential.NewSecret(text), Source: "bad"}
}

// badSources each break one rule, under the check that has to notice.
var badSources = map[string]func(store *credentialtest.Store, secret string) credential.Source{
	"returns the value": func(store *credentialtest.Store, secret string) credential.Source {
		return sourceOf(func(ctx context.Context) (credential.Value, error) {
			v, err := store.Retrieve(ctx)
			v.Source = ""
			return v, err
		})
	},
	"is safe for concurrent use": func(store *credentialtest.Store, secret string) credential.Source {
		var n atomic.Int64
		return sourceOf(func(ctx context.Context) (credential.Value, error) {
			if n.Add(1) == 100 {
				return credential.Value{}, errors.New("busy")
			}
			return store.Retrieve(ctx)
		})
	},
	"returns at once when its context is done": func(_ *credentialtest.Store, secret string) credential.Source {
		return sourceOf(func(context.Context) (credential.Value, error) { return value(secret), nil })
	},
	"leaves a store that hangs at its deadline": func(store *credentialtest.Store, _ string) credential.Source {
		return sourceOf(func(ctx context.Context) (credential.Value, error) {
			v, err := store.Retrieve(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("%w: no answer", credential.ErrUnavailable)
			}
			return v, err
		})
	},
	"bridges an outage and never falls through a chain": func(store *credentialtest.Store, _ string) credential.Source {
		return sourceOf(func(ctx context.Context) (credential.Value, error) {
			v, err := store.Retrieve(ctx)
			if err != nil && ctx.Err() == nil {
				err = &credential.SourceError{Source: "bad", Err: errors.New("503")} // not Transient
			}
			return v, err
		})
	},
	"sees a rotation at the next read": func(store *credentialtest.Store, _ string) credential.Source {
		var kept atomic.Pointer[credential.Value]
		return sourceOf(func(ctx context.Context) (credential.Value, error) {
			if v := kept.Load(); v != nil {
				return *v, ctx.Err()
			}
			v, err := store.Retrieve(ctx)
			if err == nil {
				kept.Store(&v)
			}
			return v, err
		})
	},
	"refuses what cannot be a key without quoting it": func(store *credentialtest.Store, _ string) credential.Source {
		return sourceOf(func(ctx context.Context) (credential.Value, error) {
			v, err := store.Retrieve(ctx)
			if strings.ContainsAny(v.Secret.Reveal(), "\r\n {") {
				err = fmt.Errorf("bad secret %q", v.Secret.Reveal())
			}
			return v, err
		})
	},
	"does not print the secret": func(_ *credentialtest.Store, secret string) credential.Source { return loose{secret} },
	"leaves no goroutine behind": func(store *credentialtest.Store, _ string) credential.Source {
		return sourceOf(func(ctx context.Context) (credential.Value, error) {
			go func() { <-make(chan int) }()
			return store.Retrieve(ctx)
		})
	},
	"has one name": func(store *credentialtest.Store, _ string) credential.Source { return renamed{store} },
	"says when there is no such secret": func(store *credentialtest.Store, _ string) credential.Source {
		return sourceOf(func(ctx context.Context) (credential.Value, error) {
			v, err := store.Retrieve(ctx)
			if errors.Is(err, credential.ErrNotFound) {
				err = errors.New("404")
			}
			return v, err
		})
	},
}

// bad returns the source that breaks the rule, or a good one if it is the Config
// that breaks it.
func bad(name string, store *credentialtest.Store, secret string) credential.Source {
	if make := badSources[name]; make != nil {
		return make(store, secret)
	}
	return store
}

func sourceOf(f sourceFunc) credential.Source { return credential.SourceFunc(f) }

// TestSuiteNotices runs this test binary again, with a source that breaks a
// rule: that check, and maybe others, must fail. What it prints stays here.
func TestSuiteNotices(t *testing.T) {
	const which = "LATCHKEY_TEST_BAD_SOURCE"
	if name := os.Getenv(which); name != "" {
		credentialtest.TestSource(t, brokenConfig(name, credentialtest.Config{New: func(t *testing.T, secret string) credentialtest.Harness {
			store := credentialtest.NewStore(secret)
			return credentialtest.Harness{
				Held:     func() int { return map[bool]int{true: 1}[name == "leaves nothing in the store"] },
				Source:   bad(name, store, secret),
				Rotate:   func(secret string) { store.Rotate(secret) },
				Fail:     func() { store.Fail(errors.New("503")) },
				NotFound: func() { store.Fail(credential.ErrNotFound) },
				Hang:     func() { t.Cleanup(store.Hang()) },
			}
		}}))
		return
	}
	names := slices.Concat(slices.Collect(maps.Keys(badSources)), slices.Collect(maps.Keys(badWires)),
		[]string{"reads small regular files only", "leaves nothing in the store"})
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^TestSuiteNotices$/^"+strings.ReplaceAll(name, " ", "_")+"$")
			cmd.Env = append(os.Environ(), which+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestSuiteNotices/"+strings.ReplaceAll(name, " ", "_")) {
				t.Errorf("a source that breaks this rule passes (%v, %d bytes of output)", err, len(out))
			}
		})
	}
}

func TestStoreDoesWhatItIsTold(t *testing.T) {
	ctx := context.Background()
	store := credentialtest.NewStore("sk-CANARY-1")
	read := func() (credential.Value, error) { return store.Retrieve(ctx) }
	if v, err := read(); err != nil || v.Version != "v1" || v.Source != "store" {
		t.Errorf("got %+v, %v", v, err)
	}
	if version := store.Rotate("sk-CANARY-2"); version != "v2" {
		t.Errorf("version %q", version)
	}
	boom := errors.New("boom")
	store.FailTimes(2, boom)
	for i := range 3 {
		if _, err := read(); errors.Is(err, boom) != (i < 2) {
			t.Errorf("read %d: %v", i, err)
		}
	}
	store.Lag(time.Hour)
	store.Rotate("sk-CANARY-3")
	if v, err := read(); err != nil || v.Version != "v2" {
		t.Errorf("a version that lags is out: %+v, %v", v, err)
	}
	store.Panic("boom")
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("no panic")
			}
		}()
		_, _ = read()
	}()
	store.Panic(nil)
	release := store.HangDeaf()
	done := make(chan error)
	go func() { _, err := read(); done <- err }()
	release()
	release()
	if err := <-done; err != nil || store.Reads() != 7 {
		t.Errorf("%v after %d reads", err, store.Reads())
	}
	renewer := store.Renewing(nil)
	if _, err := renewer.Renew(ctx, credential.Rejection{StatusCode: 401}); err != nil || len(renewer.Rejections()) != 1 {
		t.Errorf("Renew: %v, %d rejections", err, len(renewer.Rejections()))
	}
}
