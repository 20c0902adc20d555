package credentialtest

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

// The secrets that [TestSource] puts into stores. A scan of a test's output for
// "CANARY" finds what leaks.
const (
	firstSecret  = "sk-CANARY-conformance-1"
	secondSecret = "sk-CANARY-conformance-2"
)

// patience bounds what must not hang. No test measures speed with it.
const patience = 30 * time.Second

// A Harness is a source together with the store behind it. Its functions change
// what the store does from then on. If a function is nil, the store has no such
// state, and TestSource leaves out the checks that need it.
type Harness struct {
	// Source is the source under test, configured and available.
	Source credential.Source
	// Rotate makes the store hold another secret.
	Rotate func(secret string)
	// Fail makes the store answer as in an outage: a 5xx, a refused connection.
	Fail func()
	// NotFound makes the store answer that it has no such secret.
	NotFound func()
	// Hang makes the store not answer. The Harness ends it in t.Cleanup.
	Hang func()
	// Held counts the leases and tokens of the source that the store still
	// holds. TestSource calls it once it has closed the source, if the source has
	// Close(context.Context) error.
	Held func() int
}

// A Config tells [TestSource] how to make what it tests.
type Config struct {
	// New returns a new Harness whose store holds secret, which may be empty,
	// large or full of odd bytes. It cleans up with t.Cleanup. Required.
	New func(t *testing.T, secret string) Harness
	// Unavailable returns the same kind of source in an environment in which it
	// is not configured. Nil if there is no such environment.
	Unavailable func(t *testing.T) credential.Source
	// HTTP returns the same kind of source, configured and available, whose
	// requests are carried by t. Nil if the source makes none.
	HTTP func(t *testing.T, transport http.RoundTripper) credential.Source
	// File returns the same kind of source that needs the file at path: for its
	// token, a certificate or the secret itself. Nil if it needs none.
	File func(t *testing.T, path string) credential.Source
	// Scheme is what the values have to have.
	Scheme credential.Scheme
}

// TestSource checks that a source keeps the rules of [credential.Source]. The
// source has to give the latest value, to any number of goroutines; to return
// when its context is done; to tell apart that it is not configured, that there
// is no such secret, and that it has failed; to show the secret nowhere; to
// refuse what cannot be a key without quoting it; to leave no goroutine and no
// lease behind; to have one name; and to work under a [credential.Cache], with a
// decorator around it as well.
//
// What comes instead of the store's own answer is an outage, the same for all
// sources: a redirect, which is not followed; an answer without an end, which is
// not read to it; a certificate that is not trusted; the statuses 408, 429 and 5xx. A file
// is read only if it is a small regular one.
//
// TestSource counts goroutines, so no other test should run in parallel with it.
func TestSource(t *testing.T, cfg Config) {
	t.Helper()
	if cfg.New == nil {
		t.Fatal("credentialtest: Config.New is nil")
	}
	probe := cfg.New(t, firstSecret)
	if probe.Source == nil {
		t.Fatal("credentialtest: Config.New returned no source")
	}
	checks := []struct {
		name string
		in   bool
		run  func(*testing.T, Config)
	}{
		{"returns the value", true, testValue},
		{"is safe for concurrent use", true, testConcurrent},
		{"returns at once when its context is done", true, testCancelled},
		{"leaves a store that hangs at its deadline", probe.Hang != nil, testHang},
		{"says when it is not configured", cfg.Unavailable != nil, testUnavailable},
		{"says when there is no such secret", probe.NotFound != nil, testNotFound},
		{"bridges an outage and never falls through a chain", probe.Fail != nil, testFail},
		{"sees a rotation at the next read", probe.Rotate != nil, testRotation},
		{"replaces a rejected value under a cache", probe.Rotate != nil, testReplace},
		{"keeps a value under a cache without rereading", true, testCached},
		{"refuses what cannot be a key without quoting it", true, testOddSecrets},
		{"does not print the secret", true, testPrinting},
		{"has one name", true, testName},
		{"works with a decorator around it", probe.Rotate != nil, testDecorated},
		{"leaves nothing in the store", probe.Held != nil, testClosed},
		{"follows no redirect", cfg.HTTP != nil, testRedirects},
		{"reads no answer without an end", cfg.HTTP != nil, testHugeAnswer},
		{"does not trust a stranger's certificate", cfg.HTTP != nil, testUntrusted},
		{"takes what passes for transient", cfg.HTTP != nil, testTransient},
		{"gives the cause of its context's end", cfg.HTTP != nil, testCause},
		{"reads small regular files only", cfg.File != nil, testFiles},
		{"leaves no goroutine behind", true, testGoroutines},
	}
	for _, check := range checks {
		if check.in {
			t.Run(check.name, func(t *testing.T) { check.run(t, cfg) })
		}
	}
}

