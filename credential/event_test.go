package credential_test

import (
	"errors"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func TestEventsTellTheLifeOfACredential(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, log := credentialtest.NewStore(key(1)), &log{}
		cache := newCache(t, store, &credential.CacheOptions{TTL: time.Minute, OnEvent: log.add})
		expect := func(what, kinds string) {
			t.Helper()
			if got := log.kinds(); got != kinds {
				t.Errorf("%s: events %q, want %q", what, got, kinds)
			}
		}
		v := retrieve(t, cache, 1)
		expect("first read", "loaded")
		retrieve(t, cache, 1)
		cache.Accept(v)
		expect("a hit", "")
		pass(time.Minute)
		retrieve(t, cache, 1)
		expect("the same again", "loaded")
		store.Rotate(key(2))
		pass(time.Minute)
		v = retrieve(t, cache, 2)
		expect("a new value at the end of the TTL", "rotated")
		store.Rotate(key(3))
		v = replace(t, cache, v, 3)
		cache.Accept(v)
		expect("a rotation", "rejected rotated")
		store.Fail(errDown)
		pass(time.Minute)
		retrieve(t, cache, 3)
		retrieve(t, cache, 3)
		expect("an outage", "failed stale-served")
		store.Fail(nil)
		pass(time.Minute)
		retrieve(t, cache, 3)
		expect("its end", "loaded")
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		_, err = cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		expect("no other value", "rejected failed")
		cache.Accept(retrieve(t, cache, 3))
		expect("accepted again", "")
	})
}

func TestEventsSayWhatHappenedToWhat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		wall, store, log := &clock{}, credentialtest.NewStore(key(1)), &log{}
		wall.jump(time.Hour)
		cache := newCache(t, store, &credential.CacheOptions{TTL: time.Minute, Now: wall.now, OnEvent: log.add})
		v := retrieve(t, cache, 1)
		cache.Accept(v)
		pass(30 * time.Second)
		store.Fail(&credential.SourceError{Source: "inner", Err: errors.New("boom"), Transient: true})
		pass(30 * time.Second)
		retrieve(t, cache, 1)
		loaded, failed, stale := log.events[0], log.events[1], log.events[2]
		if loaded.Kind != "loaded" || loaded.Source != "store" || loaded.Version != "v1" || loaded.Age != 0 || loaded.Err != nil {
			t.Errorf("loaded: %+v", loaded)
		}
		if !loaded.Time.Equal(wall.now().Add(-time.Minute)) {
			t.Errorf("loaded at %v by a clock that says %v", loaded.Time, wall.now())
		}
		if failed.Kind != "failed" || failed.Source != "inner" || failed.Version != "" || failed.Err == nil {
			t.Errorf("failed: %+v", failed)
		}
		if stale.Kind != "stale-served" || stale.Version != "v1" || stale.Age != time.Minute || stale.Err == nil {
			t.Errorf("stale-served: %+v", stale)
		}
	})
}

func TestEventsOfReadsSayHowLongTheyTook(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, log := credentialtest.NewStore(key(1)), &log{}
		store.Delay(2 * time.Second)
		cache := newCache(t, store, &credential.CacheOptions{TTL: time.Minute, OnEvent: log.add})
		v := retrieve(t, cache, 1)
		store.Rotate(key(2))
		replace(t, cache, v, 2)
		store.Fail(errDown)
		pass(2 * time.Minute)
		retrieve(t, cache, 2)
		pass(10 * time.Second)
		log.mu.Lock()
		defer log.mu.Unlock()
		for _, e := range log.events {
			want := 2 * time.Second
			switch e.Kind {
			case credential.EventRejected, credential.EventStaleServed:
				want = 0
			}
			if e.Took != want {
				t.Errorf("%s took %v, want %v", e.Kind, e.Took, want)
			}
		}
		if len(log.events) < 4 {
			t.Errorf("%d events", len(log.events))
		}
	})
}

func TestEventOfARejectionComesBeforeItsCure(t *testing.T) {
	store, log := credentialtest.NewStore(key(0)), &log{}
	cache := newCache(t, store, &credential.CacheOptions{OnEvent: log.add})
	v := retrieve(t, cache, 0)
	log.kinds()
	for n := 1; n <= 100; n++ {
		store.Rotate(key(n))
		v = replace(t, cache, v, n)
		cache.Accept(v) // or the source would look like one that mints what no service takes
		if kinds := log.kinds(); kinds != "rejected rotated" {
			t.Fatalf("events: %s", kinds)
		}
	}
}

func TestPanicOfTheHandlerFailsNoCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, &credential.CacheOptions{
			TTL: time.Minute, OnEvent: func(credential.Event) { panic("CANARY") },
		})
		v := retrieve(t, cache, 1)
		cache.Accept(v)
		store.Rotate(key(2))
		cache.Accept(replace(t, cache, v, 2))
		store.Fail(errDown)
		pass(time.Minute)
		retrieve(t, cache, 2)
	})
}
