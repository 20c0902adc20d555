package azureidentity_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// abroad asks for tokens of a tenant that its credential is not for.
type abroad struct{ azcore.TokenCredential }

func (a abroad) GetToken(ctx context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
	tro.TenantID = "99999999-0000-4000-8000-000000000000"
	return a.TokenCredential.GetToken(ctx, tro)
}

// The SDK's own errors hold whole answers; what a program wraps is explained
// as what New builds.
func TestErrorsOfAWrappedCredentialAreExplained(t *testing.T) {
	spn := func(t *testing.T) (*azuretest.Authority, azcore.TokenCredential) {
		a := azuretest.NewAuthority(t, secret, token1)
		theirs := quick()
		theirs.Transport = a.Client()
		// Before another try azcore rewinds a body that net/http may still read, which
		// the race detector notices.
		theirs.Retry.MaxRetries = -1
		t.Setenv("AZURE_AUTHORITY_HOST", a.URL)
		cred, err := azidentity.NewClientSecretCredential(azuretest.Tenant, clientID, secret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: theirs, DisableInstanceDiscovery: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		return a, cred
	}
	for name, tc := range map[string]struct {
		set func(t *testing.T) azcore.TokenCredential
		refusal
	}{
		"nothing configured": {func(t *testing.T) azcore.TokenCredential {
			cred, err := azidentity.NewAzureCLICredential(nil)
			if err != nil {
				t.Fatal(err)
			}
			return cred // and no az on PATH
		}, refusal{wants: []string{"none of its identities is configured"}, is: credential.ErrUnavailable}},
		"secret expired": {func(t *testing.T) azcore.TokenCredential {
			a, cred := spn(t)
			a.Fail(http.StatusUnauthorized, azuretest.Entra(7000222, secret))
			return cred
		}, refusal{wants: []string{"AADSTS7000222", "make a new one"}}},
		"authority down": {func(t *testing.T) azcore.TokenCredential {
			a, cred := spn(t)
			a.Fail(outage, "CANARY")
			return cred
		}, refusal{wants: []string{"503"}, transient: true}},
		"another tenant": {func(t *testing.T) azcore.TokenCredential {
			_, cred := spn(t)
			return abroad{cred}
		}, refusal{wants: []string{"another tenant", "AZURE_ADDITIONALLY_ALLOWED_TENANTS"}}},
	} {
		t.Run(name, func(t *testing.T) {
			azuretest.ClearEnv(t)
			_, err := newSource(t, &azureidentity.Options{Credential: tc.set(t)}).Retrieve(t.Context())
			tc.check(t, err)
		})
	}
}

// No tool can answer a challenge by itself: the developer has to sign in again.
func TestAChallengeToADeveloperAsksForASignIn(t *testing.T) {
	azuretest.ClearEnv(t)
	azuretest.NewAz(t, token1)
	src := newSource(t, nil)
	v, err := src.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = src.Renew(t.Context(), credential.Rejection{Value: v, StatusCode: 401, Challenge: challenge(`{"access_token":{}}`)})
	refusal{wants: []string{"another sign-in", "az login --scope " + azureidentity.DefaultScope}}.check(t, err)
}
