package azureauth_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault/azureauth"
)

type identity struct {
	token  string
	err    error
	scopes *[]string
}

func (i identity) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if i.scopes != nil {
		*i.scopes = o.Scopes
	}
	return azcore.AccessToken{Token: i.token, ExpiresOn: time.Now().Add(time.Hour)}, i.err
}

// vault records the login.
func vault(t *testing.T) (*api.Client, *map[string]string, *string) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "VAULT_") {
			t.Setenv(name, "")
		}
	}
	body, path := map[string]string{}, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		clear(body)
		_ = json.NewDecoder(r.Body).Decode(&body)
		fmt.Fprint(w, `{"auth":{"client_token":"hvs.CANARY"}}`)
	}))
	t.Cleanup(server.Close)
	cfg := api.DefaultConfig()
	cfg.Address = server.URL
	client, err := api.NewClient(cfg)
	if err != nil {
		t.Fatal("no client")
	}
	return client, &body, &path
}

func TestLoginSendsTheTokenAndWhatItRunsOn(t *testing.T) {
	client, body, path := vault(t)
	var scopes []string
	for _, c := range []struct {
		opts  azureauth.Options
		path  string
		scope string
		want  map[string]string
	}{
		{azureauth.Options{}, "/v1/auth/azure/login", "https://management.azure.com//.default", nil},
		{
			azureauth.Options{Resource: "api://vault", Mount: "team/azure", SubscriptionID: "s", ResourceGroup: "g", VMName: "v"},
			"/v1/auth/team/azure/login", "api://vault/.default", map[string]string{"subscription_id": "s", "resource_group_name": "g", "vm_name": "v"},
		},
		{
			azureauth.Options{VMSSName: "m", ResourceID: "r"},
			"/v1/auth/azure/login", "https://management.azure.com//.default", map[string]string{"vmss_name": "m", "resource_id": "r"},
		},
	} {
		c.opts.Credential = identity{token: "CANARY-jwt", scopes: &scopes}
		auth, err := azureauth.New("app", &c.opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := auth.Login(t.Context(), client); err != nil {
			t.Fatalf("Login: %v", err)
		}
		want := map[string]string{"role": "app", "jwt": "CANARY-jwt"}
		maps.Copy(want, c.want)
		if *path != c.path || !maps.Equal(*body, want) || len(scopes) != 1 || scopes[0] != c.scope {
			t.Errorf("another login: path %s, scopes %q, %d parameters", *path, scopes, len(*body))
		}
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			if strings.Contains(fmt.Sprintf(verb, auth), "CANARY") {
				t.Errorf("%s shows the token", verb)
			}
		}
	}
}

func TestTheManagedIdentityOfThePlatformIsTheDefault(t *testing.T) {
	client, body, _ := vault(t)
	asked := ""
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("resource") + " " + r.URL.Query().Get("client_id")
		fmt.Fprintf(w, `{"access_token":"CANARY-mi","expires_on":"%d","resource":"x","token_type":"Bearer"}`, time.Now().Add(time.Hour).Unix())
	}))
	defer endpoint.Close()
	t.Setenv("IDENTITY_ENDPOINT", endpoint.URL)
	t.Setenv("IDENTITY_HEADER", "CANARY-header")
	for _, name := range []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TOKEN_CREDENTIALS"} {
		t.Setenv(name, "")
	}
	// The SDK keeps tokens for the process, by identity: each run is another one.
	id := rand.Text()
	auth, err := azureauth.New("app", &azureauth.Options{ClientID: id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auth.Login(t.Context(), client); err != nil {
		t.Fatalf("Login: %v", err)
	}
	if (*body)["jwt"] != "CANARY-mi" || asked != "https://management.azure.com/ "+id {
		t.Errorf("another token; the endpoint was asked for %q", asked)
	}
}

func TestLoginWithoutATokenSaysSoAndQuotesNothing(t *testing.T) {
	client, _, path := vault(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	refused := &azidentity.AuthenticationFailedError{RawResponse: &http.Response{StatusCode: 400, Header: http.Header{"X": {"CANARY"}}, Body: http.NoBody,
		Request: httptest.NewRequest(http.MethodGet, "http://169.254.169.254/", nil)}}
	for name, c := range map[string]struct {
		ctx  context.Context
		id   identity
		says string
	}{
		"refused":  {t.Context(), identity{err: refused}, "answered 400"},
		"an error": {t.Context(), identity{err: errors.New("CANARY of an endpoint")}, "gave no token"},
		"no token": {t.Context(), identity{}, "an empty token"},
		"canceled": {canceled, identity{err: errors.New("CANARY")}, "context canceled"},
	} {
		auth, err := azureauth.New("app", &azureauth.Options{Credential: c.id})
		if err != nil {
			t.Fatal(err)
		}
		_, err = auth.Login(c.ctx, client)
		var se *credential.SourceError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), c.says) || strings.Contains(fmt.Sprintf("%+v", se), "CANARY") {
			t.Errorf("%s: the error is missing, of another kind, or quotes a secret", name)
		}
	}
	if *path != "" {
		t.Error("Vault was asked without a token")
	}
	if _, err := (*azureauth.Auth)(nil).Login(t.Context(), client); err == nil {
		t.Error("the nil Auth logs in")
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	if _, err := azureauth.New("", nil); err == nil {
		t.Error("New took no role")
	}
	for name, o := range map[string]azureauth.Options{
		"mount":          {Mount: "../sys"},
		"two identities": {Credential: identity{}, ClientID: "x"},
	} {
		if _, err := azureauth.New("app", &o); err == nil {
			t.Errorf("New took the %s", name)
		}
	}
}
