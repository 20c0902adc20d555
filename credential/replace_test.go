package credential_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func TestReplaceGivesTheRotatedValue(t *testing.T) {
	store := credentialtest.NewStore(key(1))
	cache := newCache(t, store, nil)
	old := retrieve(t, cache, 1)
	store.Rotate(key(2))
	if v := replace(t, cache, old, 2); v.Version != "v2" {
		t.Errorf("Version is %q", v.Version)
	}
	retrieve(t, cache, 2)
	wantReads(t, store, 2)
}

func TestReplaceRejectsOnlyTheRejectedValue(t *testing.T) {
	store := credentialtest.NewStore(key(1))
	cache := newCache(t, store, nil)
	v1 := retrieve(t, cache, 1)
	store.Rotate(key(2))
	v2 := replace(t, cache, v1, 2)
	for range 100 { // late 401s for calls that were sent with the old value
		replace(t, cache, v1, 2)
		replace(t, cache, apiKey(7), 2) // and for a value from elsewhere
	}
	retrieve(t, cache, 2)
	wantReads(t, store, 2)
	store.Rotate(key(3))
	replace(t, cache, v2, 3)
	replace(t, cache, v1, 3)
	wantReads(t, store, 3)
}

func TestSchemeIsPartOfTheIdentity(t *testing.T) {
	store := credentialtest.NewStore("")
	store.SetValue(token(1, time.Hour))
	cache := newCache(t, store, nil)
	retrieve(t, cache, 1)
	replace(t, cache, apiKey(1), 1) // the same text, refused as a key
	wantReads(t, store, 1)
}

func TestVersionIsNoPartOfTheIdentity(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		v := retrieve(t, cache, 1)
		cache.Accept(v)
		store.Rotate(key(1)) // another version, the same dead key
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
	})
}

func TestReplaceServesAllCallersWithOneRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		v := retrieve(t, cache, 1)
		store.Rotate(key(2))
		store.Delay(time.Second)
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { replace(t, cache, v, 2) })
		}
		wg.Wait()
		wantReads(t, store, 2)
	})
}

func TestCancelledReplaceFailsNobodyElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		v := retrieve(t, cache, 1)
		store.Rotate(key(2))
		store.Delay(time.Second)
		ctx, cancel := context.WithCancel(background)
		go func() {
			_, err := cache.Replace(ctx, reject(v))
			wantErr(t, err, context.Canceled)
		}()
		synctest.Wait()
		cancel()
		replace(t, cache, v, 2)
		wantReads(t, store, 2)
	})
}

func TestReplaceWithoutAValueFails(t *testing.T) {
	cache := newCache(t, credentialtest.NewStore(key(1)), nil)
	if _, err := cache.Replace(background, credential.Rejection{}); err == nil || errors.Is(err, credential.ErrRejected) {
		t.Errorf("got %v", err)
	}
}

func TestReplaceBeforeTheFirstRetrieve(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		replace(t, cache, apiKey(9), 1) // another process's value, say
		wantReads(t, store, 1)
		cold := newCache(t, store, nil)
		if d := took(func() {
			_, err := cold.Replace(background, reject(apiKey(1)))
			wantErr(t, err, credential.ErrRejected)
		}); d > 2*time.Second {
			t.Errorf("gave up after %v", d)
		}
		v := retrieve(t, cold, 1) // known to be refused, and all that there is
		reads := store.Reads()
		_, err := cold.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		wantReads(t, store, reads)
	})
}

// refreshing returns a cache whose refresh, the second read, has just begun.
func refreshing(t *testing.T, store credential.Source) (*credential.Cache, credential.Value) {
	t.Helper()
	cache := newCache(t, store, &credential.CacheOptions{TTL: 100 * time.Second})
	v := retrieve(t, cache, 1)
	cache.Accept(v)
	pass(85 * time.Second)
	retrieve(t, cache, 1)
	synctest.Wait()
	return cache, v
}

func TestReplaceNeverJoinsAReadThatBeganBeforeTheRejection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := steps(gives(apiKey(1)), slowly(3*time.Second, apiKey(1)), gives(apiKey(2)))
		cache, v := refreshing(t, store)
		if d := took(func() { replace(t, cache, v, 2) }); d != 0 {
			t.Errorf("waited %v", d)
		}
		wantReads(t, store, 3)
		pass(4 * time.Second)
		synctest.Wait()
		retrieve(t, cache, 2) // the early read ended late, and changed nothing
		wantReads(t, store, 3)
	})
}

func TestEarlierReadDoesNotUndoARejection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := steps(gives(apiKey(1)), slowly(time.Second, apiKey(1)), // and what the grace reads:
			gives(apiKey(1)), gives(apiKey(1)), gives(apiKey(1)), gives(apiKey(1)), gives(apiKey(1)), gives(apiKey(2)))
		cache, v := refreshing(t, store)
		if d := took(func() { replace(t, cache, v, 2) }); d < time.Second {
			t.Errorf("the rejection was over after %v, before the earlier read was", d)
		}
		retrieve(t, cache, 2)
	})
}

func TestEarlierReadWithANewValueEndsARejection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		// A replica that trails answers the reads of the grace.
		store := steps(gives(apiKey(1)), slowly(600*time.Millisecond, apiKey(2)), gives(apiKey(1)))
		cache, v := refreshing(t, store)
		if d := took(func() { replace(t, cache, v, 2) }); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
		retrieve(t, cache, 2)
	})
}

func TestReplicaThatTrailsDoesNotBringARejectedValueBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := steps(gives(apiKey(1)), gives(apiKey(2)), gives(apiKey(1)))
		cache := newCache(t, store, &credential.CacheOptions{TTL: 100 * time.Second})
		replace(t, cache, retrieve(t, cache, 1), 2)
		for range 1000 {
			pass(time.Second)
			retrieve(t, cache, 2)
		}
		if n := store.Reads(); n > 2+1000/72+1 {
			t.Errorf("%d reads", n)
		}
	})
}

