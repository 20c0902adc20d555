package credential_test

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// A crowd is callers that each make one call a round. All of them hold the old
// key when it is rotated.
type crowd struct {
	cache   *credential.Cache
	service *service
	held    sync.WaitGroup // callers that have yet to take the old key
	done    sync.WaitGroup // callers that have yet to end the round
	rotated chan struct{}  // closed when the round's rotation is over
	next    chan struct{}  // closed when the next round begins
	failed  atomic.Int64
	resent  atomic.Int64
	calls   atomic.Int64
}

// run makes callers do one call in each round, with a rotation in its middle.
func (c *crowd) run(callers, rounds int, rotate func(round int)) {
	var all sync.WaitGroup
	c.rotated, c.next = make(chan struct{}), make(chan struct{})
	c.held.Add(callers)
	c.done.Add(callers)
	for range callers {
		all.Go(func() { c.caller(rounds) })
	}
	for round := range rounds {
		c.held.Wait()
		rotate(round)
		c.held.Add(callers)
		rotated := c.rotated
		c.rotated = make(chan struct{})
		close(rotated)
		c.done.Wait()
		c.done.Add(callers)
		next := c.next
		c.next = make(chan struct{})
		close(next)
	}
	all.Wait()
}

func (c *crowd) caller(rounds int) {
	for range rounds {
		rotated, next := c.rotated, c.next
		v, err := c.cache.Retrieve(background)
		c.held.Done()
		<-rotated
		sends := 0
		if err == nil {
			sends, err = resend(background, c.cache, c.service, v)
		}
		if err != nil {
			c.failed.Add(1)
		}
		c.resent.Add(int64(sends - 1))
		c.calls.Add(1)
		c.done.Done()
		<-next
	}
}

// Promises P1 and P2: 10,000 callers, 100 rotations that kill the old key at
// once, a million calls.
func TestRotationFailsNoCallAndCostsOneRead(t *testing.T) {
	const callers, rotations = 10_000, 100
	store, service := credentialtest.NewStore(key(0)), accepting(key(0))
	c := &crowd{cache: newCache(t, store, nil), service: service}
	start := time.Now()
	c.run(callers, rotations, func(round int) {
		store.Rotate(key(round + 1))
		service.accept(key(round + 1))
	})
	t.Logf("%d calls, %d resent, %d failed, %d reads, %v", c.calls.Load(), c.resent.Load(), c.failed.Load(), store.Reads(), time.Since(start))
	if n := c.failed.Load(); n != 0 {
		t.Errorf("%d calls failed", n)
	}
	if n := c.resent.Load(); n != callers*rotations {
		t.Errorf("%d calls were sent again, want each of them once", n)
	}
	wantReads(t, store, 1+rotations)
}

func TestRotationWithAGapFailsNoCall(t *testing.T) {
	const callers, rotations = 500, 20
	for name, c := range map[string]struct {
		prepare func(store *credentialtest.Store, round int)
		reads   int // per rotation
	}{
		"2 seconds from revocation to publication": {func(store *credentialtest.Store, _ int) {
			store.Lag(2 * time.Second)
		}, 8},
		"a store that is down for 3 seconds of every second rotation": {func(store *credentialtest.Store, round int) {
			if round%2 == 1 {
				store.Fail(errDown)
				time.AfterFunc(3*time.Second, func() { store.Fail(nil) })
			}
		}, 9},
		"a store that hangs for 3 seconds of every second rotation": {func(store *credentialtest.Store, round int) {
			if round%2 == 1 {
				time.AfterFunc(3*time.Second, store.Hang())
			}
		}, 9},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store, service := credentialtest.NewStore(key(0)), accepting(key(0))
				crowd := &crowd{cache: newCache(t, store, &credential.CacheOptions{TTL: -1}), service: service}
				crowd.cache.Accept(retrieve(t, crowd.cache, 0))
				crowd.run(callers, rotations, func(round int) {
					pass(10 * time.Minute)
					c.prepare(store, round)
					store.Rotate(key(round + 1))
					service.accept(key(round + 1))
				})
				if n := crowd.failed.Load(); n != 0 {
					t.Errorf("%d of %d calls failed", n, crowd.calls.Load())
				}
				if n := store.Reads() - 1; n > rotations*c.reads {
					t.Errorf("%d reads for %d rotations", n, rotations)
				}
				// Callers that come in the gap send the dead key, once.
				if n := crowd.resent.Load(); n != callers*rotations {
					t.Errorf("%d calls were sent again, want each of them once", n)
				}
			})
		})
	}
}

