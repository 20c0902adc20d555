package azureidentity_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// An asked credential keeps the claims that it is asked with, and has another token each time.
type asked struct{ claims []string }

func (a *asked) GetToken(_ context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
	a.claims = append(a.claims, tro.Claims)
	return azcore.AccessToken{Token: fmt.Sprintf("eyJ.CANARY-%d", len(a.claims))}, nil
}

func TestOfAChallengeOnlyClaimsAreTakenThatAreOurs(t *testing.T) {
	azuretest.ClearEnv(t)
	const claims = `{"access_token":{"nbf":{"essential":true}}}`
	encoded := base64.StdEncoding.EncodeToString([]byte(claims))
	for name, tc := range map[string]struct{ challenge, want string }{
		"claims that are asked for": {challenge(claims), claims},
		"without quotes":            {`Bearer error=insufficient_claims, claims=` + strings.TrimRight(encoded, "="), claims},
		"of another error":          {`Bearer error="invalid_token", claims="` + encoded + `"`, ""},
		"of no error":               {`Bearer claims="` + encoded + `"`, ""},
		"none":                      {`Bearer error="insufficient_claims"`, ""},
		"more than 8 KiB":           {challenge(`{"x":"` + strings.Repeat("x", 7<<10) + `"}`), ""},
		"no JSON":                   {challenge("claims"), ""},
	} {
		cred := &asked{}
		src := newSource(t, &azureidentity.Options{Credential: cred})
		v, err := src.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := src.Renew(t.Context(), credential.Rejection{Value: v, StatusCode: 401, Challenge: tc.challenge}); err != nil {
			t.Fatal(err)
		}
		if len(cred.claims) != 2 || cred.claims[1] != tc.want {
			t.Errorf("%s: asked with %.60q, want %q", name, cred.claims[1:], tc.want)
		}
	}
}

func TestACodeIsShownOnlyIfItIsAWord(t *testing.T) {
	for code, shown := range map[string]bool{
		"invalid_grant":             true,
		"sk-CANARY-0001":            false,
		"CANARY 1":                  false,
		strings.Repeat("CANARY", 7): false,
		"a.code_of_forty_letters_and_not_of_more": true,
	} {
		t.Run(fmt.Sprintf("%d bytes, shown %t", len(code), shown), func(t *testing.T) { // no name with a fake secret
			azuretest.ClearEnv(t)
			a := azuretest.NewAuthority(t, secret, token1)
			principal(t, a, secret)
			a.Fail(http.StatusBadRequest, `{"error":"`+code+`","error_description":"CANARY"}`)
			_, err := newSource(t, &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true}).Retrieve(t.Context())
			if err == nil || strings.Contains(err.Error(), code) != shown {
				t.Errorf("got %v, want the code in it: %t", err, shown)
			}
		})
	}
}