func TestReplicaThatTrailsDoesNotStretchAnExpiry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		short := apiKey(2)
		short.Expires = time.Now().Add(time.Minute)
		store := steps(gives(apiKey(1)), gives(short), gives(apiKey(1)))
		cache := newCache(t, store, nil)
		replace(t, cache, retrieve(t, cache, 1), 2)
		for range 119 {
			pass(500 * time.Millisecond)
			retrieve(t, cache, 2)
		}
		pass(time.Second)
		if v, err := cache.Retrieve(background); err == nil && nth(v) == 2 {
			t.Error("a value was served past its expiry")
		}
	})
}

// A recovery that waits for the successor of key 1 must not be joined by the
// rejection of key 2, which another read brought meanwhile.
func TestReplaceNeverJoinsTheRecoveryOfAnotherValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		poll := gives(apiKey(1)) // at 0, 50, 150, 350 and 750 ms, and then at 1550
		store := steps(gives(apiKey(1)), slowly(time.Second, apiKey(2)),
			poll, poll, poll, poll, poll, slowly(100*time.Millisecond, apiKey(3)))
		cache, v1 := refreshing(t, store)
		var wg sync.WaitGroup
		wg.Go(func() { replace(t, cache, v1, 2) })
		pass(1100 * time.Millisecond)
		v2 := retrieve(t, cache, 2)
		if d := took(func() { replace(t, cache, v2, 3) }); d != 500*time.Millisecond { // 400 ms in case that it is too new, 100 ms for the read
			t.Errorf("waited %v for the poll of another recovery", d)
		}
		wg.Wait()
		wantReads(t, store, 8)
	})
}

func TestReplaceNeverWaitsForTheReadOfAnotherRecovery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := steps(gives(apiKey(1)), slowly(time.Second, apiKey(2)),
			slowly(3*time.Second, apiKey(1)), slowly(5*time.Second, apiKey(3)))
		cache, v1 := refreshing(t, store)
		var wg sync.WaitGroup
		wg.Go(func() { replace(t, cache, v1, 3) }) // by then the later recovery's
		pass(1100 * time.Millisecond)
		v2 := retrieve(t, cache, 2)
		if d := took(func() { replace(t, cache, v2, 3) }); d != 5400*time.Millisecond {
			t.Errorf("took %v", d)
		}
		wg.Wait()
		wantReads(t, store, 4)
	})
}

func TestLateRejectionOfAnOldValueJoinsTheRecoveryOfTheNew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := steps(gives(apiKey(1)), gives(apiKey(2)), slowly(time.Second, apiKey(3)))
		cache := newCache(t, store, nil)
		v1 := retrieve(t, cache, 1)
		v2 := replace(t, cache, v1, 2)
		go replace(t, cache, v2, 3)
		synctest.Wait()
		replace(t, cache, v1, 3)
		wantReads(t, store, 3)
	})
}

func TestStoreThatGoesBackToARejectedValueIsWorthOneSend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v1 := accepted(t, store, nil)
		store.Rotate(key(2))
		v2 := replace(t, cache, v1, 2)
		cache.Accept(v2)
		_, err := cache.Replace(background, reject(v2))
		wantErr(t, err, credential.ErrRejected)
		store.Rotate(key(1))
		pass(5 * time.Minute)
		v1 = retrieve(t, cache, 1)
		replace(t, cache, v2, 1)
		for _, v := range []credential.Value{v1, v2} { // but not more than one
			_, err = cache.Replace(background, reject(v))
			wantErr(t, err, credential.ErrRejected)
		}
		cache.Accept(retrieve(t, cache, 1)) // until the service takes it
		replace(t, cache, v2, 1)
	})
}

func TestReplaceDuringAnOutageTellsBoth(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		v := retrieve(t, cache, 1)
		cache.Accept(v)
		store.Fail(errDown)
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		wantErr(t, err, errDown)
		if n := strings.Count(err.Error(), "credential:"); n != 1 {
			t.Errorf("the prefix is there %d times: %v", n, err)
		}
		// The service may take it again, and its own answer tells more than the
		// outage of the store.
		pass(10 * time.Minute)
		retrieve(t, cache, 1)
	})
}

func TestReplaceOfAnOldValueReadsAgainWhenTheNewOneHasAged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		v1 := retrieve(t, cache, 1)
		store.Rotate(key(2))
		replace(t, cache, v1, 2)
		store.Rotate(key(3))
		pass(time.Hour)
		replace(t, cache, v1, 3)
		wantReads(t, store, 3)
	})
}

func TestAcceptOfAnotherCachesValueChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, other := newCache(t, store, nil), newCache(t, store, nil)
		v := retrieve(t, cache, 1)
		cache.Accept(retrieve(t, other, 1))
		cache.Accept(apiKey(1))
		// Nothing was accepted, so it is not a new value that is tried soon.
		if d := took(func() { replace(t, cache, v, 1) }); d < time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// A program that never calls Accept looks like one whose credentials no service
// takes, but rotations are far between.
func TestRotationsWithoutAcceptAreStillPickedUpAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(0))
		cache := newCache(t, store, &credential.CacheOptions{TTL: -1})
		v := retrieve(t, cache, 0)
		for n := 1; n <= 20; n++ {
			pass(time.Hour)
			store.Rotate(key(n))
			if d := took(func() { v = replace(t, cache, v, n) }); d != 0 {
				t.Errorf("rotation %d took %v", n, d)
			}
		}
		wantReads(t, store, 21)
	})
}
