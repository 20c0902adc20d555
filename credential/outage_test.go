package credential_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func TestOutageIsBridgedToTheSecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, &credential.CacheOptions{TTL: time.Minute, StaleIfError: 10 * time.Minute})
		retrieve(t, cache, 1)
		store.Fail(errDown)
		for range 11*60 - 1 {
			pass(time.Second)
			retrieve(t, cache, 1)
		}
		pass(time.Second)
		_, err := cache.Retrieve(background)
		wantErr(t, err, errDown)
		store.Fail(nil)
		store.Rotate(key(2))
		pass(72 * time.Second)
		retrieve(t, cache, 2)
	})
}

func TestOnlyPassingFaultsAreBridged(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		bridged bool
	}{
		"transient":             {errDown, true},
		"wrapped transient":     {fmt.Errorf("outer: %w", errDown), true},
		"not classified":        {errors.New("boom"), true},
		"timeout":               {&credential.SourceError{Source: "store", Err: context.DeadlineExceeded}, true},
		"the source's own stop": {context.Canceled, true},
		"unavailable by now":    {fmt.Errorf("store: %w", credential.ErrUnavailable), true},
		"not found":             {fmt.Errorf("store: %w", credential.ErrNotFound), false},
		"access denied":         {&credential.SourceError{Source: "store", Err: errors.New("403")}, false},
		"not found, transient":  {&credential.SourceError{Source: "store", Err: credential.ErrNotFound, Transient: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				cache := newCache(t, store, &credential.CacheOptions{TTL: time.Minute})
				retrieve(t, cache, 1)
				store.Fail(c.err)
				pass(time.Minute)
				for range 3 { // the read itself, and twice in its cool-down
					if v, err := cache.Retrieve(background); c.bridged {
						want(t, 1, v, err)
					} else if err == nil {
						t.Error("a value was served although the store says that it has none")
					}
				}
				wantReads(t, store, 2)
			})
		})
	}
}

func TestAValueThatIsNotAKeyIsNotBridged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, &credential.CacheOptions{TTL: 100 * time.Second})
		retrieve(t, cache, 1)
		store.Rotate("CANARY with spaces")
		pass(90 * time.Second)
		retrieve(t, cache, 1) // still within the TTL
		pass(10 * time.Second)
		_, err := cache.Retrieve(background)
		if err == nil {
			t.Error("a bad secret was hidden by a stale one")
		}
	})
}

func TestHangingStoreDelaysACallByASecondAtMost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, &credential.CacheOptions{TTL: time.Minute})
		retrieve(t, cache, 1)
		defer store.Hang()()
		pass(time.Minute)
		for i, d := range []time.Duration{time.Second, time.Second} {
			if got := took(func() { retrieve(t, cache, 1) }); got != d {
				t.Errorf("call %d took %v, want %v", i, got, d)
			}
		}
		pass(10 * time.Second) // the read has failed by now, and its cool-down is over
		go retrieve(t, cache, 1)
		synctest.Wait()
		if got := took(func() { retrieve(t, cache, 1) }); got != 0 {
			t.Errorf("in a known outage a call waited %v for another's read", got)
		}
	})
}

// gaps calls the cache every 20 ms of an hour and returns the times between
// the reads of the store.
func gaps(t *testing.T, cache *credential.Cache, store *credentialtest.Store, target error) (list []time.Duration) {
	last, reads := time.Now(), 0
	for range 180_000 {
		_, err := cache.Retrieve(background)
		wantErr(t, err, target)
		if n := store.Reads(); n > reads {
			if reads > 0 {
				list = append(list, time.Since(last))
			}
			last, reads = time.Now(), n
		}
		pass(20 * time.Millisecond)
	}
	return list
}

func TestCoolDownDoublesFromOneSecondToSixty(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		store.Fail(errDown)
		list := gaps(t, newCache(t, store, nil), store, errDown)
		for i, gap := range list {
			least := min(time.Second<<min(i, 6), time.Minute)
			if gap < least || gap > least*6/5+20*time.Millisecond {
				t.Errorf("gap %d is %v, want %v to 1.2 times that", i, gap, least)
			}
		}
		if n := len(list); n < 50 || n > 66 {
			t.Errorf("%d reads in an hour", n)
		}
	})
}

func TestNotFoundIsAskedAgainAfter30Seconds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		store.Fail(credential.ErrNotFound)
		for i, gap := range gaps(t, newCache(t, store, nil), store, credential.ErrNotFound) {
			if gap < 30*time.Second || gap > 72*time.Second+20*time.Millisecond {
				t.Errorf("gap %d is %v", i, gap)
			}
		}
	})
}

func TestSuccessResetsTheCoolDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, &credential.CacheOptions{TTL: time.Second, StaleIfError: -1})
		for range 3 {
			store.FailTimes(5, errDown)
			for reads := store.Reads(); store.Reads() < reads+5; pass(time.Second) {
				_, err := cache.Retrieve(background)
				wantErr(t, err, errDown)
			}
			pass(20 * time.Second)
			retrieve(t, cache, 1)
			pass(time.Second)
			store.FailTimes(1, errDown)
			_, err := cache.Retrieve(background)
			wantErr(t, err, errDown)
			pass(1200 * time.Millisecond)
			retrieve(t, cache, 1)
			pass(time.Second)
		}
	})
}

func TestCancelledCallIsNeverRecordedAsAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		release := store.Hang()
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_, err := cache.Retrieve(ctx)
		wantErr(t, err, context.DeadlineExceeded)
		release()
		synctest.Wait()
		retrieve(t, cache, 1)
		wantReads(t, store, 1)
	})
}

// Promise P5.
func TestOutageOfAnHourFailsNoCall(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(*credentialtest.Store) (end func())
		after time.Duration // the back-off, and what the last read began with
	}{
		"throttled": {func(s *credentialtest.Store) func() {
			s.Fail(&credential.SourceError{Source: "store", Err: errors.New("429"), Transient: true})
			return func() { s.Fail(nil) }
		}, 73 * time.Second},
		"hanging": {(*credentialtest.Store).Hang, 5 * time.Minute},
		"panicking": {func(s *credentialtest.Store) func() {
			s.Panic("CANARY")
			return func() { s.Panic(nil) }
		}, 73 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				cache, service := newCache(t, store, nil), accepting(key(1), key(2))
				failed, start := 0, time.Now()
				one := func() {
					if _, err := call(background, cache, service); err != nil {
						failed++
					}
				}
				one()
				end := c.fault(store)
				for time.Since(start) < time.Hour {
					one()
					pass(100 * time.Millisecond)
				}
				reads := store.Reads()
				end()
				store.Rotate(key(2))
				pass(c.after)
				one()
				pass(time.Second)
				retrieve(t, cache, 2) // one back-off after the end
				if failed > 0 || reads > 70 {
					t.Errorf("%d calls failed, want 0; %d reads, want at most 70", failed, reads)
				}
			})
		})
	}
}
