package credential_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func ExampleCache() {
	ctx := context.Background()
	src := credential.Static(credential.NewSecret("sk-CANARY-1"), credential.APIKey)
	cache, err := credential.NewCache(src, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := cache.Retrieve(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Send v.Secret.Bearer() in the header Authorization. On success:
	cache.Accept(v)
	// On a 401 with its response header:
	//	v, err = cache.Replace(ctx, credential.Rejection{Value: v, StatusCode: 401, Challenge: h.Get("WWW-Authenticate")})
	fmt.Println(v.Source, v.Secret)
	// Output: static [redacted]
}

// A program that is told of a rotation, by an event or a file that changed, reads at
// once what it would have read within the TTL.
func ExampleCache_Refresh() {
	store := credentialtest.NewStore("sk-CANARY-1")
	cache, err := credential.NewCache(store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	before, _ := cache.Retrieve(ctx)
	store.Rotate("sk-CANARY-2")
	// The event arrives.
	after, err := cache.Refresh(ctx)
	fmt.Println(before.Version, after.Version, err)
	// Output: v1 v2 <nil>
}

func ExampleNewChain() {
	chain, err := credential.NewChain(
		credential.Env("LATCHKEY_EXAMPLE_UNSET"),
		credential.File("/run/secrets/latchkey-example"),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = chain.Retrieve(context.Background())
	fmt.Println(errors.Is(err, credential.ErrUnavailable))
	fmt.Println(err)
	// Output:
	// true
	// credential: none of 2 sources is available:
	// 	1. env:LATCHKEY_EXAMPLE_UNSET: source unavailable: the variable is unset or empty (set it)
	// 	2. file:/run/secrets/latchkey-example: source unavailable: there is no such file (mount or write it)
}

// An Azure OpenAI resource has two keys. When the first is regenerated, the
// call that notices goes on with the second.
func ExampleStandby() {
	ctx := context.Background()
	key1 := credential.Static(credential.NewSecret("CANARY-1"), credential.APIKey)
	key2 := credential.Static(credential.NewSecret("CANARY-2"), credential.APIKey)
	cache, err := credential.NewCache(credential.Standby(key1, key2), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	first, err := cache.Retrieve(ctx)
	fmt.Println(err)
	second, err := cache.Replace(ctx, credential.Rejection{Value: first, StatusCode: 401})
	fmt.Println(first.Secret.Equal(second.Secret), err)
	// Output:
	// <nil>
	// false <nil>
}

func ExampleSourceFunc() {
	src := credential.SourceFunc(func(context.Context) (credential.Value, error) {
		return credential.Value{
			Secret:  credential.NewSecret("sk-CANARY-1"), // from a vault of your own
			Version: "2026-11-01",
			Source:  "myvault",
		}, nil
	})
	v, err := src.Retrieve(context.Background())
	fmt.Println(v.Source, v.Version, v.Scheme, err)
	// Output: myvault 2026-11-01 api key <nil>
}

func ExampleEnv() {
	if err := os.Setenv("LATCHKEY_EXAMPLE_KEY", "sk-CANARY-1\n"); err != nil {
		fmt.Println(err)
		return
	}
	v, err := credential.Env("LATCHKEY_EXAMPLE_KEY").Retrieve(context.Background())
	fmt.Println(v.Source, len(v.Secret.Reveal()), err)
	// Output: env:LATCHKEY_EXAMPLE_KEY 11 <nil>
}

// A service has customers who each bring a key. The context of a call says
// whose key it gets.
func ExampleTenants() {
	keys := map[string]string{"acme": "sk-CANARY-acme", "globex": "sk-CANARY-globex"} // in a store, really
	tenants, err := credential.NewTenants(func(_ context.Context, tenant string) (credential.Source, error) {
		key, ok := keys[tenant]
		if !ok {
			return nil, credential.ErrNotFound
		}
		return credential.Static(credential.NewSecret(key), credential.APIKey), nil
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := tenants.Retrieve(credential.WithTenant(context.Background(), "acme"))
	fmt.Println(v.Tenant, v.Source, err)
	_, err = tenants.Retrieve(credential.WithTenant(context.Background(), "initech"))
	fmt.Println(err)
	_, err = tenants.Retrieve(context.Background())
	fmt.Println(err)
	// Output:
	// acme static <nil>
	// credential: tenant "initech": not found
	// credential: tenants: the context names no tenant; make it with WithTenant
}

// A key that an agent or a kubelet writes to a file.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "latchkey")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "key")
	if err := os.WriteFile(path, []byte("sk-CANARY-1\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	v, err := credential.File(path).Retrieve(context.Background())
	fmt.Println(len(v.Secret.Reveal()), v.Scheme, err)
	// Output: 11 api key <nil>
}

// A Secret shows its text to nobody but Reveal and Bearer.
func ExampleNewSecret() {
	s := credential.NewSecret("sk-CANARY-1")
	fmt.Printf("%v %+v %q %x\n", s, s, s, s)
	fmt.Println(s.Equal(credential.NewSecret("sk-CANARY-1")), len(s.Reveal()))
	// Output:
	// [redacted] [redacted] [redacted] [redacted]
	// true 11
}
