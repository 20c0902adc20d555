package credential_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func twoKeys() (first, second *credentialtest.Store, src credential.Source) {
	first, second = credentialtest.NewStore(key(1)), credentialtest.NewStore(key(2))
	return first, second, credential.Standby(first, second)
}

func TestStandbyIsNotReadBeforeARejection(t *testing.T) {
	first, second, src := twoKeys()
	cache := newCache(t, src, nil)
	retrieve(t, cache, 1)
	wantReads(t, first, 1)
	wantReads(t, second, 0)
}

func TestStandbyIsPromotedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second, src := twoKeys()
		log := &log{}
		cache := newCache(t, src, &credential.CacheOptions{OnEvent: log.add})
		v := retrieve(t, cache, 1)
		if d := took(func() { replace(t, cache, v, 2) }); d != 0 {
			t.Errorf("took %v", d)
		}
		wantReads(t, first, 2)
		wantReads(t, second, 1)
		if kinds := log.kinds(); kinds != "loaded rejected promoted" {
			t.Errorf("events: %s", kinds)
		}
	})
}

func TestPrimaryIsPreferredWhenItHasANewValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second, src := twoKeys()
		cache := newCache(t, src, nil)
		v := retrieve(t, cache, 1)
		first.Rotate(key(3))
		replace(t, cache, v, 3)
		wantReads(t, second, 0)
	})
}

func TestStandbyStaysUntilThePrimaryHasAValueThatWasNeverSeen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, _, src := twoKeys()
		cache := newCache(t, src, &credential.CacheOptions{TTL: time.Minute})
		replace(t, cache, retrieve(t, cache, 1), 2)
		for range 120 { // hours after the rejection, too
			pass(time.Minute)
			retrieve(t, cache, 2)
		}
		first.Rotate(key(3))
		pass(time.Minute)
		retrieve(t, cache, 3)
		first.Rotate(key(1)) // refused once, and key 3 is accepted
		for range 10 {
			pass(time.Minute)
			retrieve(t, cache, 3)
		}
	})
}

func TestStandbyThatIsRejectedGivesWayToANewPrimary(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, _, src := twoKeys()
		cache := newCache(t, src, nil)
		v := replace(t, cache, retrieve(t, cache, 1), 2)
		first.Rotate(key(3))
		replace(t, cache, v, 3)
	})
}

func TestAlternatingKeysLoseNoCall(t *testing.T) {
	bubble(t, func(t *testing.T) { // Azure's procedure: regenerate one, move, regenerate the other
		first, second, src := twoKeys()
		cache, service := newCache(t, src, nil), accepting(key(1), key(2))
		for i := 3; i < 23; i++ {
			if i%2 == 1 {
				first.Rotate(key(i))
			} else {
				second.Rotate(key(i))
			}
			service.accept(key(i), key(i-1))
			if sends, err := call(background, cache, service); err != nil || sends > 2 {
				t.Errorf("rotation %d: %d sends, %v", i, sends, err)
			}
			pass(time.Minute)
		}
	})
}

func TestBothRejectedIsRejectedAfterTheGrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second, src := twoKeys()
		cache, v := accepted(t, src, nil)
		v = replace(t, cache, v, 2)
		cache.Accept(v)
		if d := took(func() {
			_, err := cache.Replace(background, reject(v))
			wantErr(t, err, credential.ErrRejected)
			if want := "credential: rejected by the service: standby(store, store) has no other value; publish a valid one"; err.Error() != want {
				t.Errorf("got %v", err)
			}
		}); d < 3*time.Second || d > 5*time.Second {
			t.Errorf("took %v", d)
		}
		if n := first.Reads() + second.Reads(); n > 3+2*10 {
			t.Errorf("%d reads", n)
		}
	})
}

func TestStandbyAppearsWithinTheGrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, second, src := twoKeys()
		second.Fail(credential.ErrNotFound) // there is no pending version yet
		cache, v := accepted(t, src, nil)
		time.AfterFunc(2*time.Second, func() { second.Fail(nil) })
		replace(t, cache, v, 2)
	})
}

func TestStandbyHelpsWhenThePrimaryIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, _, src := twoKeys()
		cache, v := accepted(t, src, nil)
		first.Fail(errDown)
		replace(t, cache, v, 2)
		for range 200 { // and longer than a stale value could bridge it
			pass(time.Minute)
			retrieve(t, cache, 2)
		}
	})
}

func TestStandbyTokenIsRefreshedWhileItIsInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second, src := twoKeys()
		second.SetValue(token(2, time.Hour))
		cache := newCache(t, src, nil)
		replace(t, cache, retrieve(t, cache, 1), 2)
		for n := 3; n < 6; n++ {
			pass(56 * time.Minute)
			second.SetValue(token(n, time.Hour))
			retrieve(t, cache, n-1)
			pass(time.Second)
			retrieve(t, cache, n)
		}
		second.Fail(errDown)
		pass(time.Hour)
		if v, err := cache.Retrieve(background); err == nil && !v.Expires.IsZero() && !v.Expires.After(time.Now()) {
			t.Error("an expired token was served")
		}
		first.Rotate(key(9))
		pass(72 * time.Second)
		retrieve(t, cache, 9)
	})
}

func TestStandbysNest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stores := make([]*credentialtest.Store, 4)
		for i := range stores {
			stores[i] = credentialtest.NewStore(key(i + 1))
		}
		src := credential.Standby(credential.Standby(stores[0], stores[1]), credential.Standby(stores[2], stores[3]))
		cache := newCache(t, src, nil)
		v := retrieve(t, cache, 1)
		for n := 2; n <= 4; n++ {
			v = replace(t, cache, v, n)
		}
		wantReads(t, stores[3], 1)
	})
}

