package credential_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func TestCacheReadsOnceWhileFresh(t *testing.T) {
	store := credentialtest.NewStore(key(1))
	cache := newCache(t, store, nil)
	wantReads(t, store, 0) // NewCache does no I/O
	for range 3 {
		v := retrieve(t, cache, 1)
		if v.Version != "v1" || v.Source != "store" || v.Scheme != credential.APIKey {
			t.Errorf("got %+v", v)
		}
	}
	wantReads(t, store, 1)
}

func TestCacheNamesTheSourceOfAValueThatDoesNot(t *testing.T) {
	store := credentialtest.NewStore("")
	store.SetValue(credential.Value{Secret: credential.NewSecret(key(1))})
	if v := retrieve(t, newCache(t, store, nil), 1); v.Source != "store" {
		t.Errorf("Source is %q", v.Source)
	}
}

func TestCacheRefusesNonsense(t *testing.T) {
	store := credentialtest.NewStore(key(1))
	cache := newCache(t, store, nil)
	for name, c := range map[string]struct {
		src  credential.Source
		opts *credential.CacheOptions
		says string
	}{
		"no source":          {nil, nil, "nil source"},
		"a cache":            {cache, nil, "outermost"},
		"a cache in standby": {credential.Standby(store, cache), nil, "outermost"},
		"a nil standby":      {credential.Standby(store, nil), nil, "nil source"},
		"an empty chain":     {&credential.Chain{}, nil, "empty chain"},
		"a nil chain":        {(*credential.Chain)(nil), nil, "empty chain"},
		"no bound":           {store, &credential.CacheOptions{Timeout: -1}, "Timeout"},
	} {
		_, err := credential.NewCache(c.src, c.opts)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, c.says)
		} else if strings.Count(err.Error(), "credential:") != 1 {
			t.Errorf("%s: the prefix is not there once: %v", name, err)
		}
	}
}

func TestZeroCacheFailsWithoutAPanic(t *testing.T) {
	cache := &credential.Cache{}
	if _, err := cache.Retrieve(background); err == nil {
		t.Error("Retrieve succeeded")
	}
	if _, err := cache.Replace(background, reject(apiKey(1))); err == nil {
		t.Error("Replace succeeded")
	}
	if _, err := cache.Refresh(background); err == nil {
		t.Error("Refresh succeeded")
	}
	cache.Accept(apiKey(1))
	if s := cache.String() + (*credential.Cache)(nil).String(); s != "cachecache" {
		t.Errorf("String: %q", s)
	}
}

// A fleet is caches that have read at the same time.
func fleet(t *testing.T) (n int, refreshed func() int) {
	const caches = 200
	stores := make([]*credentialtest.Store, caches)
	list := make([]*credential.Cache, caches)
	for i := range list {
		stores[i] = credentialtest.NewStore(key(1))
		list[i] = newCache(t, stores[i], &credential.CacheOptions{TTL: 100 * time.Second})
		retrieve(t, list[i], 1)
	}
	return caches, func() (n int) {
		for i := range list {
			retrieve(t, list[i], 1)
		}
		synctest.Wait()
		for i := range list {
			n += stores[i].Reads() - 1
		}
		return n
	}
}

func TestRefreshBeginsFrom72To80PercentOfTheTTL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		caches, refreshed := fleet(t)
		pass(100 * time.Second) // the first refresh may come early: all read again now
		if n := refreshed(); n != caches {
			t.Errorf("%d of %d read after the TTL", n, caches)
		}
		pass(71900 * time.Millisecond)
		if n := refreshed() - caches; n != 0 {
			t.Errorf("%d of %d refreshed before 72 %%", n, caches)
		}
		pass(4100 * time.Millisecond)
		if n := refreshed() - caches; n < caches/4 || n > caches*3/4 {
			t.Errorf("%d of %d refreshed at 76 %%: no jitter", n, caches)
		}
		pass(4100 * time.Millisecond)
		if n := refreshed() - caches; n != caches {
			t.Errorf("%d of %d refreshed after 80 %%", n, caches)
		}
	})
}

// Programs that have started together do not read together.
func TestTheFirstRefreshIsSpreadFrom10To80PercentOfTheTTL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		caches, refreshed := fleet(t)
		pass(9900 * time.Millisecond)
		if n := refreshed(); n != 0 {
			t.Errorf("%d of %d refreshed before 10 %%", n, caches)
		}
		pass(35 * time.Second)
		if n := refreshed(); n < caches/4 || n > caches*3/4 {
			t.Errorf("%d of %d refreshed at 45 %%: no jitter", n, caches)
		}
	})
}

func TestRefreshKeepsNobodyWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, &credential.CacheOptions{TTL: 100 * time.Second})
		retrieve(t, cache, 1)
		store.Rotate(key(2))
		store.Delay(3 * time.Second)
		pass(85 * time.Second)
		if d := took(func() {
			for range 100 {
				retrieve(t, cache, 1)
			}
		}); d != 0 {
			t.Errorf("calls waited %v for a refresh", d)
		}
		pass(3 * time.Second)
		synctest.Wait()
		retrieve(t, cache, 2)
		wantReads(t, store, 2)
	})
}

func TestCallersWaitOncePastTheTTL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, &credential.CacheOptions{TTL: time.Minute, StaleIfError: -1})
		retrieve(t, cache, 1)
		store.Rotate(key(2))
		store.Delay(3 * time.Second)
		pass(time.Minute)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if d := took(func() { retrieve(t, cache, 2) }); d != 3*time.Second {
					t.Errorf("a call took %v", d)
				}
			})
		}
		wg.Wait()
		wantReads(t, store, 2)
	})
}

func TestNegativeTTLNeverAges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, &credential.CacheOptions{TTL: -1})
		retrieve(t, cache, 1)
		pass(20 * 365 * 24 * time.Hour)
		retrieve(t, cache, 1)
		wantReads(t, store, 1)
	})
}

func TestHugeOptionsDoNotOverflow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		src := newChain(t, credential.Standby(credential.Standby(store, store), credential.Standby(store, store)), store, store)
		cache := newCache(t, src, &credential.CacheOptions{
			TTL: math.MaxInt64, StaleIfError: math.MaxInt64, Grace: math.MaxInt64, Timeout: math.MaxInt64,
		})
		for range 5 {
			retrieve(t, cache, 1)
			pass(7 * 24 * time.Hour)
		}
		wantReads(t, store, 1)
		release := store.Hang()
		pass(300 * 24 * time.Hour)
		for range 5 {
			retrieve(t, cache, 1) // served while the one read hangs
			pass(time.Second)
		}
		wantReads(t, store, 2)
		release()
		pass(time.Minute)
		v := retrieve(t, cache, 1)
		store.Rotate(key(2))
		store.Delay(time.Second)
		go replace(t, cache, v, 2)
		synctest.Wait()
		replace(t, cache, v, 2)
		wantReads(t, store, 3)
	})
}

func TestLambdaRefreshesInlineWithinABudget(t *testing.T) {
	t.Setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
	for name, c := range map[string]struct {
		delay, took time.Duration
		key         int
	}{
		"a quick store": {100 * time.Millisecond, 100 * time.Millisecond, 2},
		"a slow store":  {2 * time.Second, 300 * time.Millisecond, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				cache := newCache(t, store, &credential.CacheOptions{TTL: 100 * time.Second})
				retrieve(t, cache, 1)
				store.Rotate(key(2))
				store.Delay(c.delay)
				pass(85 * time.Second)
				go retrieve(t, cache, c.key)
				synctest.Wait()
				if d := took(func() { retrieve(t, cache, 1) }); d != 0 {
					t.Errorf("a call that did not start the refresh waited %v", d)
				}
				pass(90 * time.Second)
				store.Rotate(key(3))
				if d := took(func() { retrieve(t, cache, c.key+1) }); d != c.took {
					t.Errorf("the call that started the refresh took %v, want %v", d, c.took)
				}
				wantReads(t, store, 3)
			})
		})
	}
}

func TestLambdaCallLeavesTheRefreshForItsDeadline(t *testing.T) {
	t.Setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, &credential.CacheOptions{TTL: 100 * time.Second})
		retrieve(t, cache, 1)
		store.Delay(2 * time.Second)
		pass(85 * time.Second)
		ctx, cancel := context.WithTimeout(background, 250*time.Millisecond)
		defer cancel()
		if d := took(func() {
			v, err := cache.Retrieve(ctx)
			want(t, 1, v, err)
		}); d != 150*time.Millisecond {
			t.Errorf("the call took %v of its 250 ms", d)
		}
	})
}

func TestDoneContextIsReturnedAsItsCause(t *testing.T) {
	cause := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(background)
	cancel(cause)
	store := credentialtest.NewStore(key(1))
	cache := newCache(t, store, nil)
	_, err := cache.Retrieve(ctx)
	wantErr(t, err, cause)
	_, err = cache.Replace(ctx, reject(apiKey(1)))
	wantErr(t, err, cause)
	wantReads(t, store, 0)
	retrieve(t, cache, 1) // nothing was recorded
}

func TestCachesShareNothing(t *testing.T) {
	store := credentialtest.NewStore(key(1))
	one, other := newCache(t, store, nil), newCache(t, store, nil)
	v := retrieve(t, one, 1)
	other.Accept(v)
	if _, err := one.Replace(canceled(), reject(v)); err == nil {
		t.Error("Replace succeeded with a done context")
	}
	retrieve(t, other, 1)
	wantReads(t, store, 2)
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(background)
	cancel()
	return ctx
}
