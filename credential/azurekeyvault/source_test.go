package azurekeyvault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

const (
	token = "eyJ.CANARY-vault-token"
	name  = "openai-key"
	key1  = "CANARY-azure-key-0001"
	key2  = "CANARY-azure-key-0002"
)

// identity gives out token.
type identity struct {
	err error
	saw *policy.TokenRequestOptions
}

func (i identity) GetToken(_ context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if i.saw != nil {
		*i.saw = tro
	}
	return azcore.AccessToken{Token: token, ExpiresOn: time.Now().Add(time.Hour)}, i.err
}

// quick keeps the SDK from repeating for long.
func quick() azcore.ClientOptions {
	return azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: 1, RetryDelay: time.Millisecond, MaxRetryDelay: time.Millisecond}}
}

func newSource(t testing.TB, vault *azuretest.Vault, opts *azurekeyvault.Options) *azurekeyvault.Source {
	t.Helper()
	if opts == nil {
		opts = &azurekeyvault.Options{}
	}
	if opts.Credential == nil {
		opts.Credential = identity{}
	}
	opts.ClientOptions = quick()
	if opts.Transport == nil {
		opts.Transport = vault.Client().Transport
	}
	src, err := azurekeyvault.New(azuretest.VaultURL, name, opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestAKeyVaultIsASource(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			vault := azuretest.NewVault(t, token)
			vault.Put(name, secret)
			return credentialtest.Harness{
				Source: newSource(t, vault, nil),
				Rotate: func(secret string) { vault.Put(name, secret) },
				Fail: func() {
					vault.Fail(http.StatusServiceUnavailable, azuretest.VaultError("ServiceUnavailable", "", "CANARY"))
				},
				NotFound: func() { vault.Delete(name, false) },
				Hang:     func() { t.Cleanup(vault.Hang()) },
			}
		},
		HTTP: func(t *testing.T, transport http.RoundTripper) credential.Source {
			return newSource(t, azuretest.NewVault(t, token), &azurekeyvault.Options{Transport: transport})
		},
		Unavailable: func(t *testing.T) credential.Source {
			azuretest.ClearEnv(t)
			t.Setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
			src, err := azurekeyvault.New(azuretest.VaultURL, name, &azurekeyvault.Options{Transport: azuretest.NewVault(t).Client().Transport, ClientOptions: quick()})
			if err != nil {
				t.Fatal(err)
			}
			return src
		},
	})
}

func TestTheSecretIsFoundByEachFormOfItsName(t *testing.T) {
	vault := azuretest.NewVault(t, token)
	old := vault.Put(name, key1)
	latest := vault.Put(name, key2)
	for _, tc := range []struct{ url, name, version, want string }{
		{azuretest.VaultURL, name, "", latest},
		{azuretest.VaultURL + "/", name, "", latest},
		{"https://MyVault.Vault.Azure.NET", name, "", latest},
		{azuretest.VaultURL + ":443", name, "", latest},
		{azuretest.VaultURL + "./", name, "", latest},
		{"https://myvault.vaultcore.azure.net", name, "", latest},
		{"https://myvault.privatelink.vaultcore.azure.net:443/secrets/" + name, "", "", latest},
		{azuretest.VaultURL, name, old, old},
		{azuretest.VaultURL + "/secrets/" + name, "", "", latest},
		{azuretest.VaultURL + "/secrets/" + name + "/", "", old, old},
		{azuretest.VaultURL + "/secrets/" + name + "/" + old, "", "", old},
	} {
		src, err := azurekeyvault.New(tc.url, tc.name, &azurekeyvault.Options{Credential: identity{}, Version: tc.version, Transport: vault.Client().Transport, ClientOptions: quick()})
		if err != nil {
			t.Errorf("%s: %v", tc.url, err)
			continue
		}
		v, err := src.Retrieve(t.Context())
		if err != nil || v.Version != tc.want || v.Fixed != (tc.want == old) || v.Source != "azurekeyvault:myvault.vault.azure.net/"+name {
			t.Errorf("%s: version %q of %q, Fixed %t, %v; want %q", tc.url, v.Version, v.Source, v.Fixed, err, tc.want)
		}
	}
}

