package credential_test

import (
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// TestARejectionIsReadForAtOnce: aws/aws-secretsmanager-caching-java#154. A forced
// refresh sleeps for seconds before it asks the store. docs/reports.md lists it.
func TestARejectionIsReadForAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		cache := newCache(t, store, nil)
		v := retrieve(t, cache, 1)
		cache.Accept(v)
		for n := 2; n < 10; n++ {
			pass(time.Hour)
			store.Rotate(key(n))
			store.Delay(40 * time.Millisecond)
			if d := took(func() { v = replace(t, cache, v, n) }); d != 40*time.Millisecond {
				t.Errorf("rotation %d took %v, want the 40 ms of the read", n, d)
			}
			cache.Accept(v)
		}
	})
}
