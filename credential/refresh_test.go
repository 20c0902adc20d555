package credential_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func refresh(t *testing.T, cache *credential.Cache, n int) credential.Value {
	t.Helper()
	v, err := cache.Refresh(background)
	return want(t, n, v, err)
}

func TestRefreshBringsTheNewValueWhateverTheAgeOfTheOld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		refresh(t, cache, 1) // the first read of all
		store.Rotate(key(2))
		retrieve(t, cache, 1)
		store.Delay(time.Second)
		go func() {
			pass(500 * time.Millisecond)
			if d := took(func() { retrieve(t, cache, 1) }); d != 0 {
				t.Errorf("another call waited for %v", d)
			}
		}()
		refresh(t, cache, 2)
		retrieve(t, cache, 2)
		wantReads(t, store, 2)
	})
}

// A read that began before the event may bring the old value after it.
func TestRefreshNeverJoinsAReadThatBeganBeforeIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		src := steps(gives(apiKey(1)), slowly(time.Second, apiKey(1)), gives(apiKey(2)))
		cache := newCache(t, src, nil)
		retrieve(t, cache, 1)
		pass(5*time.Minute - time.Second)
		retrieve(t, cache, 1)
		synctest.Wait() // the slow read is under way
		refresh(t, cache, 2)
		pass(2 * time.Second)
		retrieve(t, cache, 2)
		wantReads(t, src, 3)
	})
}

func TestAFailedRefreshLeavesTheValueInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		retrieve(t, cache, 1)
		away := errors.New("the store is away")
		store.Fail(away)
		_, err := cache.Refresh(background)
		wantErr(t, err, away)
		retrieve(t, cache, 1)
		wantReads(t, store, 2)
	})
}

func TestRefreshLeavesWithItsContextAndTheReadGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		retrieve(t, cache, 1)
		store.Rotate(key(2))
		store.Delay(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var err error
		if d := took(func() { _, err = cache.Refresh(ctx) }); d != time.Second {
			t.Errorf("it took %v", d)
		}
		wantErr(t, err, context.DeadlineExceeded)
		_, err = cache.Refresh(ctx)
		wantErr(t, err, context.DeadlineExceeded)
		pass(2 * time.Second)
		retrieve(t, cache, 2)
		wantReads(t, store, 2) // and none for the context that had ended
	})
}

func TestRefreshEndsARecovery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, nil)
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		store.Rotate(key(2))
		refresh(t, cache, 2)
		reads := store.Reads()
		retrieve(t, cache, 2)
		replace(t, cache, v, 2) // a call that was refused with the old value
		wantReads(t, store, reads)
	})
}
