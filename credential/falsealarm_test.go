package credential_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// minting returns a source that gives a new token at each read, and a Renewer
// of the same kind.
func minting() (credential.Source, *atomic.Int64) {
	var n atomic.Int64
	return credential.SourceFunc(func(context.Context) (credential.Value, error) {
		return token(int(n.Add(1)), time.Hour), nil
	}), &n
}

func TestAServiceThatRefusesAllCostsAMintingSourceFewReads(t *testing.T) {
	for name, before := range map[string]bool{"from the start": false, "after it has accepted": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				src, minted := minting()
				cache := newCache(t, src, nil)
				var open atomic.Bool
				open.Store(before)
				var most, late atomic.Int64
				one := func() error {
					v, err := cache.Retrieve(background)
					for sends := int64(1); err == nil; sends++ {
						most.Store(max(most.Load(), sends))
						if open.Load() {
							cache.Accept(v)
							return nil
						}
						if sends == 4 {
							return errUnauthorized
						}
						v, err = cache.Replace(background, reject(v))
					}
					return err
				}
				if before {
					if err := one(); err != nil {
						t.Error(err)
					}
					open.Store(false)
				}
				var wg sync.WaitGroup
				start := time.Now()
				for time.Since(start) < time.Hour {
					wg.Go(func() {
						begin := time.Now()
						if one() == nil {
							t.Error("a call succeeded")
						}
						if time.Since(begin) > 10*time.Second {
							late.Add(1)
						}
					})
					pass(10 * time.Millisecond)
				}
				wg.Wait()
				t.Logf("%d tokens, at most %d sends a call", minted.Load(), most.Load())
				if n := minted.Load(); n > 70 {
					t.Errorf("%d tokens in an hour, want at most 70", n)
				}
				if late.Load() > 0 {
					t.Errorf("%d calls waited longer than two graces", late.Load())
				}
				open.Store(true)
				reads := minted.Load()
				if err := one(); err != nil || minted.Load() != reads {
					t.Errorf("the service accepts again: %v, %d reads", err, minted.Load()-reads)
				}
			})
		})
	}
}

// routes is a service with a route that refuses whatever it is sent.
type routes struct {
	*service
	latency time.Duration
}

// call makes a call as middleware does. It returns the number of its sends.
func (r *routes) call(cache *credential.Cache, bad bool) (sends int, err error) {
	v, err := cache.Retrieve(background)
	for err == nil {
		pass(r.latency)
		if sends++; !bad && r.takes(v) {
			cache.Accept(v)
			return sends, nil
		}
		if sends == 4 {
			return sends, errUnauthorized
		}
		v, err = cache.Replace(background, reject(v))
	}
	return sends, err
}

// A mixture is good traffic with calls to a bad route in between.
type mixture struct {
	*routes
	cache              *credential.Cache
	start              time.Time
	failed, more, slow atomic.Int64
	wg                 sync.WaitGroup
}

func (m *mixture) good() {
	if sends, err := m.call(m.cache, false); err != nil || sends != 1 {
		m.failed.Add(1)
	}
}

func (m *mixture) bad(t *testing.T) {
	begin := time.Now()
	sends, err := m.call(m.cache, true)
	if err == nil {
		t.Error("a call to the bad route succeeded")
	}
	if begin.Sub(m.start) < 3*time.Second {
		return // the first alarm
	}
	if sends > 2 {
		m.more.Add(1)
	}
	// Two sends, the time until the next good call begins, and that call.
	if time.Since(begin) > 3*m.latency+25*time.Millisecond {
		m.slow.Add(1)
	}
}

func TestABadRouteBesideGoodTrafficCostsTwoSendsAndNoPolling(t *testing.T) {
	const lag = 30 * time.Millisecond
	for _, mints := range []bool{false, true} {
		t.Run(map[bool]string{false: "a store", true: "a source that mints"}[mints], func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				store.Delay(lag)
				src, reads := credential.Source(store), func() int64 { return int64(store.Reads()) }
				if mints {
					mint, n := minting()
					reads = n.Load
					src = credential.SourceFunc(func(ctx context.Context) (credential.Value, error) {
						pass(lag)
						return mint.Retrieve(ctx)
					})
				}
				var keys []string
				for n := range 200 {
					keys = append(keys, key(n))
				}
				m := &mixture{routes: &routes{service: accepting(keys...), latency: 50 * time.Millisecond}, cache: newCache(t, src, nil)}
				m.good()
				m.start = time.Now()
				for i := 0; time.Since(m.start) < 10*time.Minute; i++ {
					m.wg.Go(m.good)
					if i%7 == 3 && time.Since(m.start) < 10*time.Minute-time.Second {
						m.wg.Go(func() { m.bad(t) })
					}
					pass(20 * time.Millisecond)
				}
				m.wg.Wait()
				t.Logf("%d reads", reads())
				exceptions := int64(0)
				if mints { // a bad call whose read brings another value sends that one, too
					exceptions = 2 * reads()
				}
				if m.failed.Load() > 0 || m.more.Load() > exceptions || m.slow.Load() > exceptions {
					t.Errorf("%d good calls failed or were sent again, %d bad ones were sent more than twice, %d waited longer", m.failed.Load(), m.more.Load(), m.slow.Load())
				}
				if n := reads(); n > 15 { // at most 70 an hour, the first ones and the refreshes
					t.Errorf("%d reads in 10 minutes", n)
				}
			})
		})
	}
}

