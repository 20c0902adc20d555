package credential_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// events returns what a log has of some kinds, as "kind source", and forgets all.
func (l *log) of(kinds ...credential.EventKind) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var got []string
	for _, e := range l.events {
		for _, kind := range kinds {
			if e.Kind == kind {
				got = append(got, string(e.Kind)+" "+e.Source)
			}
		}
	}
	l.events = nil
	return strings.Join(got, ", ")
}

// named gives a store a name.
type named struct {
	*credentialtest.Store
	name string
}

func (n named) String() string { return n.name }

func guess() error {
	return &credential.SourceError{Source: "imds", Err: fmt.Errorf("%w: nothing answers within 500ms", credential.ErrUnavailable), Guess: true}
}

func TestASourceThatAGuessRuledOutIsAskedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		machine := named{credentialtest.NewStore(key(1)), "machine"}
		absent, other := named{absent(), "absent"}, named{credentialtest.NewStore(key(2)), "other"}
		machine.Fail(guess())
		log := &log{}
		cache := newCache(t, newChain(t, absent, machine, other), &credential.CacheOptions{TTL: time.Minute, OnEvent: log.add})
		retrieve(t, cache, 2)
		if s := log.of(credential.EventSkipped); s != "skipped absent, skipped machine" {
			t.Errorf("events: %s", s)
		}
		pass(time.Minute)
		retrieve(t, cache, 2)
		if s := log.of(credential.EventSkipped); s != "skipped machine" {
			t.Errorf("events: %s", s)
		}
		wantReads(t, machine, 2)
		wantReads(t, absent, 1) // it was no guess that it is not configured
		machine.Fail(nil)
		pass(time.Minute)
		retrieve(t, cache, 1)
		if s := log.of(credential.EventSkipped, credential.EventRotated); s != "rotated store" {
			t.Errorf("events: %s", s)
		}
		pass(time.Minute)
		retrieve(t, cache, 1)
		wantReads(t, other, 2)
	})
}

func TestASourceThatAGuessRuledOutAndThatFailsIsAnError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second := credentialtest.NewStore(key(1)), credentialtest.NewStore(key(2))
		first.Fail(guess())
		cache := newCache(t, newChain(t, newChain(t, first), second), &credential.CacheOptions{TTL: time.Minute, StaleIfError: -1})
		retrieve(t, cache, 2)
		first.Fail(errDown) // it is there, after all
		pass(time.Minute)
		_, err := cache.Retrieve(background)
		wantErr(t, err, errDown)
		wantReads(t, second, 1)
	})
}

func TestAGuessIsNotAskedAgainForARejection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second := credentialtest.NewStore(key(1)), credentialtest.NewStore(key(2))
		first.Fail(guess())
		cache := newCache(t, newChain(t, first, second), nil)
		v := retrieve(t, cache, 2)
		second.Rotate(key(3))
		first.Fail(nil)
		replace(t, cache, v, 3)
		wantReads(t, first, 1)
	})
}

// A metered source decorates another one, as users do.
type metered struct{ credential.Source }

func (m metered) Unwrap() credential.Source { return m.Source }
func (m metered) String() string            { return "metered" }

// A keyring is a source with a standby of its own.
type keyring struct {
	*credentialtest.RenewingStore
	second credential.Source
}

func (k keyring) Standby() credential.Source { return k.second }

func TestADecoratedSourceKeepsWhatItCanDo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, second := credentialtest.NewStore(key(1)), credentialtest.NewStore(key(3))
		renewing := store.Renewing(func(context.Context, credential.Rejection) (credential.Value, error) {
			store.SetValue(apiKey(2))
			return apiKey(2), nil
		})
		src := metered{metered{keyring{renewing, second}}}
		for name, src := range map[string]credential.Source{
			"alone":                   src,
			"in a chain":              newChain(t, absent(), src),
			"around a chain":          metered{newChain(t, absent(), src)},
			"behind a func in chains": newChain(t, absent(), metered{newChain(t, src)}),
			"in a standby":            credential.Standby(src, credentialtest.NewStore(key(4))),
			"around a standby":        metered{credential.Standby(src, credentialtest.NewStore(key(4)))},
		} {
			store.SetValue(apiKey(1))
			cache := newCache(t, src, nil)
			v := replace(t, cache, retrieve(t, cache, 1), 2) // renewed
			cache.Accept(v)
			renewals := len(renewing.Rejections())
			v = replace(t, cache, v, 3) // and what is renewed is refused
			if n := len(renewing.Rejections()); n != renewals+1 {
				t.Errorf("%s: %d renewals", name, n-renewals)
			}
			if strings.Contains(name, "standby") {
				replace(t, cache, v, 4)
			}
		}
	})
}

