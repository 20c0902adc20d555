package hashivault_test

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
)

const (
	creds      = "secret/openai"
	renewLease = "sys/leases/renew"
)

// leasing is a source of a dynamic secret whose leases live for a minute of the
// clock, with a token that lives for an hour.
func leasing(t *testing.T, opts *hashivault.Options) (*stub, *clock, *hashivault.Source) {
	t.Helper()
	s, c := newStub(t), newClock()
	s.do(func() { s.kv, s.ttl = 0, 3600 })
	s.next("L1", firstKey, 60)
	opts.Auth, opts.Now = &hashivault.AppRole{RoleID: "r"}, c.now
	return s, c, s.source(opts)
}

// next is the lease that a read creates from now on.
func (s *stub) next(id, key string, seconds int) {
	s.do(func() {
		s.fields = map[string]any{"key": key}
		s.lease = map[string]any{"lease_id": id, "lease_duration": seconds, "renewable": true}
	})
}

func TestALeaseIsHeldAndRenewed(t *testing.T) {
	s, c, src := leasing(t, &hashivault.Options{})
	v := wants(t, src, firstKey)
	if v.Version != "L1" || !v.Expires.Equal(c.now().Add(time.Minute)) || !v.RefreshAfter.Equal(c.now().Add(40*time.Second)) {
		t.Errorf("version %q, expires %v, refresh %v", v.Version, v.Expires, v.RefreshAfter)
	}
	for range 3 {
		wants(t, src, firstKey)
	}
	s.wantCounts(map[string]int{creds: 1, renewLease: 0})
	c.pass(41 * time.Second)
	v = wants(t, src, firstKey)
	if !v.Expires.Equal(c.now().Add(time.Minute)) {
		t.Errorf("after the renewal it expires at %v", v.Expires)
	}
	s.wantCounts(map[string]int{creds: 1, renewLease: 1})
	c.pass(time.Hour) // asleep
	s.next("L2", "sk-CANARY-2", 60)
	wants(t, src, "sk-CANARY-2")
	s.wantCounts(map[string]int{creds: 2, renewLease: 1, login: 2})
}

func TestALeaseAtItsMaximumIsReplacedWhileItIsGood(t *testing.T) {
	for name, change := range map[string]func(*stub){
		"little is granted": func(s *stub) { s.lease["lease_duration"] = 15 },
		"not renewable":     func(s *stub) { s.lease["renewable"] = false },
		"gone":              func(s *stub) { s.lease = map[string]any{"lease_id": "L2", "lease_duration": 60, "renewable": true} },
	} {
		t.Run(name, func(t *testing.T) {
			s, c, src := leasing(t, &hashivault.Options{})
			wants(t, src, firstKey)
			c.pass(41 * time.Second)
			s.do(func() { change(s); s.fields = map[string]any{"key": "sk-CANARY-2"} })
			wants(t, src, "sk-CANARY-2")
			s.wantCounts(map[string]int{creds: 2})
		})
	}
}

func TestAnOutageDoesNotEndALease(t *testing.T) {
	s, c, src := leasing(t, &hashivault.Options{})
	wants(t, src, firstKey)
	s.on("s", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 503, "Vault is sealed") })
	c.pass(45 * time.Second)
	for range 5 {
		wants(t, src, firstKey)
	}
	s.wantCounts(map[string]int{renewLease: 1, creds: 2}) // and then a pause
	c.pass(16 * time.Second)
	refuses(t, src, true, "Vault is sealed")
}

func TestALeaseEndsWithItsToken(t *testing.T) {
	s, c, src := leasing(t, &hashivault.Options{})
	s.do(func() { s.ttl = 30 })
	v := wants(t, src, firstKey)
	if !v.Expires.Equal(c.now().Add(30*time.Second)) || !v.RefreshAfter.Equal(c.now().Add(20*time.Second)) {
		t.Errorf("expires %v, refresh %v: not with the token", v.Expires, v.RefreshAfter)
	}
	c.pass(21 * time.Second)
	v = wants(t, src, firstKey) // the token is renewed, so that the lease lives on
	if !v.Expires.Equal(c.now().Add(30 * time.Second)) {
		t.Errorf("expires %v", v.Expires)
	}
	s.wantCounts(map[string]int{renew: 1, creds: 1})
	c.pass(31 * time.Second)
	s.next("L2", "sk-CANARY-2", 60)
	wants(t, src, "sk-CANARY-2")
	s.wantCounts(map[string]int{login: 2, creds: 2})
}

func TestARejectedLeaseIsReplacedOnceForAllCallers(t *testing.T) {
	s, _, src := leasing(t, &hashivault.Options{})
	v := wants(t, src, firstKey)
	s.next("L2", "sk-CANARY-2", 60)
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			got, err := src.Renew(context.Background(), credential.Rejection{Value: v, StatusCode: 401})
			if err != nil || got.Secret.Reveal() != "sk-CANARY-2" {
				t.Errorf("Renew gave the rejected credential, or failed: %v", err)
			}
		})
	}
	wg.Wait()
	wants(t, src, "sk-CANARY-2")
	s.wantCounts(map[string]int{creds: 2})
}