func TestARotationBesideABadRouteFailsNoCall(t *testing.T) {
	for _, gap := range []time.Duration{0, 2 * time.Second} {
		t.Run(gap.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				r := &routes{service: accepting(key(1)), latency: 50 * time.Millisecond}
				cache := newCache(t, store, nil)
				var wg sync.WaitGroup
				var failed atomic.Int64
				start, n := time.Now(), 1
				for i := 0; time.Since(start) < 5*time.Minute; i++ {
					wg.Go(func() {
						if _, err := r.call(cache, false); err != nil {
							failed.Add(1)
						}
					})
					if i%3 == 0 && time.Since(start) < 5*time.Minute-time.Second {
						wg.Go(func() { _, _ = r.call(cache, true) })
					}
					if i%450 == 449 { // every 9 seconds
						n++
						r.accept(key(n))
						store.Lag(gap)
						store.Rotate(key(n))
					}
					pass(20 * time.Millisecond)
				}
				wg.Wait()
				t.Logf("%d rotations, %d reads", n-1, store.Reads())
				if failed.Load() > 0 {
					t.Errorf("%d good calls failed", failed.Load())
				}
			})
		})
	}
}

func TestAMistypedKeyInTheEnvironmentIsToldAtOnce(t *testing.T) {
	const name = "LATCHKEY_TEST_KEY"
	for what, src := range map[string]credential.Source{
		"a variable":  credential.Env(name),
		"a constant":  credential.Static(credential.NewSecret(key(1)), credential.APIKey),
		"two of them": credential.Standby(credential.Env(name), credential.Static(credential.NewSecret(key(1)), credential.APIKey)),
	} {
		t.Run(what, func(t *testing.T) {
			t.Setenv(name, key(1))
			bubble(t, func(t *testing.T) {
				cache, service := newCache(t, src, nil), accepting()
				for range 3 {
					if d := took(func() {
						sends, err := call(background, cache, service)
						wantErr(t, err, credential.ErrRejected)
						if sends > 2 {
							t.Errorf("%d sends", sends)
						}
					}); d > 100*time.Millisecond {
						t.Errorf("took %v", d)
					}
				}
			})
		})
	}
	t.Run("but a variable that was set is read", func(t *testing.T) {
		t.Setenv(name, key(1))
		cache := newCache(t, credential.Env(name), nil)
		v := retrieve(t, cache, 1)
		t.Setenv(name, key(2))
		replace(t, cache, v, 2)
	})
}

// A key that the service answered with 400, 404 or 429 is as good as one that
// it answered with 200: whoever refuses no credential has accepted it.
func TestAKeyThatWasOnlyEverThrottledHasTheWholeGrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		v := retrieve(t, cache, 1)
		cache.Accept(v) // Auth calls it for every answer that is no refusal
		store.Lag(4 * time.Second)
		store.Rotate(key(2))
		replace(t, cache, v, 2)
	})
}

func TestASourceThatHangsHasOneAbandonedRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		retrieve(t, cache, 1)
		release := store.HangDeaf()
		for range 3600 / 5 {
			pass(5 * time.Second)
			retrieve(t, cache, 1)
		}
		wantReads(t, store, 2)
		pass(10 * time.Minute)
		_, err := cache.Retrieve(background)
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an error that says that a read hangs", err)
		}
		release()
		store.Rotate(key(2))
		pass(73 * time.Second)
		retrieve(t, cache, 2)
	})
}

// The wait for an acceptance must not be longer than a read that hangs.
func TestAnAcceptanceEndsTheWaitForAStoreThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, nil)
		defer store.Hang()()
		var wg sync.WaitGroup
		wg.Go(func() { replace(t, cache, v, 1) })
		synctest.Wait()
		cache.Accept(retrieve(t, cache, 1))
		if d := took(wg.Wait); d != 0 {
			t.Errorf("waited %v", d)
		}
	})
}

// A read that began for a false alarm says nothing about the rejection after it.
func TestAReadForAFalseAlarmDoesNotEndTheNextRecovery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := steps(gives(apiKey(1)),
			func(context.Context) (credential.Value, error) {
				pass(3 * time.Second)
				return credential.Value{}, credential.ErrNotFound
			},
			slowly(1500*time.Millisecond, apiKey(1)), gives(apiKey(2)))
		cache, v := accepted(t, store, nil)
		var wg sync.WaitGroup
		wg.Go(func() { replace(t, cache, v, 1) })
		pass(time.Second)
		v = retrieve(t, cache, 1)
		cache.Accept(v)
		wg.Wait()
		pass(100 * time.Millisecond)
		replace(t, cache, retrieve(t, cache, 1), 2)
	})
}

func TestARejectionDoesNotWaitForTheReadOfAFalseAlarm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := steps(gives(apiKey(1)), slowly(8*time.Second, apiKey(1)), gives(apiKey(2)))
		cache, v := accepted(t, store, nil)
		var wg sync.WaitGroup
		wg.Go(func() { replace(t, cache, v, 1) })
		pass(time.Second)
		v = retrieve(t, cache, 1)
		cache.Accept(v)
		wg.Wait()
		v = retrieve(t, cache, 1)
		if d := took(func() { replace(t, cache, v, 2) }); d != time.Second {
			t.Errorf("took %v, want the second that it waits for an acceptance", d)
		}
	})
}
