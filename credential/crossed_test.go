package credential_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// Disturbances that come two at a time. Each was survived alone by a cache
// that failed thousands of calls when they crossed.

// A traffic is a call every interval, each in a goroutine of its own.
type traffic struct {
	cache   *credential.Cache
	service *service
	calls   atomic.Int64
	failed  atomic.Int64
	most    atomic.Int64 // sends of one call
	first   atomic.Pointer[error]
	wg      sync.WaitGroup
	end     chan struct{}
}

// drive starts the traffic. Stop it with stop.
func drive(cache *credential.Cache, service *service, interval time.Duration) *traffic {
	d := &traffic{cache: cache, service: service, end: make(chan struct{})}
	d.wg.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			d.wg.Go(d.one)
			select {
			case <-tick.C:
			case <-d.end:
				return
			}
		}
	})
	return d
}

func (d *traffic) one() {
	sends, err := call(background, d.cache, d.service)
	d.calls.Add(1)
	for most := d.most.Load(); int64(sends) > most && !d.most.CompareAndSwap(most, int64(sends)); most = d.most.Load() {
	}
	if err != nil {
		d.failed.Add(1)
		d.first.CompareAndSwap(nil, &err)
	}
}

func (d *traffic) stop(t *testing.T) {
	t.Helper()
	close(d.end)
	d.wg.Wait()
}

func (d *traffic) nobodyFailed(t *testing.T) {
	t.Helper()
	if n := d.failed.Load(); n != 0 {
		t.Errorf("%d of %d calls failed, the first: %v", n, d.calls.Load(), *d.first.Load())
	}
}

// A crossing is an outage of the store around the revocation of the key.
type crossing struct {
	before, after, ttl time.Duration
	token, slow        bool
}

func (x crossing) String() string {
	return fmt.Sprintf("down %v before and %v after, TTL %v, token %v, slow %v", x.before, x.after, x.ttl, x.token, x.slow)
}

func (x crossing) value(n int) credential.Value {
	switch {
	case !x.token:
		return apiKey(n)
	case n > 1:
		return token(n, time.Hour)
	}
	return token(n, 2*time.Second+x.before+x.ttl) // it expires a TTL after its revocation
}

func crossings() (list []crossing) {
	for _, before := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 60 * time.Second} {
		for _, after := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 4900 * time.Millisecond, 60 * time.Second} {
			for _, ttl := range []time.Duration{time.Second, 30 * time.Second, 5 * time.Minute} {
				for i := range 4 {
					list = append(list, crossing{before, after, ttl, i&1 != 0, i&2 != 0})
				}
			}
		}
	}
	return list
}

func TestARotationInAnOutageThatEndsWithinTheGraceFailsNoCall(t *testing.T) {
	for _, x := range crossings() {
		t.Run(x.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				store, service := credentialtest.NewStore(""), accepting(key(1))
				store.SetValue(x.value(1))
				cache := newCache(t, store, &credential.CacheOptions{TTL: x.ttl})
				calls := drive(cache, service, 50*time.Millisecond)
				pass(2 * time.Second)
				if x.slow {
					store.Delay(time.Second)
				}
				store.Fail(errDown)
				pass(x.before)
				service.accept(key(2))
				store.SetValue(x.value(2))
				pass(x.after)
				store.Fail(nil)
				store.Delay(0)
				if x.after > credential.DefaultGrace {
					pass(73 * time.Second) // the longest cool-down
					if _, err := call(background, cache, service); err != nil {
						t.Errorf("the outage has ended, but %v", err)
					}
					calls.stop(t)
					return
				}
				pass(10 * time.Second)
				calls.stop(t)
				calls.nobodyFailed(t)
			})
		})
	}
}

func TestARotationThatIsTakenBackFailsNoCall(t *testing.T) {
	for _, gap := range []time.Duration{200 * time.Millisecond, 2 * time.Second, 20 * time.Second, 65 * time.Second} {
		for _, times := range []int{1, 5} {
			for _, ttl := range []time.Duration{time.Second, 5 * time.Minute} {
				t.Run(fmt.Sprintf("after %v, %d times, TTL %v", gap, times, ttl), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						store, service := credentialtest.NewStore(key(1)), accepting(key(1))
						cache := newCache(t, store, &credential.CacheOptions{TTL: ttl})
						calls := drive(cache, service, 20*time.Millisecond)
						pass(time.Second)
						for i := range 2 * times {
							n := 2 - i%2
							store.Rotate(key(n))
							service.accept(key(n))
							pass(gap)
						}
						calls.stop(t)
						calls.nobodyFailed(t)
						// One read for each rotation, and one for each refresh.
						if n, most := store.Reads(), 1+2*times+int(time.Duration(2*times)*gap/(700*time.Millisecond))+2; ttl == time.Second && n > most || ttl > time.Minute && n > 4+2*times {
							t.Errorf("%d reads", n)
						}
					})
				})
			}
		}
	}
}

// The operator publishes a key that nobody knows, and goes back.
func TestAWrongKeyThatIsTakenBackWithinTheGraceFailsNoCall(t *testing.T) {
	for _, gap := range []time.Duration{200 * time.Millisecond, time.Second, 2 * time.Second} {
		t.Run(gap.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store, service := credentialtest.NewStore(key(1)), accepting(key(1))
				cache := newCache(t, store, nil)
				calls := drive(cache, service, 20*time.Millisecond)
				pass(time.Second)
				store.Rotate(key(2))
				service.accept()
				pass(gap)
				store.Rotate(key(1))
				service.accept(key(1))
				pass(10 * time.Second)
				calls.stop(t)
				calls.nobodyFailed(t)
			})
		})
	}
}

func TestReplicasOfAStoreThatDisagreeFailNoCallAndCostFewReads(t *testing.T) {
	for _, ttl := range []time.Duration{time.Second, 5 * time.Minute} {
		t.Run(ttl.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				service := accepting(key(1))
				var reads, rotated atomic.Int64
				src := credential.SourceFunc(func(context.Context) (credential.Value, error) {
					if n := reads.Add(1); rotated.Load() == 2 || rotated.Load() == 1 && n%2 == 0 {
						return apiKey(2), nil
					}
					return apiKey(1), nil
				})
				cache := newCache(t, src, &credential.CacheOptions{TTL: ttl})
				calls := drive(cache, service, 20*time.Millisecond)
				pass(time.Second)
				rotated.Store(1)
				service.accept(key(2))
				before := reads.Load()
				pass(10 * time.Second)
				during := reads.Load() - before
				rotated.Store(2)
				pass(10 * time.Second)
				calls.stop(t)
				calls.nobodyFailed(t)
				if most := 6 + int64(10*time.Second/(720*ttl/1000)); during > most {
					t.Errorf("%d reads while the replicas disagreed, want at most %d", during, most)
				}
			})
		})
	}
}

// Both keys are dead, and each read gives the other one.
func TestReplicasThatDisagreeAboutDeadKeysCostFewReads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		service := accepting(key(0))
		var reads atomic.Int64
		src := credential.SourceFunc(func(context.Context) (credential.Value, error) {
			return apiKey(1 + int(reads.Add(1)%2)), nil
		})
		cache := newCache(t, src, nil)
		calls := drive(cache, service, 10*time.Millisecond)
		pass(time.Hour)
		calls.stop(t)
		if n := reads.Load(); n > 80 {
			t.Errorf("%d reads in an hour", n)
		}
	})
}
