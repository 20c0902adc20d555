package azurekeyvault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// An account is an Azure OpenAI resource with its two keys and the vault that
// they are published in, under load.
type account struct {
	server *clienttest.Server
	vault  *azuretest.Vault
	keys   [2]string
	made   int

	calls, failed atomic.Int64
	stop          func()
	mu            sync.Mutex
	first         error
}

func newAccount(t *testing.T, opts *azurekeyvault.Options) *account {
	a := &account{server: clienttest.NewServer(), vault: azuretest.NewVault(t, token)}
	t.Cleanup(a.server.Close)
	a.server.SetFlavor(clienttest.AzureOpenAI)
	a.regenerate(0)
	a.regenerate(1)
	a.publish(name, 0)
	a.publish("openai-key-2", 1)
	c, err := client.New(client.Config{BaseURL: a.server.URL, KeyHeader: "api-key", Source: newSource(t, a.vault, opts)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				a.call(t.Context(), c)
			}
		})
	}
	a.stop = func() { cancel(); wg.Wait() }
	return a
}

func (a *account) call(ctx context.Context, c *client.Client) {
	_, err := c.Post(ctx, "chat/completions", map[string]any{"model": "m", "messages": []any{map[string]string{"role": "user", "content": "hi"}}}, nil)
	if err != nil {
		a.failed.Add(1)
		a.mu.Lock()
		a.first = errors.Join(a.first, err)
		a.mu.Unlock()
	}
	a.calls.Add(1)
}

// regenerate replaces a key; the old one dies at once.
func (a *account) regenerate(n int) {
	old := a.keys[n]
	a.made++
	a.keys[n] = fmt.Sprintf("CANARY-azure-key-%d-%04d", n+1, a.made)
	a.server.Accept(a.keys[n])
	a.server.Revoke(old)
}

func (a *account) publish(secret string, n int) { a.vault.Put(secret, a.keys[n]) }

// settle lets some calls pass.
func (a *account) settle(t *testing.T) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for goal := a.calls.Load() + 50; a.calls.Load() < goal; <-tick.C {
		if t.Context().Err() != nil {
			t.Fatal("the test is over")
		}
	}
}

func (a *account) finish(t *testing.T) {
	t.Helper()
	a.settle(t)
	a.stop()
	if a.failed.Load() != 0 {
		t.Errorf("%d of %d calls failed, the first with %v", a.failed.Load(), a.calls.Load(), a.first)
	}
	t.Logf("%d calls, %d reads of the vault", a.calls.Load(), a.vault.Reads())
}

// https://learn.microsoft.com/azure/ai-services/rotate-keys: one secret names
// the key in use.
func TestMicrosoftsRotationFailsNoCall(t *testing.T) {
	a := newAccount(t, nil)
	for round := range 4 {
		use := (round + 1) % 2 // the key that is not in use
		a.settle(t)
		a.regenerate(use)
		a.settle(t)
		a.publish(name, use)
		a.settle(t)
		a.regenerate(1 - use) // the key in use, as far as the program knows
	}
	a.finish(t)
}

// The keys are in two secrets, and each is regenerated while it is in use and
// before it is published: the worst order.
func TestAStandbyBridgesAKeyThatDiedBeforeItsSuccessorWasPublished(t *testing.T) {
	a := newAccount(t, &azurekeyvault.Options{StandbyName: "openai-key-2"})
	for round := range 4 {
		n := round % 2
		a.settle(t)
		a.regenerate(n)
		a.settle(t)
		a.publish([]string{name, "openai-key-2"}[n], n)
	}
	a.finish(t)
}

func TestARejectedPinSaysThatItIsOne(t *testing.T) {
	vault := azuretest.NewVault(t, token)
	pin := vault.Put(name, key1)
	vault.Put(name, key2)
	cache, err := credential.NewCache(newSource(t, vault, &azurekeyvault.Options{Version: pin}), nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := cache.Retrieve(t.Context())
	if err != nil || v.Version != pin {
		t.Fatalf("version %q, %v", v.Version, err)
	}
	cache.Accept(v)
	_, err = cache.Replace(t.Context(), credential.Rejection{Value: v, StatusCode: 401})
	if !errors.Is(err, credential.ErrRejected) || !strings.Contains(err.Error(), "pinned") || vault.Reads() != 1 {
		t.Errorf("%d reads, %v", vault.Reads(), err)
	}
}
