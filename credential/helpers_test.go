package credential_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

var background = context.Background()

var errDown = &credential.SourceError{Source: "store", Op: "read", Err: errors.New("503 Service Unavailable"), Transient: true}

// key is the n-th secret of a test. No test prints one.
func key(n int) string { return fmt.Sprintf("sk-CANARY-%d", n) }

func apiKey(n int) credential.Value {
	return credential.Value{Secret: credential.NewSecret(key(n)), Version: fmt.Sprintf("v%d", n), Source: "store"}
}

func token(n int, life time.Duration) credential.Value {
	v := apiKey(n)
	v.Scheme, v.Expires = credential.BearerToken, time.Now().Add(life)
	return v
}

func newCache(t testing.TB, src credential.Source, opts *credential.CacheOptions) *credential.Cache {
	t.Helper()
	cache, err := credential.NewCache(src, opts)
	if err != nil {
		t.Fatalf("NewCache: %v", err)
	}
	return cache
}

// nth returns n if v holds key(n), for some small n, and -1 otherwise.
func nth(v credential.Value) int {
	var n int
	if _, err := fmt.Sscanf(v.Secret.Reveal(), "sk-CANARY-%d", &n); err != nil {
		return -1
	}
	return n
}

func want(t testing.TB, n int, v credential.Value, err error) credential.Value {
	t.Helper()
	if err != nil {
		t.Errorf("no key %d: %v", n, err)
		return v
	}
	if nth(v) != n {
		t.Errorf("got key %d, want key %d", nth(v), n)
	}
	return v
}

func retrieve(t testing.TB, cache *credential.Cache, n int) credential.Value {
	t.Helper()
	v, err := cache.Retrieve(background)
	return want(t, n, v, err)
}

func reject(v credential.Value) credential.Rejection {
	return credential.Rejection{Value: v, StatusCode: 401}
}

func replace(t testing.TB, cache *credential.Cache, old credential.Value, n int) credential.Value {
	t.Helper()
	v, err := cache.Replace(background, reject(old))
	return want(t, n, v, err)
}

func wantReads(t testing.TB, store interface{ Reads() int }, n int) {
	t.Helper()
	if got := store.Reads(); got != n {
		t.Errorf("%d reads of the store, want %d", got, n)
	}
}

func wantErr(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got error %v, want one wrapping %v", err, target)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "CANARY") {
		t.Error("the error shows the secret")
	}
}

// pass lets fake time go by.
func pass(d time.Duration) { <-time.After(d) }

// took returns how much fake time f takes.
func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// A clock is wall time that a test sets, beside the monotonic time of the bubble.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) jump(d time.Duration) { c.ahead.Add(int64(d)) }

// A script is a source whose n-th read is the n-th step; the last one repeats.
type script struct {
	steps []func(context.Context) (credential.Value, error)
	reads atomic.Int64
}

func steps(s ...func(context.Context) (credential.Value, error)) *script { return &script{steps: s} }

func (s *script) Reads() int     { return int(s.reads.Load()) }
func (s *script) String() string { return "script" }

func (s *script) Retrieve(ctx context.Context) (credential.Value, error) {
	n := int(s.reads.Add(1))
	return s.steps[min(n, len(s.steps))-1](ctx)
}

func gives(v credential.Value) func(context.Context) (credential.Value, error) {
	return func(context.Context) (credential.Value, error) { return v, nil }
}

// slowly answers after d, deaf to the context.
func slowly(d time.Duration, v credential.Value) func(context.Context) (credential.Value, error) {
	return func(context.Context) (credential.Value, error) {
		pass(d)
		return v, nil
	}
}

// A log records events.
type log struct {
	mu     sync.Mutex
	events []credential.Event
}

func (l *log) add(e credential.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// kinds lists the kinds so far, and forgets them.
func (l *log) kinds() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kinds []string
	for _, e := range l.events {
		kinds = append(kinds, string(e.Kind))
	}
	l.events = nil
	return strings.Join(kinds, " ")
}

// A service accepts some keys and refuses the others.
type service struct {
	mu    sync.RWMutex
	valid map[string]bool
}

func accepting(keys ...string) *service {
	s := &service{}
	s.accept(keys...)
	return s
}

// accept makes the service accept these keys and no other.
func (s *service) accept(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.valid = map[string]bool{}
	for _, k := range keys {
		s.valid[k] = true
	}
}

func (s *service) takes(v credential.Value) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.valid[v.Secret.Reveal()]
}

var errUnauthorized = errors.New("401 Unauthorized")

// call does what package middleware does with a Cache: at most four sends.
func call(ctx context.Context, cache *credential.Cache, s *service) (sends int, err error) {
	v, err := cache.Retrieve(ctx)
	if err != nil {
		return 0, err
	}
	return resend(ctx, cache, s, v)
}

func resend(ctx context.Context, cache *credential.Cache, s *service, v credential.Value) (sends int, err error) {
	for sends = 1; ; sends++ {
		if s.takes(v) {
			cache.Accept(v)
			return sends, nil
		}
		if sends == 4 {
			return sends, errUnauthorized
		}
		if v, err = cache.Replace(ctx, reject(v)); err != nil {
			return sends, err
		}
	}
}

// bubble runs f in fake time, and lets the reads that f left behind end: the
// test fails if one does not.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer pass(time.Hour)
		f(t)
	})
}