// Callers that come and go at any time of a rotation, on a real scheduler.
func TestRotationsUnderFreeTrafficFailNoCall(t *testing.T) {
	store, service := credentialtest.NewStore(key(0)), accepting(key(0))
	cache := newCache(t, store, nil)
	var wg sync.WaitGroup
	var failed, finished atomic.Int64
	stop := make(chan struct{})
	const callers = 64
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := call(background, cache, service); err != nil {
					failed.Add(1)
				}
				finished.Add(1)
				runtime.Gosched()
			}
		})
	}
	const rotations = 200
	for n := 1; n <= rotations; n++ {
		// A promise is for one rotation per call: the next waits for calls to end.
		for until := finished.Load() + 20*callers; finished.Load() < until; runtime.Gosched() {
		}
		store.Rotate(key(n))
		service.accept(key(n))
	}
	close(stop)
	wg.Wait()
	if n := failed.Load(); n != 0 {
		t.Errorf("%d of %d calls failed", n, finished.Load())
	}
	if n := store.Reads(); n > 1+rotations {
		t.Errorf("%d reads for %d rotations", n, rotations)
	}
}

// Promise P3: 1,000 calls a second for an hour, with a key that is wrong.
func TestWrongKeyCostsFewReadsAndOneSendACall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const perSecond, seconds = callsPerSecond, 3600
		store, service := credentialtest.NewStore(key(1)), accepting()
		cache := newCache(t, store, nil)
		var twice, more, unexpected atomic.Int64
		one := func() {
			sends, err := call(background, cache, service)
			switch {
			case sends == 2:
				twice.Add(1)
			case sends != 1:
				more.Add(1)
			}
			if !errors.Is(err, credential.ErrRejected) {
				unexpected.Add(1)
			}
		}
		var wg sync.WaitGroup
		for second := range seconds {
			if second > 5 { // nothing waits any more
				for range perSecond {
					one()
				}
				pass(time.Second)
				continue
			}
			for range perSecond {
				wg.Go(one)
				pass(time.Second / perSecond)
			}
		}
		wg.Wait()
		t.Logf("%d reads, %d calls sent twice", store.Reads(), twice.Load())
		if n := store.Reads(); n > 70 {
			t.Errorf("%d reads, want at most 70", n)
		}
		// All that came while the first one waited for the grace.
		if n := twice.Load(); n > 2*perSecond {
			t.Errorf("%d calls were sent twice", n)
		}
		if more.Load() != 0 || unexpected.Load() != 0 {
			t.Errorf("%d calls were sent more often, %d ended with another error", more.Load(), unexpected.Load())
		}
	})
}

func TestWrongKeyAfterAGoodOneIsBoundedAsWell(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, service := credentialtest.NewStore(key(1)), accepting(key(1))
		cache := newCache(t, store, nil)
		if _, err := call(background, cache, service); err != nil {
			t.Fatalf("call: %v", err)
		}
		store.Rotate(key(2)) // a slip of the operator
		service.accept()
		start, most := time.Now(), 0
		for time.Since(start) < time.Hour {
			sends, err := call(background, cache, service)
			if err == nil {
				t.Error("a call succeeded")
			}
			most = max(most, sends)
			if time.Since(start) > time.Minute && sends != 1 {
				t.Errorf("%d sends after %v", sends, time.Since(start))
			}
			pass(50 * time.Millisecond)
		}
		if n := store.Reads(); n > 72 || most > 4 {
			t.Errorf("%d reads, up to %d sends a call", n, most)
		}
		store.Rotate(key(3))
		service.accept(key(3))
		pass(72 * time.Second)
		if _, err := call(background, cache, service); err != nil {
			t.Errorf("after the operator's correction: %v", err)
		}
	})
}
