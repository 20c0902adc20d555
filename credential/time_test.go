package credential_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// refreshedAfter returns after which time, in steps, a call causes a read.
func refreshedAfter(t *testing.T, cache *credential.Cache, store *credentialtest.Store, step time.Duration) time.Duration {
	t.Helper()
	start, reads := time.Now(), store.Reads()
	for {
		if _, err := cache.Retrieve(background); err != nil {
			t.Errorf("Retrieve after %v: %v", time.Since(start), err)
			return 0
		}
		synctest.Wait()
		if store.Reads() > reads {
			return time.Since(start)
		}
		pass(step)
	}
}

func TestTokensAreRefreshedAheadOfTheirExpiry(t *testing.T) {
	const never = 200 * 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		life, hint, want time.Duration // since the issue; hint 0 is none
		scheme           credential.Scheme
	}{
		"5 minutes ahead":              {time.Hour, 0, 55 * time.Minute, credential.BearerToken},
		"half of a short life":         {4 * time.Minute, 0, 2 * time.Minute, credential.BearerToken},
		"a day, whatever the TTL":      {24 * time.Hour, 0, 24*time.Hour - 5*time.Minute, credential.BearerToken},
		"the issuer's hint":            {24 * time.Hour, 12 * time.Hour, 12 * time.Hour, credential.BearerToken},
		"a late hint of the issuer":    {time.Hour, 59 * time.Minute, 59 * time.Minute, credential.BearerToken},
		"a hint past the expiry":       {time.Hour, 2 * time.Hour, 55 * time.Minute, credential.BearerToken},
		"a hint in the past":           {time.Hour, -time.Hour, time.Second, credential.BearerToken},
		"a key's hint":                 {never, 10 * time.Second, 10 * time.Second, credential.APIKey},
		"a key's expiry":               {2 * time.Minute, 0, time.Minute, credential.APIKey},
		"a life of a moment":           {200 * time.Millisecond, 0, 200 * time.Millisecond, credential.BearerToken},
		"an expiry that overflows int": {250 * 365 * 24 * time.Hour, time.Minute, time.Minute, credential.BearerToken},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore("")
				v := apiKey(1)
				v.Scheme, v.Expires = c.scheme, expiry(c.life)
				if c.hint != 0 {
					v.RefreshAfter = time.Now().Add(c.hint)
				}
				store.SetValue(v)
				cache := newCache(t, store, &credential.CacheOptions{TTL: time.Hour}) // too long to decide
				retrieve(t, cache, 1)
				next := token(2, 48*time.Hour)
				store.SetValue(next)
				step := min(c.want/50, time.Second)
				if got := refreshedAfter(t, cache, store, step); got < c.want || got > c.want+step {
					t.Errorf("refreshed after %v, want %v", got, c.want)
				}
			})
		})
	}
}

// expiry is in so many years, though a Duration holds only 292.
func expiry(d time.Duration) time.Time {
	if d < 0 || d > 100*365*24*time.Hour { // 250 years stand for more
		return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	return time.Now().Add(d)
}

func TestFarExpiryDoesNotCauseAReadPerCall(t *testing.T) {
	for _, scheme := range []credential.Scheme{credential.APIKey, credential.BearerToken} {
		store := credentialtest.NewStore("")
		v := apiKey(1)
		v.Scheme, v.Expires = scheme, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		v.RefreshAfter = v.Expires
		store.SetValue(v)
		cache := newCache(t, store, nil)
		for range 10 {
			retrieve(t, cache, 1)
		}
		wantReads(t, store, 1)
	}
}

func TestPastHintDoesNotCauseAReadPerCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore("")
		v := token(1, time.Hour)
		v.RefreshAfter = time.Now().Add(-time.Hour)
		store.SetValue(v)
		cache := newCache(t, store, nil)
		for range 1000 {
			retrieve(t, cache, 1)
			pass(10 * time.Millisecond)
		}
		if n := store.Reads(); n > 11 {
			t.Errorf("%d reads in 10 s", n)
		}
	})
}

func TestNothingIsServedPastItsExpiry(t *testing.T) {
	for _, scheme := range []credential.Scheme{credential.APIKey, credential.BearerToken} {
		bubble(t, func(t *testing.T) {
			store := credentialtest.NewStore("")
			v := apiKey(1)
			v.Scheme, v.Expires = scheme, time.Now().Add(2*time.Minute)
			store.SetValue(v)
			cache := newCache(t, store, &credential.CacheOptions{TTL: time.Minute})
			retrieve(t, cache, 1)
			store.Fail(errDown)
			pass(2*time.Minute - time.Millisecond)
			retrieve(t, cache, 1)
			pass(time.Millisecond)
			_, err := cache.Retrieve(background)
			wantErr(t, err, errDown)
		})
	}
}