func TestADecoratedChainRemembersItsWinner(t *testing.T) {
	for name, decorate := range map[string]func(credential.Source) credential.Source{
		"with Unwrap": func(src credential.Source) credential.Source { return metered{src} },
		"with a func": func(src credential.Source) credential.Source {
			return credential.SourceFunc(func(ctx context.Context) (credential.Value, error) { return src.Retrieve(ctx) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				first, second := credentialtest.NewStore(key(1)), credentialtest.NewStore(key(2))
				cache := newCache(t, decorate(newChain(t, first, second)), &credential.CacheOptions{TTL: time.Minute})
				retrieve(t, cache, 1)
				first.Fail(credential.ErrUnavailable) // a file that is missing for a moment
				for range 5 {
					pass(time.Minute)
					retrieve(t, cache, 1)
				}
				wantReads(t, second, 0) // it may be another account's
			})
		})
	}
}

// A circle decorates itself, and a bomb panics whatever it is asked.
type circle struct{ credential.Source }

func (c *circle) Unwrap() credential.Source { return c }

type bomb struct{ credential.Source }

func (bomb) Unwrap() credential.Source  { panic("CANARY") }
func (bomb) Standby() credential.Source { panic("CANARY") }
func (bomb) String() string             { panic("CANARY") }

func TestOddDecoratorsNeitherHangNorPanic(t *testing.T) {
	store := credentialtest.NewStore(key(1))
	if _, err := credential.NewCache(&circle{store}, nil); err == nil || !strings.Contains(err.Error(), "unwraps to itself") {
		t.Errorf("a circle: %v", err)
	}
	if _, err := credential.NewCache(metered{newCache(t, store, nil)}, nil); err == nil || !strings.Contains(err.Error(), "outermost") {
		t.Errorf("a decorated cache: %v", err)
	}
	retrieve(t, newCache(t, bomb{store}, nil), 1)
	retrieve(t, newCache(t, metered{bomb{store}}, nil), 1)
	retrieve(t, newCache(t, store, &credential.CacheOptions{Now: func() time.Time { panic("CANARY") }}), 1)
	var none context.Context
	if v, err := newCache(t, store, nil).Retrieve(none); err != nil || nth(v) != 1 {
		t.Errorf("a nil context: %v", err)
	}
	if _, err := (*credential.Cache)(nil).Retrieve(background); err == nil {
		t.Error("a nil Cache gave a value")
	}
	if _, err := (*credential.Cache)(nil).Replace(background, reject(apiKey(1))); err == nil {
		t.Error("a nil Cache gave a value")
	}
	(*credential.Cache)(nil).Accept(apiKey(1))
}

func TestAKeyThatWillExpireIsAnnouncedOnce(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		life, warning time.Duration
		ttl           time.Duration
		at            time.Duration // when the event goes out
	}{
		"a week ahead":                   {30 * day, 0, 0, 23 * day},
		"at once, if there is less left": {3 * day, 0, 0, 0},
		"as long ahead as it is told":    {30 * day, day, 0, 29 * day},
		"though the value does not age":  {30 * day, 0, -1, 23 * day},
		"never":                          {30 * day, -1, 0, -1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store, log := credentialtest.NewStore(""), &log{}
				v := apiKey(1)
				v.Expires = time.Now().Add(c.life)
				store.SetValue(v)
				cache := newCache(t, store, &credential.CacheOptions{TTL: c.ttl, ExpiryWarning: c.warning, OnEvent: log.add})
				at, start := time.Duration(-1), time.Now()
				for time.Since(start) < c.life-time.Hour {
					retrieve(t, cache, 1)
					synctest.Wait()
					if s := log.of(credential.EventExpiring); s != "" {
						if at >= 0 {
							t.Errorf("announced again after %v", time.Since(start))
						}
						at = time.Since(start)
					}
					pass(10 * time.Minute)
				}
				if at < c.at || at > c.at+20*time.Minute {
					t.Errorf("announced after %v, want %v", at, c.at)
				}
			})
		})
	}
}