func TestStandbyInAChainAndAChainInAStandby(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second, pair := twoKeys()
		absent, other := credentialtest.NewStore(""), credentialtest.NewStore(key(9))
		absent.Fail(credential.ErrUnavailable)
		chain, err := credential.NewChain(absent, pair, other)
		if err != nil {
			t.Fatal(err)
		}
		cache := newCache(t, chain, nil)
		replace(t, cache, retrieve(t, cache, 1), 2)
		wantReads(t, absent, 1)
		wantReads(t, other, 0) // a rejection never moves down the chain

		inner, err := credential.NewChain(absent, first)
		if err != nil {
			t.Fatal(err)
		}
		cache = newCache(t, credential.Standby(inner, second), nil)
		replace(t, cache, retrieve(t, cache, 1), 2)
		wantReads(t, absent, 2)
	})
}

func TestStandbyOfNonsenseFails(t *testing.T) {
	store := credentialtest.NewStore(key(1))
	for name, src := range map[string]credential.Source{
		"no primary": credential.Standby(nil, store),
		"no standby": credential.Standby(store, nil),
		"a cache":    credential.Standby(newCache(t, store, nil), store),
	} {
		if _, err := src.Retrieve(background); err == nil || !strings.Contains(err.Error(), "two sources") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := credential.NewChain(src); err == nil {
			t.Errorf("%s: NewChain took it", name)
		}
	}
}

// Renewer

func TestRenewerIsToldOfTheRejection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second := credentialtest.NewStore(key(1)), credentialtest.NewStore(key(2))
		renewer := first.Renewing(func(_ context.Context, r credential.Rejection) (credential.Value, error) {
			if nth(r.Value) != 1 {
				t.Errorf("Renew was told of key %d", nth(r.Value))
			}
			return apiKey(3), nil
		})
		chain, err := credential.NewChain(credential.Standby(renewer, second.Renewing(nil)))
		if err != nil {
			t.Fatal(err)
		}
		cache := newCache(t, chain, nil)
		v := retrieve(t, cache, 1)
		r := credential.Rejection{Value: v, StatusCode: 401, Challenge: `Bearer error="insufficient_claims", claims="e30="`}
		v, err = cache.Replace(background, r)
		want(t, 3, v, err)
		list := renewer.Rejections()
		if len(list) != 1 || list[0].Challenge != r.Challenge || list[0].StatusCode != 401 {
			t.Errorf("Renew was told: %+v", list)
		}
		wantReads(t, first, 1) // Renew instead of a read
		wantReads(t, second, 0)
	})
}

func TestOnlyTheSourceThatGaveTheValueRenewsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second := credentialtest.NewStore(key(1)), credentialtest.NewStore(key(2))
		r1 := first.Renewing(func(context.Context, credential.Rejection) (credential.Value, error) {
			return credential.Value{}, errDown
		})
		r2 := second.Renewing(func(context.Context, credential.Rejection) (credential.Value, error) { return apiKey(3), nil })
		cache := newCache(t, credential.Standby(r1, r2), nil)
		v := replace(t, cache, retrieve(t, cache, 1), 2)
		if len(r1.Rejections()) != 1 || len(r2.Rejections()) != 0 {
			t.Errorf("%d and %d calls of Renew, want 1 and 0", len(r1.Rejections()), len(r2.Rejections()))
		}
		replace(t, cache, v, 3)
		if len(r1.Rejections()) != 1 || len(r2.Rejections()) != 1 {
			t.Errorf("%d and %d calls of Renew, want 1 and 1", len(r1.Rejections()), len(r2.Rejections()))
		}
	})
}

func TestRenewerWithTheSameValueIsNoSuccess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		renewer := store.Renewing(nil)
		cache, v := accepted(t, renewer, nil)
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		if n := len(renewer.Rejections()); n < 2 || n > 10 {
			t.Errorf("%d calls of Renew in the grace", n)
		}
		_, err = cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
	})
}

// A byValue renewer cannot be compared with ==, at compile time or at run time.
type byValue struct {
	renew func() credential.Value
	_     any
}

func (b byValue) Retrieve(context.Context) (credential.Value, error) { return apiKey(1), nil }
func (b byValue) Renew(context.Context, credential.Rejection) (credential.Value, error) {
	return b.renew(), nil
}

type byInterface struct{ extra any }

func (b byInterface) Retrieve(context.Context) (credential.Value, error) { return apiKey(1), nil }
func (b byInterface) Renew(context.Context, credential.Rejection) (credential.Value, error) {
	return apiKey(2), nil
}

func TestRenewerThatCannotBeComparedIsRenewed(t *testing.T) {
	for _, src := range []credential.Source{
		byValue{renew: func() credential.Value { return apiKey(2) }},
		byInterface{extra: []string{"not comparable"}},
		byInterface{},
	} {
		cache := newCache(t, src, nil)
		replace(t, cache, retrieve(t, cache, 1), 2)
	}
}

func TestRenewFailureIsReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		boom := errors.New("login failed")
		renewer := credentialtest.NewStore(key(1)).Renewing(func(context.Context, credential.Rejection) (credential.Value, error) {
			return credential.Value{}, boom
		})
		cache, v := accepted(t, renewer, nil)
		_, err := cache.Replace(background, reject(v))
		wantErr(t, err, credential.ErrRejected)
		wantErr(t, err, boom)
	})
}