func testValue(t *testing.T, cfg Config) {
	v, err := retrieve(t, context.Background(), cfg.New(t, firstSecret).Source)
	if err != nil {
		t.Fatalf("Retrieve: %v", err)
	}
	checkValue(t, cfg, v, firstSecret)
}

func checkValue(t *testing.T, cfg Config, v credential.Value, want string) {
	t.Helper()
	if v.Secret.Reveal() != want {
		t.Error("the value holds another secret than the store")
	}
	if v.Scheme != cfg.Scheme {
		t.Errorf("Scheme is %v, want %v", v.Scheme, cfg.Scheme)
	}
	if v.Source == "" {
		t.Error("Source is empty: an audit could not tell where the value came from")
	}
	if leaks(v.Source+v.Version, want) {
		t.Error("Source or Version holds the secret")
	}
	if !v.Expires.IsZero() && !v.Expires.After(time.Now()) {
		t.Errorf("the value expired at %v", v.Expires)
	}
}

func testConcurrent(t *testing.T, cfg Config) {
	src := cfg.New(t, firstSecret).Source
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 8 {
				if v, err := src.Retrieve(context.Background()); err != nil {
					t.Errorf("Retrieve: %v", err)
				} else if v.Secret.Reveal() != firstSecret {
					t.Error("a concurrent Retrieve returned another secret")
				}
			}
		})
	}
	wg.Wait()
}

func testCancelled(t *testing.T, cfg Config) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := retrieve(t, ctx, cfg.New(t, firstSecret).Source)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Retrieve with a canceled context: %v, want an error wrapping context.Canceled", err)
	}
	checkFinal(t, err)
}

func testHang(t *testing.T, cfg Config) {
	h := cfg.New(t, firstSecret)
	h.Hang()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := retrieve(t, ctx, h.Source)
	if err == nil {
		t.Error("Retrieve succeeded on a store that hangs")
	}
	checkFinal(t, err)
}

// checkFinal checks that a chain would not go on to another account.
func checkFinal(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("%v: wraps ErrUnavailable, so a chain would go on to the next source", err)
	}
	if errors.Is(err, credential.ErrNotFound) {
		t.Errorf("%v: wraps ErrNotFound, but the store did not say so", err)
	}
	checkError(t, err, firstSecret)
}

func testUnavailable(t *testing.T, cfg Config) {
	_, err := retrieve(t, context.Background(), cfg.Unavailable(t))
	if !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("Retrieve without configuration: %v, want an error wrapping ErrUnavailable", err)
	}
}

func testNotFound(t *testing.T, cfg Config) {
	h := cfg.New(t, firstSecret)
	h.NotFound()
	_, err := retrieve(t, context.Background(), h.Source)
	if !errors.Is(err, credential.ErrNotFound) {
		t.Errorf("Retrieve of a secret that is not there: %v, want an error wrapping ErrNotFound", err)
	}
	if errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("%v: wraps ErrUnavailable, but the store is configured", err)
	}
	checkError(t, err, firstSecret)
}

