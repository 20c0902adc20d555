package vaulttest_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/internal/testing/vaulttest"
)

func TestFiftyRotationsUnderTwoHundredCallers(t *testing.T) {
	const rounds, callers = 50, 200
	s := start(t)
	src := source(t, s, "secret/openai", &hashivault.Options{Auth: role(t, s, nil)})
	svc, call := service(t, src, nil, key(0))
	l := newLoad(t, callers, call)
	l.more(t, callers)
	for n := 1; n <= rounds; n++ {
		l.let(callers)
		s.Put("openai", map[string]any{"key": key(n)})
		l.let(callers)
		svc.Rotate(key(n)) // the old one is dead from here on
		l.more(t, callers)
	}
	l.nobodyFailed(t)
	reads := s.Count(kvRead) - rounds - 1 // the writes have the same path
	t.Logf("%d rotations: %d reads, %d logins", rounds, reads, s.Count(login))
	if reads < rounds || reads > rounds+1 {
		t.Errorf("%d reads for %d rotations and the start", reads, rounds)
	}
	if n := s.Count(login); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// busy is a source under callers that read it without a cache, so that each
// call needs a token that is alive.
func busy(t *testing.T, options map[string]any, now func() time.Time) (*vaulttest.Server, *load) {
	t.Helper()
	s := start(t)
	src := source(t, s, "secret/openai", &hashivault.Options{Auth: role(t, s, options), Now: now})
	l := newLoad(t, 20, func() error {
		_, err := src.Retrieve(context.Background())
		return err
	})
	l.more(t, 40)
	return s, l
}

func wantLogins(t *testing.T, s *vaulttest.Server, l *load, want int) {
	t.Helper()
	l.until(t, "there is another login", func() bool { return s.Count(login) >= want })
	l.more(t, 200)
	if n := s.Count(login); n != want {
		t.Errorf("%d logins, want %d", n, want)
	}
}

func TestATokenThatIsRevokedDuringLoadCostsOneLogin(t *testing.T) {
	s, l := busy(t, nil, nil)
	for n := 2; n <= 4; n++ {
		revokeTokens(t, s)
		wantLogins(t, s, l, n)
	}
	l.nobodyFailed(t)
}

// revokeTokens revokes what the AppRole has logged in for.
func revokeTokens(t *testing.T, s *vaulttest.Server) {
	t.Helper()
	if err := s.Client("").Sys().RevokePrefix("auth/approle/login"); err != nil {
		t.Fatalf("revoke: %v", err)
	}
}

func TestATokenThatExpiresDuringLoadCostsOneLogin(t *testing.T) {
	// The source's clock stands still: it does not know.
	at := time.Now()
	s, l := busy(t, map[string]any{"token_ttl": "2s", "token_max_ttl": "2s"}, func() time.Time { return at })
	wantLogins(t, s, l, 2)
	wantLogins(t, s, l, 3)
	l.nobodyFailed(t)
}

func TestATokenThatReachesItsMaximumDuringLoadCostsOneLogin(t *testing.T) {
	s, l := busy(t, map[string]any{"token_ttl": "2s", "token_max_ttl": "5s"}, nil)
	l.until(t, "the token is renewed", func() bool { return s.Count("auth/token/renew-self") > 0 })
	if n := s.Count(login); n != 1 {
		t.Errorf("%d logins before the maximum", n)
	}
	wantLogins(t, s, l, 2)
	l.nobodyFailed(t)
	if n := s.Count("auth/token/lookup-self"); n > 0 {
		t.Errorf("%d reads ran into a dead token, although the end was known", n)
	}
}

func TestAnIdleProcessWhoseTokenHasExpiredLogsInOnce(t *testing.T) {
	s := start(t)
	src := source(t, s, "secret/openai", &hashivault.Options{Auth: role(t, s, map[string]any{"token_ttl": "1s", "token_max_ttl": "1s"})})
	wants(t, src, key(0))
	until(t, "the token expires", func() bool {
		list, err := s.Client("").Logical().List("auth/token/accessors")
		return err == nil && len(list.Data["keys"].([]any)) == 1 // the root's
	})
	s.ResetCounts()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := src.Retrieve(context.Background()); err != nil {
				t.Errorf("Retrieve: %v", err)
			}
		})
	}
	wg.Wait()
	if n := s.Count(login); n == 0 || n > 2 { // the second if the reads take longer than the token lives
		t.Errorf("%d logins", n)
	}
}

