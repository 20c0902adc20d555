package azureidentity_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/internal/platform"
	"github.com/latchkey-go/latchkey/internal/platform/platformtest"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

const (
	token1   = "eyJ.CANARY-token-1"
	token2   = "eyJ.CANARY-token-2"
	secret   = "CANARY-client-secret~1"
	clientID = "11111111-2222-4333-8444-555555555555"
	outage   = http.StatusServiceUnavailable
)

func newSource(t testing.TB, opts *azureidentity.Options) *azureidentity.Source {
	t.Helper()
	src, err := azureidentity.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func newCache(t testing.TB, src credential.Source, opts *credential.CacheOptions) *credential.Cache {
	t.Helper()
	cache, err := credential.NewCache(src, opts)
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// on is the context of a read on a machine of that kind.
func on(t testing.TB, machine string) context.Context {
	t.Helper()
	return platform.On(t.Context(), platformtest.Machine(t, machine))
}

// issuer is what all fakes can do.
type issuer interface {
	SetToken(string)
	Fail(status int, body string, header ...http.Header)
	Hang() (release func())
}

func harness(t *testing.T, src credential.Source, i issuer) credentialtest.Harness {
	return credentialtest.Harness{
		Source: src,
		Rotate: i.SetToken,
		Fail:   func() { i.Fail(outage, `{"error":"down"}`) },
		Hang:   func() { t.Cleanup(i.Hang()) },
	}
}

// quick keeps the SDK from repeating for long.
func quick() azcore.ClientOptions {
	return azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: 1, RetryDelay: time.Millisecond, MaxRetryDelay: time.Millisecond}}
}

func TestAManagedIdentityIsASource(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			azuretest.ClearEnv(t)
			id := azuretest.NewIdentity(t, secret)
			h := harness(t, newSource(t, &azureidentity.Options{Transport: id.HTTP().Transport, ClientOptions: quick()}), id)
			h.NotFound = func() {
				id.Fail(http.StatusBadRequest, `{"statusCode":400,"message":"No User Assigned Managed Identity found"}`)
			}
			return h
		},
		HTTP: func(t *testing.T, transport http.RoundTripper) credential.Source {
			azuretest.ClearEnv(t)
			azuretest.NewIdentity(t, token1)
			return newSource(t, &azureidentity.Options{Transport: transport, ClientOptions: quick()})
		},
		Unavailable: func(t *testing.T) credential.Source {
			azuretest.ClearEnv(t)
			t.Setenv("WEBSITE_SITE_NAME", "app")
			return newSource(t, nil)
		},
		Scheme: credential.BearerToken,
	})
}

func TestAServicePrincipalIsASource(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		HTTP: func(t *testing.T, transport http.RoundTripper) credential.Source {
			azuretest.ClearEnv(t)
			principal(t, azuretest.NewAuthority(t, secret, token1), secret)
			return newSource(t, &azureidentity.Options{Transport: transport, ClientOptions: quick(), DisableInstanceDiscovery: true})
		},
		File: func(t *testing.T, path string) credential.Source {
			azuretest.ClearEnv(t)
			principal(t, azuretest.NewAuthority(t, secret, token1), "")
			t.Setenv("AZURE_CLIENT_CERTIFICATE_PATH", path)
			return newSource(t, &azureidentity.Options{DisableInstanceDiscovery: true})
		},
		New: func(t *testing.T, token string) credentialtest.Harness {
			azuretest.ClearEnv(t)
			a := azuretest.NewAuthority(t, secret, token)
			principal(t, a, secret)
			src := newSource(t, &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true})
			h := harness(t, src, a)
			h.Rotate, h.Fail, h.Hang = nil, nil, nil // the SDK has a cache of these tokens
			return h
		},
		Scheme: credential.BearerToken,
	})
}

func principal(t testing.TB, a *azuretest.Authority, secret string) {
	t.Setenv("AZURE_AUTHORITY_HOST", a.URL)
	t.Setenv("AZURE_TENANT_ID", azuretest.Tenant)
	t.Setenv("AZURE_CLIENT_ID", clientID)
	t.Setenv("AZURE_CLIENT_SECRET", secret)
}

func TestADeveloperIdentityIsASource(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, token string) credentialtest.Harness {
			azuretest.ClearEnv(t)
			az := azuretest.NewAz(t, token)
			return credentialtest.Harness{Source: newSource(t, nil), Rotate: az.SetToken, Hang: az.Hang}
		},
		Scheme: credential.BearerToken,
	})
}

// custom is a credential of the program's own, the worst there is: deaf to its
// context.
type custom struct{ store *credentialtest.Store }

func (c custom) GetToken(_ context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
	v, err := c.store.Retrieve(context.Background())
	return azcore.AccessToken{Token: v.Secret.Reveal(), ExpiresOn: time.Now().Add(time.Hour)}, err
}

func TestAnyTokenCredentialIsASource(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, token string) credentialtest.Harness {
			store := credentialtest.NewStore(token)
			return credentialtest.Harness{
				Source: newSource(t, &azureidentity.Options{Credential: custom{store}}),
				Rotate: func(secret string) { store.Rotate(secret) },
			}
		},
		Scheme: credential.BearerToken,
	})
}

func TestEachIdentityIsFoundByItsConfiguration(t *testing.T) {
	for name, set := range map[string]func(t *testing.T) (*azureidentity.Options, string){
		"managed-identity": func(t *testing.T) (*azureidentity.Options, string) {
			azuretest.NewIdentity(t, token1)
			return nil, "azureidentity:managed-identity"
		},
		"machine": func(t *testing.T) (*azureidentity.Options, string) {
			return &azureidentity.Options{Transport: azuretest.NewIMDS(t, token1).Client().Transport, ClientOptions: quick()}, "azureidentity:managed-identity"
		},
		"service principal": func(t *testing.T) (*azureidentity.Options, string) {
			a := azuretest.NewAuthority(t, secret, token1)
			principal(t, a, secret)
			return &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true}, "azureidentity:service-principal"
		},
		"certificate": func(t *testing.T) (*azureidentity.Options, string) {
			a := azuretest.NewAuthority(t, "", token1)
			principal(t, a, "")
			t.Setenv("AZURE_CLIENT_CERTIFICATE_PATH", write(t, azuretest.NewClientCertificate(t, time.Now().Add(time.Hour)).PEM(t)))
			return &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true}, "azureidentity:service-principal"
		},
		"workload identity": func(t *testing.T) (*azureidentity.Options, string) {
			a := azuretest.NewAuthority(t, "", token1)
			principal(t, a, "")
			t.Setenv("AZURE_FEDERATED_TOKEN_FILE", write(t, []byte("eyJ.CANARY-assertion")))
			return &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true}, "azureidentity:workload-identity"
		},
		"az": func(t *testing.T) (*azureidentity.Options, string) {
			azuretest.NewAz(t, token1)
			return nil, "azureidentity:az"
		},
		"azd": func(t *testing.T) (*azureidentity.Options, string) {
			azuretest.NewAzd(t, token1)
			return nil, "azureidentity:azd"
		},
	} {
		t.Run(name, func(t *testing.T) {
			azuretest.ClearEnv(t)
			opts, want := set(t)
			v, err := newSource(t, opts).Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if v.Source != want || v.Secret.Reveal() != token1 || v.Scheme != credential.BearerToken || time.Until(v.Expires) <= 0 {
				t.Errorf("got a %v of %q that expires at %v, want one of %q", v.Scheme, v.Source, v.Expires, want)
			}
		})
	}
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