func TestALeaseOfATokenThatWasReplacedIsReplaced(t *testing.T) {
	s, c, src := leasing(t, &hashivault.Options{})
	s.do(func() { s.ttl = 60 })
	s.next("L1", firstKey, 3600)
	wants(t, src, firstKey)
	s.do(func() { s.ttl = 10 }) // the token nears its maximum
	c.pass(41 * time.Second)
	wants(t, src, firstKey)
	s.next("L2", "sk-CANARY-2", 3600)
	c.pass(7 * time.Second)
	wants(t, src, "sk-CANARY-2")
	s.wantCounts(map[string]int{login: 2, creds: 2})
}

func TestARejectionDuringARenewalGetsAnotherLease(t *testing.T) {
	s, c, src := leasing(t, &hashivault.Options{})
	v := wants(t, src, firstKey)
	began, free := make(chan struct{}), make(chan struct{})
	s.do(func() {
		s.script = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v1/"+renewLease {
				close(began)
				<-free
			}
			return false
		}
	})
	c.pass(41 * time.Second)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = src.Retrieve(context.Background()) })
	<-began
	for range 20 {
		wg.Go(func() {
			got, err := src.Renew(context.Background(), credential.Rejection{Value: v, StatusCode: 401})
			if err != nil || got.Secret.Reveal() != "sk-CANARY-2" {
				t.Errorf("Renew gave the rejected credential, or failed: %v", err)
			}
		})
	}
	// The renewal that is under way is of the lease that is rejected.
	s.do(func() { s.fields = map[string]any{"key": "sk-CANARY-2"} })
	for range 100 {
		runtime.Gosched()
	}
	close(free)
	wg.Wait()
	wants(t, src, "sk-CANARY-2")
	s.wantCounts(map[string]int{creds: 2})
}

func TestConcurrentReadsCreateOneLease(t *testing.T) {
	s, _, src := leasing(t, &hashivault.Options{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := src.Retrieve(context.Background()); err != nil {
				t.Errorf("Retrieve: %v", err)
			}
		})
	}
	wg.Wait()
	s.wantCounts(map[string]int{creds: 1, login: 1})
}

func TestAnEngineWithoutLeasesIsReadEachTime(t *testing.T) {
	s, _, src := leasing(t, &hashivault.Options{})
	s.do(func() { s.lease = nil })
	wants(t, src, firstKey)
	wants(t, src, firstKey)
	s.wantCounts(map[string]int{creds: 2})
	s.on("secret/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 404) })
	refuses(t, src, false, "not found")
}

func TestKVv1TellsWhenToLookAgain(t *testing.T) {
	s, c := newStub(t), newClock()
	s.do(func() { s.kv, s.lease = 1, map[string]any{"lease_duration": 90} })
	v := wants(t, s.source(&hashivault.Options{Now: c.now}), firstKey)
	if !v.RefreshAfter.Equal(c.now().Add(90*time.Second)) || !v.Expires.IsZero() {
		t.Errorf("refresh %v, expires %v", v.RefreshAfter, v.Expires)
	}
}

func TestCloseRevokesOnlyIfAskedTo(t *testing.T) {
	for _, revoke := range []bool{false, true} {
		s, _, src := leasing(t, &hashivault.Options{RevokeOnClose: revoke})
		wants(t, src, firstKey)
		for range 2 {
			if err := src.Close(context.Background()); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if want := map[bool]int{true: 1}[revoke]; s.count("auth/token/revoke-self") != want {
			t.Errorf("RevokeOnClose %v: %d revocations", revoke, s.count("auth/token/revoke-self"))
		}
		refuses(t, src, false, "the source is closed")
	}
}

func TestCloseRevokesTheLeaseOfATokenFromElsewhere(t *testing.T) {
	s := newStub(t)
	s.do(func() { s.kv = 0 })
	s.next("L1", firstKey, 60)
	src := s.source(&hashivault.Options{RevokeOnClose: true})
	wants(t, src, firstKey)
	s.on("sys/leases/revoke", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 403, "permission denied CANARY") })
	err := src.Close(context.Background())
	if err == nil {
		t.Error("Close says nothing of a revocation that was refused")
	}
	silent(t, err)
	s.wantCounts(map[string]int{"sys/leases/revoke": 1, "auth/token/revoke-self": 0})
}

func TestALeaseThatComesAfterCloseIsRevoked(t *testing.T) {
	s := newStub(t)
	s.do(func() { s.kv = 0 })
	src := s.source(&hashivault.Options{RevokeOnClose: true})
	asked, closed := make(chan struct{}), make(chan struct{})
	s.on(creds, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-closed
		_, _ = w.Write([]byte(`{"lease_id":"L1","lease_duration":60,"renewable":true,"data":{"key":"CANARY"}}`))
	})
	ended := make(chan error)
	go func() {
		_, err := src.Retrieve(t.Context())
		ended <- err
	}()
	<-asked
	if err := src.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	close(closed)
	if err := <-ended; err == nil {
		t.Error("a read after Close gave a value")
	} else {
		silent(t, err)
	}
	s.wantCounts(map[string]int{"sys/leases/revoke": 1})
}