func TestNewRefusesWhatIsNoSecret(t *testing.T) {
	const reference = "@Microsoft.KeyVault(SecretUri=https://myvault.vault.azure.net/secrets/CANARY)"
	good := azuretest.VaultURL
	for _, tc := range []struct {
		url, name string
		opts      azurekeyvault.Options
		wants     string
	}{
		{reference, "", azurekeyvault.Options{}, "unresolved Key Vault reference"},
		{good, reference, azurekeyvault.Options{}, "unresolved Key Vault reference"},
		{"http://myvault.vault.azure.net", name, azurekeyvault.Options{}, "https"},
		{"myvault", name, azurekeyvault.Options{}, "malformed"},
		{"", name, azurekeyvault.Options{}, "malformed"},
		{"https://u:CANARY@myvault.vault.azure.net", name, azurekeyvault.Options{}, "more than"},
		{good + "/keys/k", "", azurekeyvault.Options{}, "no secret's"},
		{good + "/secrets/a/b/c", "", azurekeyvault.Options{}, "no secret's"},
		{good + "/secrets/a", "b", azurekeyvault.Options{}, "leave one out"},
		{good + "/secrets/a/b", "", azurekeyvault.Options{Version: "c"}, "leave one out"},
		{good, "", azurekeyvault.Options{}, "1 to 127"},
		{good, "../CANARY", azurekeyvault.Options{}, "letters, digits"},
		{good, name, azurekeyvault.Options{StandbyName: name}, "StandbyName"},
		{good, name, azurekeyvault.Options{StandbyName: "a/b"}, "StandbyName"},
		{good, name, azurekeyvault.Options{Field: "/~2"}, "Field"},
		{good, name, azurekeyvault.Options{Credential: identity{}, DisableInstanceDiscovery: true}, "DisableInstanceDiscovery"},
		{good, name, azurekeyvault.Options{Credential: identity{}, Scheme: 9}, "unknown Scheme 9"},
		{good, name, azurekeyvault.Options{Credential: identity{}, ClientOptions: azcore.ClientOptions{Transport: &http.Client{}}}, "set Options.Transport"},
	} {
		_, err := azurekeyvault.New(tc.url, tc.name, &tc.opts)
		switch {
		case err == nil:
			t.Errorf("want an error with %q", tc.wants)
		case strings.Contains(err.Error(), "CANARY"):
			t.Errorf("the error about %q quotes what it was given", tc.wants)
		case !strings.Contains(err.Error(), tc.wants):
			t.Errorf("got %v, want an error with %q", err, tc.wants)
		}
	}
}

