package azurekeyvault_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	source "github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/azurekeyvault"
)

const (
	token   = "eyJ.CANARY-vault-token"
	name    = "openai-key"
	journal = name + "-rotation"
)

// identity gives out token.
type identity struct{}

func (identity) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: token, ExpiresOn: time.Now().Add(1000 * rotationtest.Day)}, nil
}

// once keeps the SDK from repeating: a rotator that is dead does not.
func once() azcore.ClientOptions {
	return azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}
}

// withTransport has no effect, and is refused.
func withTransport() azcore.ClientOptions { return azcore.ClientOptions{Transport: http.DefaultClient} }

func open(t testing.TB, transport http.RoundTripper, change func(*azurekeyvault.Options)) *azurekeyvault.Store {
	t.Helper()
	o := &azurekeyvault.Options{Credential: identity{}, Transport: transport, ClientOptions: once()}
	if change != nil {
		change(o)
	}
	s, err := azurekeyvault.New(azuretest.VaultURL, name, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func reader(t testing.TB, transport http.RoundTripper) *source.Source {
	t.Helper()
	src, err := source.New(azuretest.VaultURL, name, &source.Options{Credential: identity{}, Transport: transport, ClientOptions: once()})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// A world is a vault, a store on it and a service with keys of their own, in a bubble.
type world struct {
	*rotationtest.Lab
	vault     *azuretest.Vault
	transport http.RoundTripper
	store     *azurekeyvault.Store
}

// newWorld returns one in which the clock of the vault is that of the service, and goes
// on while somebody sleeps.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	w.vault, w.transport = azuretest.NewPipedVault(t, token)
	w.store = open(t, w.transport, nil)
	w.Lab = rotationtest.New(t, w.store)
	begin := time.Now()
	w.Options.Now = func() time.Time { return w.Service.Clock().Add(time.Since(begin)) }
	w.vault.SetNow(w.Options.Now)
	w.Source = reader(t, w.transport)
	w.Under = func(f *rotationtest.Fault) rotation.Store { return open(t, f.Transport(w.transport), nil) }
	return w
}

// writes is a transport on which only requests that change something meet the fault,
// until the rotator is dead: one that dies at a read has done the same as one that dies
// at the write after it.
type writes struct {
	*rotationtest.Fault
	to http.RoundTripper
}

func (w writes) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && (w.At == 0 || w.Calls < w.At) {
		return w.to.RoundTrip(r)
	}
	return w.Transport(w.to).RoundTrip(r)
}
