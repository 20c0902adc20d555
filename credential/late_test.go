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

// A lateContext lets its caller be overtaken between its look at the cache and
// the lock.
type lateContext struct {
	context.Context
	overtake func()
}

func (c *lateContext) Err() error {
	c.overtake()
	return c.Context.Err()
}

func TestCallerThatIsOvertakenByAReadStartsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := credentialtest.NewStore("sk-CANARY-late")
		cache, err := credential.NewCache(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		late := &lateContext{Context: t.Context(), overtake: func() {
			if _, err := cache.Retrieve(t.Context()); err != nil {
				t.Error(err)
			}
		}}
		if _, err := cache.Retrieve(late); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if store.Reads() != 1 {
			t.Errorf("%d reads, want 1", store.Reads())
		}
	})
}

// A service that refuses a good key for a while leaves a cool-down behind. The
// key is rotated within it: the call waits, and gets the new one.
func TestRotationInTheCoolDownOfAFalseAlarmIsPickedUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, nil)
		if _, err := cache.Replace(background, reject(v)); !errors.Is(err, credential.ErrRejected) {
			t.Fatalf("got %v, want ErrRejected: the store has no other key", err)
		}
		cache.Accept(retrieve(t, cache, 1))
		reads := store.Reads()
		store.Rotate(key(2))
		if d := took(func() { replace(t, cache, retrieve(t, cache, 1), 2) }); d > 1300*time.Millisecond {
			t.Errorf("waited %v, want the rest of the cool-down", d)
		}
		wantReads(t, store, reads+1)
	})
}

// A caller that leaves for its deadline has learned nothing of the credential.
func TestReplaceTellsADeadlineThatIsTooNearFromARejection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache, v := accepted(t, store, nil)
		for name, prepare := range map[string]func(){
			"the next key is not there": func() {},
			"the store hangs":           func() { store.Hang() },
		} {
			prepare()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			_, err := cache.Replace(ctx, reject(v))
			cancel()
			if !errors.Is(err, credential.ErrRejected) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	bubble(t, func(t *testing.T) {
		cache, v := accepted(t, credentialtest.NewStore(key(1)), nil)
		if _, err := cache.Replace(t.Context(), reject(v)); !errors.Is(err, credential.ErrRejected) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with time enough: %v", err)
		}
	})
}