var vaultRefusals = map[string]struct {
	set       func(*azuretest.Vault, *azurekeyvault.Options)
	wants     []string
	transient bool
	is        error
}{
	"no role": {func(v *azuretest.Vault, _ *azurekeyvault.Options) {
		v.Fail(403, azuretest.VaultError("Forbidden", "ForbiddenByRbac", "Caller is not authorized CANARY"))
	}, []string{"may not read", "Key Vault Secrets User"}, false, nil},
	"no access policy": {func(v *azuretest.Vault, _ *azurekeyvault.Options) {
		v.Fail(403, azuretest.VaultError("Forbidden", "AccessDenied", "does not have secrets get permission"))
	}, []string{"may not read", "access policies"}, false, nil},
	"firewall": {func(v *azuretest.Vault, _ *azurekeyvault.Options) {
		v.Fail(403, azuretest.VaultError("Forbidden", "ForbiddenByFirewall", "Client address is not authorized"))
	}, []string{"firewall", "privatelink.vaultcore.azure.net"}, false, nil},
	"private endpoint": {func(v *azuretest.Vault, _ *azurekeyvault.Options) {
		v.Fail(403, azuretest.VaultError("Forbidden", "ForbiddenByConnection", "Public network access is disabled"))
	}, []string{"firewall", "private endpoint"}, false, nil},
	"throttled": {func(v *azuretest.Vault, _ *azurekeyvault.Options) {
		v.Fail(429, azuretest.VaultError("Throttled", "", "CANARY"), http.Header{"Retry-After": {"60"}})
	}, []string{"throttles (429)"}, true, nil},
	"down": {func(v *azuretest.Vault, _ *azurekeyvault.Options) { v.Fail(500, "CANARY") }, []string{"500"}, true, nil},
	"disabled": {func(v *azuretest.Vault, _ *azurekeyvault.Options) {
		v.Put(name, key1, azuretest.Attributes{Disabled: true})
	}, []string{"disabled", "enable it"}, false, nil},
	"expired": {func(v *azuretest.Vault, _ *azurekeyvault.Options) {
		v.Put(name, key1, azuretest.Attributes{Expires: time.Now().Add(-time.Hour)})
	}, []string{"expired at", "publish a new version"}, false, nil},
	"not yet": {func(v *azuretest.Vault, _ *azurekeyvault.Options) {
		v.Put(name, key1, azuretest.Attributes{NotBefore: time.Now().Add(time.Hour)})
	}, []string{"not to be used before"}, true, nil},
	"deleted": {func(v *azuretest.Vault, _ *azurekeyvault.Options) { v.Delete(name, false) },
		[]string{"was deleted at", "az keyvault secret recover --vault-name myvault --name openai-key"}, false, credential.ErrNotFound},
	"missing": {func(v *azuretest.Vault, _ *azurekeyvault.Options) { v.Delete(name, true) },
		[]string{"no such secret", "check the name"}, false, credential.ErrNotFound},
	"missing version": {func(_ *azuretest.Vault, o *azurekeyvault.Options) { o.Version = "0123" },
		[]string{"no such secret or version", "list-versions"}, false, credential.ErrNotFound},
	"missing field": {func(v *azuretest.Vault, o *azurekeyvault.Options) {
		v.Put(name, `{"other":"CANARY"}`)
		o.Field = "apiKey"
	}, []string{`field "apiKey"`}, false, credential.ErrNotFound},
	"wrong tenant": {func(_ *azuretest.Vault, o *azurekeyvault.Options) { o.Credential = stranger{} },
		[]string{"AKV10032", "another tenant", "AZURE_TENANT_ID"}, false, nil},
	"other resource": {func(v *azuretest.Vault, _ *azurekeyvault.Options) { v.Challenge("https://evil.example") },
		[]string{"another service"}, false, nil},
	"identity fails": {func(_ *azuretest.Vault, o *azurekeyvault.Options) {
		o.Credential = identity{err: errors.New("AADSTS7000222: CANARY")}
	}, []string{"AADSTS7000222", "expired"}, false, nil},
	"DNS": {func(_ *azuretest.Vault, o *azurekeyvault.Options) {
		o.Transport = trip(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
		})
	}, []string{"DNS: myvault.vault.azure.net cannot be resolved", "privatelink.vaultcore.azure.net"}, true, nil},
	"not a vault": {func(_ *azuretest.Vault, o *azurekeyvault.Options) {
		o.Transport = trip(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>CANARY")), Request: req}, nil
		})
	}, []string{"the answer (status 200) is not one of Key Vault"}, true, nil},
	"no value": {func(_ *azuretest.Vault, o *azurekeyvault.Options) {
		o.Transport = trip(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"other":"CANARY"}`)), Request: req}, nil
		})
	}, []string{"the answer (status 200) has no value"}, false, nil},
	"a reason that is not told": {func(v *azuretest.Vault, _ *azurekeyvault.Options) {
		v.Fail(403, azuretest.VaultError("Forbidden", "", "CANARY"))
	}, []string{"(403)", "disabled or has expired, or the identity has no role", "az keyvault secret list-versions --vault-name myvault --name openai-key", "Key Vault Secrets User"}, false, nil},
	"a proxy's refusal":         {func(v *azuretest.Vault, _ *azurekeyvault.Options) { v.Fail(403, "<html>CANARY") }, []string{"status 403", "not one of Key Vault", "proxy or firewall"}, false, nil},
	"a proxy that has no route": {func(v *azuretest.Vault, _ *azurekeyvault.Options) { v.Fail(404, "<html>CANARY") }, []string{"status 404", "not one of Key Vault"}, false, nil},
	"a proxy that is down":      {func(v *azuretest.Vault, _ *azurekeyvault.Options) { v.Fail(502, "<html>CANARY") }, []string{"status 502", "not one of Key Vault"}, true, nil},
}

func TestEachRefusalNamesTheCauseAndTheFix(t *testing.T) {
	for label, tc := range vaultRefusals {
		t.Run(label, func(t *testing.T) {
			vault, opts := azuretest.NewVault(t, token), &azurekeyvault.Options{}
			vault.Put(name, key1)
			tc.set(vault, opts)
			_, err := newSource(t, vault, opts).Retrieve(t.Context())
			se := (*credential.SourceError)(nil)
			if !errors.As(err, &se) {
				t.Fatalf("got %T, want a *credential.SourceError", err)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "CANARY") {
				t.Fatal("the error shows a secret or a body")
			}
			for _, want := range append(tc.wants, `"openai-key"`, "myvault.vault.azure.net") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not say %q", err, want)
				}
			}
			if se.Transient != tc.transient || errors.Is(err, credential.ErrNotFound) != (tc.is != nil) || errors.Is(err, credential.ErrUnavailable) {
				t.Errorf("%v: Transient %t", err, se.Transient)
			}
		})
	}
}

// stranger is an identity of another tenant.
type stranger struct{}

func (stranger) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "eyJ.CANARY-stranger", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// The vault's challenge decides for what the token is, and it has to be a vault.
func TestNoTokenGoesToAStrangersChallenge(t *testing.T) {
	vault := azuretest.NewVault(t, token)
	vault.Put(name, key1)
	saw := policy.TokenRequestOptions{}
	src := newSource(t, vault, &azurekeyvault.Options{Credential: identity{saw: &saw}})
	vault.Challenge("https://management.azure.com")
	if _, err := src.Retrieve(t.Context()); err == nil || saw.Scopes != nil {
		t.Fatalf("a token was asked for %v, %v", saw.Scopes, err)
	}
	vault.Challenge("https://vault.azure.net")
	if _, err := src.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(saw.Scopes) != 1 || saw.Scopes[0] != "https://vault.azure.net/.default" || saw.TenantID != azuretest.Tenant {
		t.Errorf("a token was asked for %v in %s", saw.Scopes, saw.TenantID)
	}
}

func TestTheAttributesLimitTheValue(t *testing.T) {
	vault := azuretest.NewVault(t, token)
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	vault.Put(name, `{"openai":{"apiKey":"`+key1+`"}}`, azuretest.Attributes{NotBefore: time.Now().Add(-time.Hour), Expires: end})
	v, err := newSource(t, vault, &azurekeyvault.Options{Field: "/openai/apiKey"}).Retrieve(t.Context())
	if err != nil || !v.Expires.Equal(end) || v.Secret.Reveal() != key1 || v.Scheme != credential.APIKey {
		t.Errorf("a %v that expires at %v, %v; want %v", v.Scheme, v.Expires, err, end)
	}
}

// A key that is published ahead of its time does not stop the calls.
func TestAVersionOfTomorrowLeavesTheOneInUse(t *testing.T) {
	vault := azuretest.NewVault(t, token)
	vault.Put(name, key1)
	cache, err := credential.NewCache(newSource(t, vault, nil), &credential.CacheOptions{TTL: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if v, err := cache.Retrieve(t.Context()); err != nil || v.Secret.Reveal() != key1 {
			t.Fatalf("got %v", err)
		}
		vault.Put(name, key2, azuretest.Attributes{NotBefore: time.Now().Add(24 * time.Hour)})
	}
}

// A private cloud's authority is not asked about at login.microsoftonline.com.
func TestDisableInstanceDiscoveryReachesThePrivateAuthorityAlone(t *testing.T) {
	azuretest.ClearEnv(t)
	authority, vault := azuretest.NewAuthority(t, "CANARY-secret", token), azuretest.NewVault(t, token)
	vault.Put(name, key1)
	vault.Challenge("https://vault.azure.net")
	for variable, value := range map[string]string{
		"AZURE_AUTHORITY_HOST": authority.URL, "AZURE_TENANT_ID": azuretest.Tenant,
		"AZURE_CLIENT_ID": "22222222-2222-2222-2222-222222222222", "AZURE_CLIENT_SECRET": "CANARY-secret",
	} {
		t.Setenv(variable, value)
	}
	for _, disabled := range []bool{true, false} {
		public := 0
		o := trip(func(req *http.Request) (*http.Response, error) {
			switch host := req.URL.Hostname(); {
			case strings.HasSuffix(host, "vault.azure.net"):
				return vault.Client().Transport.RoundTrip(req)
			case host == "127.0.0.1":
				return authority.Client().Transport.RoundTrip(req)
			}
			public++
			return nil, &net.OpError{Op: "dial", Err: errors.New("no route")}
		})
		src, err := azurekeyvault.New(azuretest.VaultURL, name, &azurekeyvault.Options{Transport: o, ClientOptions: quick(), DisableInstanceDiscovery: disabled})
		if err != nil {
			t.Fatal(err)
		}
		_, err = src.Retrieve(t.Context())
		if (err == nil) != disabled || (public == 0) != disabled {
			t.Errorf("disabled %t: %d requests to the public authority, %v", disabled, public, err)
		}
	}
}