func TestATokenIsAnnouncedOnlyIfItsRefreshBringsNoOther(t *testing.T) {
	for _, same := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			store, log := credentialtest.NewStore(""), &log{}
			store.SetValue(token(1, time.Hour))
			cache := newCache(t, store, &credential.CacheOptions{OnEvent: log.add})
			retrieve(t, cache, 1)
			if !same {
				store.SetValue(token(2, 2*time.Hour))
			}
			pass(56 * time.Minute)
			retrieve(t, cache, 1)
			synctest.Wait()
			if s := log.of(credential.EventExpiring); same != (s == "expiring store") {
				t.Errorf("the same token again: %v, events %q", same, s)
			}
		})
	}
}

func TestRememberedCredentialsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(0))
		cache := newCache(t, store, nil)
		heap := func() int64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		run := func(from, to int) {
			for n := from; n < to; n++ {
				v := retrieve(t, cache, n)
				cache.Accept(v)
				store.SetValue(apiKey(n + 1))
				replace(t, cache, v, n+1)
			}
		}
		run(0, 1000)
		if n := credential.Remembered(cache); n > credential.MaxRecords {
			t.Errorf("%d credentials are remembered, want at most %d", n, credential.MaxRecords)
		}
		before := heap()
		for n := range 100_000 { // and what a hostile caller reports
			_, _ = cache.Replace(background, reject(apiKey(2_000_000+n)))
		}
		if grown := heap() - before; grown > 1<<20 {
			t.Errorf("%d KiB for refusals of values from elsewhere", grown>>10)
		}
		if n := credential.Remembered(cache); n > credential.MaxRecords {
			t.Errorf("%d credentials are remembered, want at most %d", n, credential.MaxRecords)
		}
	})
}

// What a Cache remembers of the values that were refused must not grow with their
// number, although none of them was ever accepted.
func TestAServiceThatRefusesEachNewValueGrowsNoMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(0))
		cache := newCache(t, store, nil)
		v := retrieve(t, cache, 0)
		const values = 4 * credential.MaxRecords
		for n := 1; n <= values; n++ {
			store.SetValue(apiKey(n))
			for v.Secret.Reveal() != key(n) {
				next, err := cache.Replace(background, reject(v))
				if err == nil {
					v = next
					continue
				}
				time.Sleep(2 * time.Minute) // the cool-down
				v, _ = cache.Retrieve(background)
			}
			if got := credential.Remembered(cache); got > credential.MaxRecords {
				t.Fatalf("after %d refused values %d are remembered, want at most %d", n, got, credential.MaxRecords)
			}
		}
		if got := credential.Remembered(cache); got < credential.MaxRecords/2 {
			t.Errorf("only %d of %d refused values were remembered: the bound was not reached", got, values)
		}
	})
}

// A plainly named source fails under its short name, as SDKs' errors do.
type shortNamed struct {
	name string
	err  error
}

func (s shortNamed) String() string { return s.name }
func (s shortNamed) Retrieve(context.Context) (credential.Value, error) {
	if s.err != nil {
		return credential.Value{}, &credential.SourceError{Source: "awssecretsmanager", Op: "read", Err: s.err}
	}
	return credential.Value{Secret: credential.NewSecret(key(1)), Source: "awssecretsmanager"}, nil
}

func TestASourceHasOneNameInValuesErrorsAndEvents(t *testing.T) {
	log := &log{}
	opts := &credential.CacheOptions{OnEvent: log.add}
	const name = "awssecretsmanager:prod/openai"
	if v := retrieve(t, newCache(t, shortNamed{name: name}, opts), 1); v.Source != name {
		t.Errorf("the value is from %q", v.Source)
	}
	_, err := newCache(t, shortNamed{name, errors.New("403")}, opts).Retrieve(background)
	if want := "credential: " + name + ": read: 403"; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if s := log.of(credential.EventLoaded, credential.EventFailed); s != "loaded "+name+", failed "+name {
		t.Errorf("events: %s", s)
	}
}