func TestExpiryDuringTheWaitForAReadIsNotOverlooked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore("")
		v := apiKey(1)
		v.Expires = time.Now().Add(time.Minute + 500*time.Millisecond)
		store.SetValue(v)
		cache := newCache(t, store, &credential.CacheOptions{TTL: time.Minute})
		retrieve(t, cache, 1)
		store.Rotate(key(2))
		store.Delay(3 * time.Second)
		pass(time.Minute)
		if d := took(func() { retrieve(t, cache, 2) }); d != 3*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestExpiredValueIsAPassingFault(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore("")
		store.SetValue(token(1, -time.Second))
		cache := newCache(t, store, nil)
		if _, err := cache.Retrieve(background); err == nil {
			t.Error("an expired value was served")
		}
		store.SetValue(token(2, time.Hour))
		pass(1200 * time.Millisecond)
		retrieve(t, cache, 2)
	})
}

// Promise P10: a Lambda sandbox stops the monotonic clock, and a virtual
// machine sets its wall clock. The clock of the Cache alone decides.
func TestClockJumpsCostOneReadAtMost(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name  string
		jump  time.Duration
		token bool
		reads int
		first int // the key that the first call after the jump gets
	}{
		{"none", 0, false, 0, 1},
		{"forward within the TTL", 3 * time.Minute, false, 0, 1},
		{"forward into the refresh", 4*time.Minute + 30*time.Second, false, 1, 1},
		{"forward past the TTL", time.Hour, false, 1, 2},
		{"forward by ten years", 3650 * day, false, 1, 2},
		{"back within the TTL", -4 * time.Minute, false, 0, 1},
		{"back past the TTL", -time.Hour, false, 1, 2},
		{"back by ten years", -3650 * day, false, 1, 2},
		{"a token, forward to its refresh", 57 * time.Minute, true, 1, 1},
		{"a token, frozen past its expiry", 61 * time.Minute, true, 1, 2},
		{"a token, back within its life", -59 * time.Minute, true, 0, 1},
		{"a token, back by a day", -day, true, 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				wall, store := &clock{}, credentialtest.NewStore(key(1))
				if c.token {
					store.SetValue(token(1, time.Hour))
				}
				cache := newCache(t, store, &credential.CacheOptions{Now: wall.now})
				retrieve(t, cache, 1)
				if !c.token { // the first refresh may come early
					wall.jump(5*time.Minute + time.Second)
					retrieve(t, cache, 1)
				}
				before := store.Reads()
				wall.jump(c.jump)
				store.Rotate(key(2))
				if c.token {
					next := token(2, time.Hour)
					next.Expires = wall.now().Add(time.Hour)
					store.SetValue(next)
				}
				for i := range 10 {
					v, err := cache.Retrieve(background)
					if err != nil {
						t.Errorf("Retrieve: %v", err)
					}
					if i == 0 && nth(v) != c.first {
						t.Errorf("the first call got key %d, want %d", nth(v), c.first)
					}
					if !v.Expires.IsZero() && !v.Expires.After(wall.now()) {
						t.Error("served a token past its expiry")
					}
					synctest.Wait()
				}
				wantReads(t, store, before+c.reads)
			})
		})
	}
}

func TestCoolDownDoesNotOutliveAClockThatIsSetBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		wall, store := &clock{}, credentialtest.NewStore(key(1))
		store.FailTimes(1, errDown)
		cache := newCache(t, store, &credential.CacheOptions{Now: wall.now})
		_, err := cache.Retrieve(background)
		wantErr(t, err, errDown)
		wall.jump(-time.Hour)
		retrieve(t, cache, 1)
	})
}

func TestFlightThatAFreezeLeftBehindIsAbandoned(t *testing.T) {
	bubble(t, func(t *testing.T) {
		wall := &clock{}
		store := steps(gives(apiKey(1)), slowly(8*time.Second, apiKey(1)), gives(apiKey(2)))
		cache := newCache(t, store, &credential.CacheOptions{Now: wall.now})
		retrieve(t, cache, 1)
		wall.jump(time.Hour)
		go retrieve(t, cache, 2) // waits a second, and takes what there is then
		synctest.Wait()
		wall.jump(11 * time.Second) // as long as one read may take, and a second
		synctest.Wait()
		wantReads(t, store, 2)
		wall.jump(time.Second)
		retrieve(t, cache, 2)
		wantReads(t, store, 3)
		pass(10 * time.Second) // the old read ends, and changes nothing
		retrieve(t, cache, 2)
	})
}

func TestAbandonedFlightThatFailsStartsNoCoolDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		wall, log := &clock{}, &log{}
		release := make(chan struct{})
		store := steps(func(context.Context) (credential.Value, error) {
			<-release
			return credential.Value{}, errDown
		}, gives(apiKey(2)))
		cache := newCache(t, store, &credential.CacheOptions{Now: wall.now, OnEvent: log.add})
		go retrieve(t, cache, 2) // it shares the outcome of the later read
		synctest.Wait()
		wall.jump(time.Hour)
		retrieve(t, cache, 2)
		close(release)
		synctest.Wait()
		retrieve(t, cache, 2)
		if kinds := log.kinds(); kinds != "loaded" {
			t.Errorf("events: %s", kinds)
		}
	})
}
