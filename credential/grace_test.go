package credential_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// accepted returns a cache whose only value a service has accepted.
func accepted(t *testing.T, src credential.Source, opts *credential.CacheOptions) (*credential.Cache, credential.Value) {
	t.Helper()
	cache := newCache(t, src, opts)
	v := retrieve(t, cache, 1)
	cache.Accept(v)
	return cache, v
}

func TestReplaceWaitsForTheNewValue(t *testing.T) {
	for _, gap := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 2 * time.Second, 3800 * time.Millisecond} {
		t.Run(gap.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				cache, v := accepted(t, store, nil)
				store.Lag(gap) // the key is dead by now, and the next one not yet there
				store.Rotate(key(2))
				if d := took(func() { replace(t, cache, v, 2) }); d < gap || d > gap+1100*time.Millisecond {
					t.Errorf("took %v", d)
				}
			})
		})
	}
}

func TestGraceReadsAreFewAndBounded(t *testing.T) {
	for name, c := range map[string]struct {
		grace, least, most time.Duration
		reads              int
	}{
		"the default": {0, 3800 * time.Millisecond, 5 * time.Second, 10},
		"short":       {time.Second, 500 * time.Millisecond, time.Second, 5},
		"none":        {-1, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				cache, v := accepted(t, store, &credential.CacheOptions{Grace: c.grace})
				d := took(func() {
					_, err := cache.Replace(background, reject(v))
					wantErr(t, err, credential.ErrRejected)
				})
				if reads := store.Reads() - 1; d < c.least || d > c.most || reads > c.reads {
					t.Errorf("gave up after %v and %d reads", d, reads)
				}
			})
		})
	}
}

func TestGracePollsDoubleFrom50MillisecondsToASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var at []time.Time
		src := credential.SourceFunc(func(context.Context) (credential.Value, error) {
			at = append(at, time.Now())
			return apiKey(1), nil
		})
		cache, v := accepted(t, src, nil)
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		at = at[1:]
		for i := range at[1:] {
			wait := min(50*time.Millisecond<<i, time.Second)
			if gap := at[i+1].Sub(at[i]); gap < wait || gap > wait*11/10 {
				t.Errorf("poll %d came after %v, want %v and up to 10 %%", i+1, gap, wait)
			}
		}
	})
}

func TestGraceOfAValueThatWasNeverAcceptedIsShortAndOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		v := retrieve(t, cache, 1)
		// It may be too new: it comes back once, for one more send.
		if d := took(func() { v = replace(t, cache, v, 1) }); d < time.Second || d > 2*time.Second {
			t.Errorf("took %v", d)
		}
		for range 100 {
			if d := took(func() {
				if _, err := cache.Replace(background, reject(v)); !errors.Is(err, credential.ErrRejected) {
					t.Errorf("got %v", err)
				}
			}); d != 0 {
				t.Errorf("took %v", d)
			}
			pass(5 * time.Second)
		}
	})
}

func TestColdStartInsideTheGapOfARotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, service := newCache(t, store, nil), accepting(key(2))
		store.Lag(1500 * time.Millisecond)
		store.Rotate(key(2))
		sends, err := call(background, cache, service)
		if err != nil || sends != 2 {
			t.Errorf("%d sends, %v", sends, err)
		}
	})
}

func TestRejectionCoolDownGrowsAndCostsOneReadEach(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, nil)
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		last, reads := time.Now(), store.Reads()
		for i := 0; i < 12; {
			pass(10 * time.Millisecond)
			if _, err := cache.Replace(background, reject(v)); !errors.Is(err, credential.ErrRejected) {
				t.Errorf("got %v", err)
			}
			n := store.Reads() - reads
			if n == 0 {
				continue
			}
			least := min(time.Second<<min(i, 6), time.Minute)
			if gap := time.Since(last); n != 1 || gap < least || gap > least*6/5+10*time.Millisecond {
				t.Errorf("%d reads after %v, want one after %v and up to 20 %%", n, gap, least)
			}
			last, reads, i = time.Now(), store.Reads(), i+1
		}
		store.Rotate(key(2))
		pass(72 * time.Second)
		replace(t, cache, v, 2)
	})
}

func TestRejectedValueIsServedWhileThereIsNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, nil)
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		reads := store.Reads()
		for range 1000 { // past its TTL, too
			retrieve(t, cache, 1)
			pass(time.Second)
		}
		wantReads(t, store, reads+3) // at the end of each TTL, and not ahead of it
	})
}

func TestWallClockThatStandsStillDoesNotProlongTheGrace(t *testing.T) {
	for name, now := range map[string]func(time.Time) func() time.Time{
		"still": func(start time.Time) func() time.Time { return func() time.Time { return start } },
		"set back all the time": func(start time.Time) func() time.Time {
			return func() time.Time { return start.Add(-time.Since(start)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				cache, v := accepted(t, store, &credential.CacheOptions{Now: now(time.Now())})
				if d := took(func() {
					_, err := cache.Replace(background, reject(v))
					wantErr(t, err, credential.ErrRejected)
				}); d > credential.DefaultGrace {
					t.Errorf("took %v", d)
				}
			})
		})
	}
}

func TestFreezeInTheGraceEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		wall, store := &clock{}, credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, &credential.CacheOptions{Now: wall.now})
		var wg sync.WaitGroup
		wg.Go(func() { replace(t, cache, v, 2) })
		pass(1200 * time.Millisecond)
		wall.jump(time.Hour)
		store.Rotate(key(2))
		replace(t, cache, v, 2) // does not wait for the flight of an hour ago
		wg.Wait()
	})
}

func TestNotFoundInTheGraceEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, nil)
		store.Fail(fmt.Errorf("store: %w", credential.ErrNotFound))
		if d := took(func() {
			_, err := cache.Replace(background, reject(v))
			wantErr(t, err, credential.ErrRejected)
			wantErr(t, err, credential.ErrNotFound)
		}); d != 0 {
			t.Errorf("took %v", d)
		}
		pass(29 * time.Second)
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		wantReads(t, store, 2)
	})
}

func TestOutageThatEndsInTheGraceFailsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, nil)
		store.Rotate(key(2))
		store.Fail(errDown)
		time.AfterFunc(3*time.Second, func() { store.Fail(nil) })
		replace(t, cache, v, 2)
	})
}

func TestNewValueThatIsRefusedAtFirstIsTriedAgain(t *testing.T) {
	for _, delay := range []time.Duration{50 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store, service := credentialtest.NewStore(key(1)), accepting(key(1))
				cache, _ := accepted(t, store, nil)
				store.Rotate(key(2))
				service.accept() // nobody knows the new key yet
				time.AfterFunc(delay, func() { service.accept(key(2)) })
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() {
						if sends, err := call(background, cache, service); err != nil {
							t.Errorf("%d sends: %v", sends, err)
						}
					})
				}
				wg.Wait()
				if sends, err := call(background, cache, service); err != nil || sends != 1 {
					t.Errorf("after the trials: %d sends, %v", sends, err)
				}
				if n := store.Reads(); n > 5 {
					t.Errorf("%d reads", n)
				}
			})
		})
	}
}

func TestAcceptHealsARejectedValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, service := credentialtest.NewStore(key(1)), accepting()
		cache := newCache(t, store, nil)
		before := retrieve(t, cache, 1)
		replace(t, cache, before, 1) // for one more send
		after := retrieve(t, cache, 1)
		cache.Accept(before) // an answer from before the rejection says nothing
		_, err := cache.Replace(background, reject(after))
		wantErr(t, err, credential.ErrRejected)
		service.accept(key(1))
		if _, err := resend(background, cache, service, after); err != nil {
			t.Errorf("resend: %v", err)
		}
		reads := store.Reads()
		var wg sync.WaitGroup
		wg.Go(func() { replace(t, cache, after, 1) }) // a late 401 from before the recovery
		synctest.Wait()
		cache.Accept(retrieve(t, cache, 1)) // and another call
		wg.Wait()
		wantReads(t, store, reads)
		pass(2 * time.Minute)
		v := retrieve(t, cache, 1)
		store.Lag(2 * time.Second)
		store.Rotate(key(2))
		replace(t, cache, v, 2) // and a true one, with a grace of its own
	})
}

func TestHealedValueMayComeBackLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, &credential.CacheOptions{TTL: time.Minute, Grace: -1})
		replace(t, cache, retrieve(t, cache, 1), 1)
		cache.Accept(retrieve(t, cache, 1))
		for _, n := range []int{2, 1} {
			store.Rotate(key(n))
			pass(time.Minute)
			retrieve(t, cache, n)
		}
	})
}

func TestTrialsOfANewValueAreThree(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, &credential.CacheOptions{Grace: 30 * time.Second})
		store.Rotate(key(2))
		v, start := replace(t, cache, v, 2), time.Now()
		for _, at := range []time.Duration{400 * time.Millisecond, 2400 * time.Millisecond, 30 * time.Second} {
			v = replace(t, cache, v, 2)
			if d := time.Since(start); d != at {
				t.Errorf("tried again after %v, want %v", d, at)
			}
		}
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
	})
}

func TestWallClockThatIsSetAheadEndsTheGrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		wall, store := &clock{}, credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, &credential.CacheOptions{Now: wall.now})
		time.AfterFunc(time.Second, func() { wall.jump(10 * time.Second) })
		if d := took(func() {
			_, err := cache.Replace(background, reject(v))
			wantErr(t, err, credential.ErrRejected)
		}); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestUnconfiguredSourceIsNotPolled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := absent()
		_, err := newCache(t, store, nil).Replace(background, reject(apiKey(1)))
		wantErr(t, err, credential.ErrRejected)
		wantErr(t, err, credential.ErrUnavailable)
		wantReads(t, store, 1)
	})
}

func TestHealedValueEndsTheWaitOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, nil)
		var wg sync.WaitGroup
		wg.Go(func() { replace(t, cache, v, 1) })
		pass(time.Second)
		reads := store.Reads()
		cache.Accept(retrieve(t, cache, 1))
		if d := took(wg.Wait); d != 0 {
			t.Errorf("waited %v", d)
		}
		wantReads(t, store, reads) // no poll for a value that is back
	})
}

func TestReplicasThatDisagreeDoNotCostAReadEach(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, _ := accepted(t, store, nil)
		start := time.Now()
		for i := 0; time.Since(start) < 10*time.Minute; i++ {
			v := retrieve(t, cache, 1)
			if i%2 == 0 {
				cache.Accept(v)
			} else {
				ctx, cancel := context.WithTimeout(background, 200*time.Millisecond)
				_, _ = cache.Replace(ctx, reject(v))
				cancel()
			}
			pass(10 * time.Millisecond)
		}
		synctest.Wait()
		if n := store.Reads(); n > 10*20 {
			t.Errorf("%d reads in 10 minutes", n)
		}
	})
}

func TestOperatorMayGoBackToARejectedValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, service := credentialtest.NewStore(key(1)), accepting(key(2))
		cache, v1 := accepted(t, store, nil)
		store.Rotate(key(2))
		cache.Accept(replace(t, cache, v1, 2))
		pass(2 * time.Minute)
		store.Rotate(key(1))
		service.accept(key(1))
		if sends, err := call(background, cache, service); err != nil || sends != 2 {
			t.Errorf("%d sends, %v", sends, err)
		}
	})
}