// A minute of the cache's clock passes, while Vault is really sealed, stopped,
// booted and unsealed.
func TestCallsGoOnWhileVaultIsSealedAndRestarted(t *testing.T) {
	s := start(t)
	src := source(t, s, "secret/openai", &hashivault.Options{Auth: role(t, s, nil)})
	clock := &virtual{at: time.Now()}
	var rotated atomic.Bool
	opts := &credential.CacheOptions{TTL: 30 * time.Second, Now: clock.now, OnEvent: func(e credential.Event) {
		if e.Kind == "rotated" {
			rotated.Store(true)
		}
	}}
	svc, call := service(t, src, opts, key(0))
	l := newLoad(t, 50, call)
	l.more(t, 50)
	s.Seal()
	outage := func(seconds int) {
		for range seconds {
			clock.pass(time.Second)
			l.more(t, 50)
		}
	}
	outage(60)
	s.Stop()
	outage(30)
	s.Boot()
	outage(30)
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d calls failed in the outage, the first: %v", n, *l.first.Load())
	}
	s.Unseal()
	s.Put("openai", map[string]any{"key": key(1)})
	svc.Accept(key(1)) // both, while the rotation is under way
	reads := s.Count(kvRead)
	passed := 0
	for ; s.Count(kvRead) == reads; passed++ {
		if passed > 72 { // the longest back-off, and its jitter
			t.Fatal("Vault is back, and nobody has looked within one back-off")
		}
		clock.pass(time.Second)
		l.more(t, 50)
	}
	t.Logf("the new key was read %d s after the unseal", passed)
	until(t, "the new key is in use", rotated.Load)
	svc.Revoke(key(0))
	reads = s.Count(kvRead)
	l.more(t, 200)
	l.nobodyFailed(t)
	if n := s.Count(kvRead) - reads; n > 0 {
		t.Errorf("%d reads after the old key was revoked: the new one was not in use", n)
	}
}

func TestARotationDuringTheOutageIsPickedUpAtTheFirstRejectionAfterIt(t *testing.T) {
	s := start(t)
	src := source(t, s, "secret/openai", &hashivault.Options{Auth: role(t, s, nil)})
	svc, call := service(t, src, &credential.CacheOptions{Grace: time.Minute}, key(0))
	if err := call(); err != nil {
		t.Fatalf("call: %v", err)
	}
	s.Put("openai", map[string]any{"key": key(1)})
	s.Seal()
	svc.Rotate(key(1))
	l := newLoad(t, 50, call) // each waits within the grace
	l.let(50)
	until(t, "the source is told that Vault is sealed", func() bool { return s.Count(kvRead) > 4 })
	s.Stop()
	s.Boot()
	s.Unseal()
	l.more(t, 100)
	l.nobodyFailed(t)
}

type virtual struct {
	mu sync.Mutex
	at time.Time
}

func (c *virtual) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *virtual) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func TestOneOfTwoRotationsWithCheckAndSetWins(t *testing.T) {
	s := start(t)
	kv := s.Client("").KVv2("secret")
	var won int
	for n := 1; n <= 2; n++ {
		_, err := kv.Put(context.Background(), "openai", map[string]any{"key": key(n)}, api.WithCheckAndSet(1))
		var refused *api.ResponseError
		switch {
		case err == nil:
			won++
		case !asResponse(err, &refused) || refused.StatusCode != http.StatusBadRequest:
			t.Errorf("put %d: %v", n, err)
		}
	}
	if won != 1 {
		t.Errorf("%d rotations won", won)
	}
	wants(t, source(t, s, "secret/openai", &hashivault.Options{Client: s.Client("")}), key(1))
}
