package credential_test

import (
	"context"
	"testing"
	"testing/synctest"

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