func testFail(t *testing.T, cfg Config) {
	h := cfg.New(t, firstSecret)
	// The value is past its TTL at once, and only an outage may be bridged.
	cache := newCache(t, h.Source, &credential.CacheOptions{TTL: time.Nanosecond, StaleIfError: time.Hour})
	if _, err := retrieve(t, context.Background(), cache); err != nil {
		t.Fatalf("Retrieve before the outage: %v", err)
	}
	h.Fail()
	_, err := retrieve(t, context.Background(), h.Source)
	if err == nil {
		t.Fatal("Retrieve succeeded in an outage")
	}
	checkFinal(t, err)
	v, err := retrieve(t, context.Background(), cache)
	if err != nil {
		t.Fatalf("a cache does not bridge the outage; is its error's Transient set? %v", err)
	}
	checkValue(t, cfg, v, firstSecret)
}

func testRotation(t *testing.T, cfg Config) {
	h := cfg.New(t, firstSecret)
	for i, want := range []string{firstSecret, secondSecret} {
		if i > 0 {
			h.Rotate(want)
		}
		v, err := retrieve(t, context.Background(), h.Source)
		if err != nil {
			t.Fatalf("Retrieve %d: %v", i+1, err)
		}
		checkValue(t, cfg, v, want)
	}
}

func testReplace(t *testing.T, cfg Config) { replaced(t, cfg, cfg.New(t, firstSecret)) }

func replaced(t *testing.T, cfg Config, h Harness) {
	t.Helper()
	cache := newCache(t, h.Source, nil)
	v, err := retrieve(t, context.Background(), cache)
	if err != nil {
		t.Fatalf("Retrieve: %v", err)
	}
	cache.Accept(v)
	h.Rotate(secondSecret)
	v, err = guard(t, func() (credential.Value, error) {
		return cache.Replace(context.Background(), credential.Rejection{Value: v, StatusCode: 401})
	})
	if err != nil {
		t.Fatalf("Replace after a rotation: %v", err)
	}
	checkValue(t, cfg, v, secondSecret)
}

func testCached(t *testing.T, cfg Config) {
	h := cfg.New(t, firstSecret)
	cache := newCache(t, h.Source, nil)
	for i := range 3 {
		v, err := retrieve(t, context.Background(), cache)
		if err != nil {
			t.Fatalf("Retrieve %d: %v", i+1, err)
		}
		checkValue(t, cfg, v, firstSecret)
		if h.Rotate != nil {
			h.Rotate(secondSecret)
		}
	}
}

func testGoroutines(t *testing.T, cfg Config) {
	h := cfg.New(t, firstSecret)
	read := func() { _, _ = retrieve(t, context.Background(), h.Source) }
	read() // what a transport keeps for later does not count
	before := runtime.NumGoroutine()
	const reads = 50
	for range reads {
		read()
	}
	if h.Hang != nil {
		h.Hang()
		var wg sync.WaitGroup
		for range reads {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
				defer cancel()
				_, _ = h.Source.Retrieve(ctx)
			})
		}
		wg.Wait()
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience / 6); runtime.NumGoroutine() >= before+reads/2; <-tick.C {
		if time.Now().After(end) {
			t.Errorf("%d goroutines before the reads, %d after", before, runtime.NumGoroutine())
			return
		}
	}
}

func newCache(t *testing.T, src credential.Source, opts *credential.CacheOptions) *credential.Cache {
	t.Helper()
	cache, err := credential.NewCache(src, opts)
	if err != nil {
		t.Fatalf("NewCache: %v", err)
	}
	return cache
}

func retrieve(t *testing.T, ctx context.Context, src credential.Source) (credential.Value, error) {
	t.Helper()
	return guard(t, func() (credential.Value, error) { return src.Retrieve(ctx) })
}

// guard fails the test when f hangs.
func guard(t *testing.T, f func() (credential.Value, error)) (v credential.Value, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		v, err = f()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("no answer within %v", patience)
	}
	return v, err
}
