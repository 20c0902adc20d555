package credential_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func TestACallWithoutATenantGetsNoCredential(t *testing.T) {
	tenants := newTenants(t, newLandlord().open, nil)
	for name, ctx := range map[string]context.Context{"none": background, "empty": as(""), "nil": nil} {
		if _, err := tenants.Retrieve(ctx); err == nil || !strings.Contains(err.Error(), "WithTenant") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := tenants.Replace(ctx, reject(apiKey(1))); err == nil {
			t.Errorf("%s: Replace succeeded", name)
		}
	}
	_, err := tenants.Retrieve(credential.WithTenant(canceled(), "a"))
	wantErr(t, err, context.Canceled)
}

func TestZeroTenantsFailWithoutAPanic(t *testing.T) {
	for _, tenants := range []*credential.Tenants{nil, {}} {
		if _, err := tenants.Retrieve(as("a")); err == nil {
			t.Error("Retrieve succeeded")
		}
		if _, err := tenants.Replace(as("a"), reject(apiKey(1))); err == nil {
			t.Error("Replace succeeded")
		}
		tenants.Accept(apiKey(1))
		tenants.Forget("a")
		if s := tenants.String(); s != "tenants" {
			t.Errorf("String: %q", s)
		}
	}
	if _, err := credential.NewTenants(nil, nil); err == nil {
		t.Error("NewTenants took a nil func")
	}
	for _, opts := range []*credential.TenantsOptions{{Max: -1}, {Cache: credential.CacheOptions{Timeout: -1}}} {
		if _, err := credential.NewTenants(newLandlord().open, opts); err == nil {
			t.Errorf("NewTenants took %+v", opts)
		}
	}
}

func TestTenantsAreOutermost(t *testing.T) {
	tenants := newTenants(t, newLandlord().open, nil)
	if _, err := credential.NewCache(tenants, nil); err == nil || !strings.Contains(err.Error(), "outermost") {
		t.Errorf("NewCache: %v", err)
	}
	outer := newTenants(t, func(context.Context, string) (credential.Source, error) { return tenants, nil }, nil)
	if _, err := outer.Retrieve(as("a")); err == nil || !strings.Contains(err.Error(), "outermost") {
		t.Errorf("open returned Tenants: %v", err)
	}
	none := newTenants(t, func(context.Context, string) (credential.Source, error) { return nil, nil }, nil)
	if _, err := none.Retrieve(as("a")); err == nil || !strings.Contains(err.Error(), "nil source") {
		t.Errorf("open returned nil: %v", err)
	}
}

func TestReplaceRefusesAnotherTenantsValue(t *testing.T) {
	tenants := newTenants(t, newLandlord().open, nil)
	v, err := tenants.Retrieve(as("a"))
	if err != nil || v.Tenant != "a" {
		t.Fatalf("tenant %q, %v", v.Tenant, err)
	}
	if _, err := tenants.Replace(as("b"), reject(v)); err == nil || !strings.Contains(err.Error(), `tenant "b"`) {
		t.Errorf("got %v", err)
	}
}

func TestTheLeastRecentlyUsedTenantIsDropped(t *testing.T) {
	l := newLandlord()
	tenants := newTenants(t, l.open, &credential.TenantsOptions{Max: 3})
	for _, name := range strings.Fields("a b c a d a c d a b a") { // d drops b, and b drops c
		if v, err := tenants.Retrieve(as(name)); err != nil || v.Tenant != name {
			t.Fatalf("%s: tenant %q, %v", name, v.Tenant, err)
		}
	}
	if got := fmt.Sprint(l.opens); got != "map[a:1 b:2 c:1 d:1]" {
		t.Errorf("opened %s", got)
	}
	if _, err := tenants.Retrieve(as("c")); err != nil || l.opens["c"] != 2 {
		t.Errorf("c was not dropped: %v", l.opens)
	}
}

func TestATenantInUseIsNeverDropped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLandlord()
		tenants := newTenants(t, l.open, &credential.TenantsOptions{Max: 2})
		slow, _ := l.open(background, "slow")
		store, _ := slow.(*credentialtest.Store)
		store.Delay(5 * time.Second)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := tenants.Retrieve(as("slow")); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for i := range 10 {
			if _, err := tenants.Retrieve(as(fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		}
		wg.Go(func() { _, _ = tenants.Retrieve(as("slow")) })
		wg.Wait()
		wantReads(t, store, 1)
	})
}

func TestNamesOfNobodyDropNoTenant(t *testing.T) {
	l := newLandlord()
	tenants := newTenants(t, func(ctx context.Context, name string) (credential.Source, error) {
		if strings.HasPrefix(name, "nobody") {
			return nil, credential.ErrNotFound
		}
		return l.open(ctx, name)
	}, &credential.TenantsOptions{Max: 5})
	for i := range 1000 {
		_, err := tenants.Retrieve(as(fmt.Sprint("nobody", i)))
		wantErr(t, err, credential.ErrNotFound)
		if _, err := tenants.Retrieve(as(fmt.Sprint(i % 5))); err != nil {
			t.Fatal(err)
		}
	}
	for name, n := range l.opens {
		if n != 1 {
			t.Errorf("%s was opened %d times", name, n)
		}
	}
}

func TestATenantIsOpenedOnceForAllCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLandlord()
		tenants := newTenants(t, func(ctx context.Context, name string) (credential.Source, error) {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("open has no deadline")
			}
			pass(time.Second)
			return l.open(ctx, name)
		}, nil)
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if v, err := tenants.Retrieve(as("a")); err != nil || v.Tenant != "a" {
					t.Errorf("tenant %q, %v", v.Tenant, err)
				}
			})
		}
		ctx, cancel := context.WithTimeout(as("a"), 100*time.Millisecond)
		defer cancel()
		if d := took(func() {
			_, err := tenants.Retrieve(ctx)
			wantErr(t, err, context.DeadlineExceeded)
		}); d != 100*time.Millisecond {
			t.Errorf("a call left after %v", d)
		}
		wg.Wait()
		if l.opens["a"] != 1 {
			t.Errorf("opened %d times", l.opens["a"])
		}
	})
}

func TestATenantThatCannotBeOpenedCostsOneTryPerCoolDown(t *testing.T) {
	for name, c := range map[string]struct {
		fail  func() (credential.Source, error)
		tries int // in the first 20 seconds
		says  string
	}{
		"an error":  {func() (credential.Source, error) { return nil, errShut }, 5, "directory"},
		"not found": {func() (credential.Source, error) { return nil, credential.ErrNotFound }, 1, "not found"},
		"a panic":   {func() (credential.Source, error) { panic("CANARY") }, 5, "panic with a string"},
		"an end":    {func() (credential.Source, error) { runtime.Goexit(); return nil, nil }, 5, "ended its goroutine"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tries := 0
				tenants := newTenants(t, func(context.Context, string) (credential.Source, error) {
					tries++
					return c.fail()
				}, nil)
				for range 200 {
					_, err := tenants.Retrieve(as("acme"))
					if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), `credential: tenant "acme": `) || shows(err.Error()) {
						t.Errorf("got %v", err)
					}
					pass(100 * time.Millisecond)
				}
				if tries > c.tries {
					t.Errorf("%d tries, want %d", tries, c.tries)
				}
			})
		})
	}
}

func TestAnOpenThatHangsIsNotCalledTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLandlord()
		tries, release := 0, make(chan struct{})
		tenants := newTenants(t, func(ctx context.Context, name string) (credential.Source, error) {
			tries++
			<-release // whatever ctx says
			return l.open(ctx, name)
		}, nil)
		for i := range 10 {
			d := took(func() {
				_, err := tenants.Retrieve(as("a"))
				wantErr(t, err, context.DeadlineExceeded)
			})
			if i == 0 && d != credential.DefaultTimeout || i > 0 && d != 0 {
				t.Errorf("call %d took %v", i, d)
			}
			pass(time.Minute)
		}
		close(release)
		synctest.Wait()
		if v, err := tenants.Retrieve(as("a")); err != nil || v.Tenant != "a" || tries != 1 {
			t.Errorf("tenant %q, %v after %d tries", v.Tenant, err, tries)
		}
	})
}

func TestEventsAndErrorsNameTheTenant(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, log := newLandlord(), &log{}
		tenants := newTenants(t, l.open, &credential.TenantsOptions{Cache: credential.CacheOptions{TTL: time.Minute, StaleIfError: -1, OnEvent: log.add}})
		for _, name := range []string{"a", "b"} {
			if _, err := tenants.Retrieve(as(name)); err != nil {
				t.Fatal(err)
			}
		}
		l.stores["b"].Fail(errDown)
		pass(time.Minute)
		if _, err := tenants.Retrieve(as("a")); err != nil {
			t.Error("the outage of another tenant's store is no matter of this one's")
		}
		_, err := tenants.Retrieve(as("b"))
		wantErr(t, err, errDown)
		if want := `credential: tenant "b": store: read: 503 Service Unavailable`; err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
		var got []string
		for _, e := range log.events {
			got = append(got, string(e.Kind)+" "+e.Tenant)
		}
		if s := strings.Join(got, ", "); s != "loaded a, loaded b, loaded a, failed b" {
			t.Errorf("events: %s", s)
		}
	})
}

func TestForgetOpensATenantAgain(t *testing.T) {
	l := newLandlord()
	tenants := newTenants(t, l.open, nil)
	v, err := tenants.Retrieve(as("a"))
	if err != nil {
		t.Fatal(err)
	}
	tenants.Forget("a")
	tenants.Forget("b") // nobody
	tenants.Accept(v)
	if _, err = tenants.Replace(as("a"), reject(apiKey(1))); err == nil {
		t.Error("Replace took a value from elsewhere")
	}
	if v, err = tenants.Retrieve(as("a")); err != nil || v.Tenant != "a" || l.opens["a"] != 2 {
		t.Errorf("tenant %q, %v, %v", v.Tenant, err, l.opens)
	}
}
