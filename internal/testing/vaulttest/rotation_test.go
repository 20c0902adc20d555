package vaulttest_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/rotation"
	store "github.com/latchkey-go/latchkey/rotation/hashivault"
)

// issuer makes and revokes keys of a service.
type issuer struct {
	service *clienttest.Service
	n       atomic.Int64
	mu      sync.Mutex
	keys    map[string]rotation.Key
}

func (i *issuer) Issue(_ context.Context, pending rotation.Version, _ *rotation.Version, expires time.Time) (rotation.Key, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := i.n.Add(1)
	k := rotation.Key{ID: fmt.Sprint("id-", n), Name: pending.Token, Secret: credential.NewSecret(key(int(n))), Created: time.Now(), Expires: expires}
	i.keys[k.ID] = k
	i.service.Accept(key(int(n)))
	return k, nil
}

func (i *issuer) Prove(context.Context, credential.Secret) error { return nil }

func (i *issuer) Keys(context.Context) (list []rotation.Key, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.keys {
		k.Secret = credential.Secret{}
		list = append(list, k)
	}
	return list, nil
}

func (i *issuer) Revoke(_ context.Context, id string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if k, ok := i.keys[id]; ok {
		i.service.Revoke(k.Secret.Reveal())
		delete(i.keys, id)
	}
	return nil
}

// Rotators, several at once, rotate a key in a real Vault ten times under load. No
// call fails, and one key is left at the end.
func TestARotatorInVaultFailsNoReader(t *testing.T) {
	s := start(t)
	src := source(t, s, "secret/openai", &hashivault.Options{Auth: role(t, s, nil), Field: "key"})
	now := &atomic.Int64{}
	now.Store(time.Now().UnixNano())
	clock := func() time.Time { return time.Unix(0, now.Load()) }
	svc, call := service(t, src, &credential.CacheOptions{TTL: 5 * time.Minute, Now: clock}, key(0))
	l := newLoad(t, 50, call)
	i := &issuer{service: svc, keys: map[string]rotation.Key{}}
	kv, err := store.New(s.Client(""), "secret", "openai")
	if err != nil {
		t.Fatal(err)
	}
	r, err := rotation.New(i, kv, &rotation.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		l.more(t, 200)
		var crew sync.WaitGroup
		for range 3 {
			crew.Go(func() { _, _ = r.Run(t.Context()) }) // one goes on, the others get a conflict
		}
		crew.Wait()
		for range 3 {
			if _, err := r.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			now.Add(int64(6 * time.Minute)) // a rotator that lost has had its time; readers read again
			l.more(t, 200)
		}
		now.Add(int64(30 * 24 * time.Hour))
	}
	l.stop()
	l.nobodyFailed(t)
	if keys, _ := i.Keys(t.Context()); len(keys) > 2 || i.n.Load() < 10 {
		t.Errorf("%d keys are left of %d", len(keys), i.n.Load())
	}
}
