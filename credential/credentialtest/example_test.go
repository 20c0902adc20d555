package credentialtest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// A test of your own code: a key is rotated, and then the store is down.
func Example() {
	ctx := context.Background()
	store := credentialtest.NewStore("sk-CANARY-1")
	cache, err := credential.NewCache(store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	first, err := cache.Retrieve(ctx)
	fmt.Println(first.Version, err)
	cache.Accept(first)

	store.Rotate("sk-CANARY-2")
	next, err := cache.Replace(ctx, credential.Rejection{Value: first, StatusCode: 401})
	fmt.Println(next.Version, err, store.Reads(), "reads")

	store.Fail(errors.New("store: 503"))
	next, err = cache.Retrieve(ctx) // the value is fresh
	fmt.Println(next.Version, err, store.Reads(), "reads")
	// Output:
	// v1 <nil>
	// v2 <nil> 2 reads
	// v2 <nil> 2 reads
}
