package azureidentity_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// A refusal is what an error has to say.
type refusal struct {
	wants     []string
	transient bool
	is        error
}

func (r refusal) check(t *testing.T, err error) {
	t.Helper()
	se := (*credential.SourceError)(nil)
	if !errors.As(err, &se) {
		t.Fatalf("got %T, want a *credential.SourceError", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if strings.Contains(fmt.Sprintf(verb, err), "CANARY") {
			t.Fatal("the error shows a secret")
		}
	}
	for _, want := range r.wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
	if se.Transient != r.transient {
		t.Errorf("%v: Transient is %t", err, se.Transient)
	}
	for _, sentinel := range []error{credential.ErrUnavailable, credential.ErrNotFound} {
		if errors.Is(err, sentinel) != errors.Is(r.is, sentinel) {
			t.Errorf("%v: wraps %v: %t", err, sentinel, errors.Is(err, sentinel))
		}
	}
}

func TestEachRefusalOfEntraNamesTheCauseAndTheFix(t *testing.T) {
	for code, r := range map[int]refusal{
		7000215: {wants: []string{"AADSTS7000215", "secret is wrong", "AZURE_CLIENT_SECRET"}},
		7000222: {wants: []string{"secret has expired", "make a new one"}},
		700027:  {wants: []string{"certificate has expired", "AZURE_CLIENT_CERTIFICATE_PATH"}},
		700016:  {wants: []string{"no such application", "AZURE_TENANT_ID"}},
		90002:   {wants: []string{"no such tenant", "AZURE_TENANT_ID"}},
		500011:  {wants: []string{"no resource of the scope", azureidentity.DefaultScope, "the public cloud: set AZURE_AUTHORITY_HOST to https://login.microsoftonline.com/"}},
		700024:  {wants: []string{"not within its time", "check the clock"}},
		70021:   {wants: []string{"no federated credential", "issuer, subject and audience"}},
		90033:   {wants: []string{"busy"}, transient: true},
		4242424: {wants: []string{"AADSTS4242424", "error?code=4242424"}},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			azuretest.ClearEnv(t)
			a := azuretest.NewAuthority(t, secret, token1)
			principal(t, a, secret)
			a.Fail(http.StatusUnauthorized, azuretest.Entra(code, secret))
			_, err := newSource(t, &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true}).Retrieve(t.Context())
			r.check(t, err)
		})
	}
}

var endpointFailures = map[string]struct {
	set func(t *testing.T) *azureidentity.Options
	refusal
}{
	"throttled": {func(t *testing.T) *azureidentity.Options {
		azuretest.NewIdentity(t, token1).Fail(http.StatusTooManyRequests, "{}", http.Header{"Retry-After": {"3600"}})
		return nil
	}, refusal{wants: []string{"429"}, transient: true}},
	"down": {func(t *testing.T) *azureidentity.Options {
		id := azuretest.NewIdentity(t, token1)
		id.Fail(http.StatusInternalServerError, token1)
		return &azureidentity.Options{Transport: id.HTTP().Transport, ClientOptions: quick()}
	}, refusal{wants: []string{"500"}, transient: true}},
	"no such identity": {func(t *testing.T) *azureidentity.Options {
		azuretest.NewIdentity(t, token1).Fail(http.StatusBadRequest, `{"statusCode":400,"message":"CANARY"}`)
		return &azureidentity.Options{ClientID: clientID}
	}, refusal{wants: []string{"no such identity", "AZURE_CLIENT_ID"}, is: credential.ErrNotFound}},
	"no system-assigned identity": {func(t *testing.T) *azureidentity.Options {
		id := azuretest.NewIMDS(t, token1)
		id.Fail(http.StatusBadRequest, `{"error":"invalid_request","error_description":"Identity not found CANARY"}`)
		t.Setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
		return &azureidentity.Options{Transport: id.Client().Transport, ClientOptions: quick()}
	}, refusal{wants: []string{"no system-assigned identity"}, is: credential.ErrNotFound}},
	"DNS": {func(t *testing.T) *azureidentity.Options {
		a := azuretest.NewAuthority(t, secret, token1)
		principal(t, a, secret)
		return &azureidentity.Options{ClientOptions: quick(), Transport: trip(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true}}
		}), DisableInstanceDiscovery: true}
	}, refusal{wants: []string{"DNS: 127.0.0.1 cannot be resolved", "private endpoint"}, transient: true}},
	"expired TLS certificate": {func(t *testing.T) *azureidentity.Options {
		a := azuretest.NewExpiredAuthority(t)
		principal(t, a, secret)
		return &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true}
	}, refusal{wants: []string{"TLS: the certificate of 127.0.0.1", "renew it"}, transient: true}},
	"unknown authority": {func(t *testing.T) *azureidentity.Options {
		a := azuretest.NewAuthority(t, secret, token1)
		principal(t, a, secret)
		return &azureidentity.Options{DisableInstanceDiscovery: true}
	}, refusal{wants: []string{"unknown authority", "SSL_CERT_FILE"}, transient: true}},
	"expired client certificate": {func(t *testing.T) *azureidentity.Options {
		principal(t, azuretest.NewAuthority(t, "", token1), "")
		t.Setenv("AZURE_CLIENT_CERTIFICATE_PATH", write(t, azuretest.NewClientCertificate(t, time.Now().Add(-time.Hour)).PEM(t)))
		return nil
	}, refusal{wants: []string{"the certificate expired at", "add it to the app registration"}}},
	"no client certificate": {func(t *testing.T) *azureidentity.Options {
		principal(t, azuretest.NewAuthority(t, "", token1), "")
		t.Setenv("AZURE_CLIENT_CERTIFICATE_PATH", write(t, []byte("CANARY")))
		return nil
	}, refusal{wants: []string{"AZURE_CLIENT_CERTIFICATE_PATH", "no PEM or PKCS#12"}}},
	"half a service principal": {func(t *testing.T) *azureidentity.Options {
		t.Setenv("AZURE_CLIENT_SECRET", secret)
		t.Setenv("AZURE_CLIENT_ID", clientID)
		return nil
	}, refusal{wants: []string{"read AZURE_TENANT_ID", "it is unset"}}},
	"unresolved reference": {func(t *testing.T) *azureidentity.Options {
		principal(t, azuretest.NewAuthority(t, "", token1), "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/CANARY)")
		return nil
	}, refusal{wants: []string{"unresolved Key Vault reference", "Key Vault Secrets User"}}},
	"unknown AZURE_TOKEN_CREDENTIALS": {func(t *testing.T) *azureidentity.Options {
		t.Setenv("AZURE_TOKEN_CREDENTIALS", "CANARY")
		return nil
	}, refusal{wants: []string{"AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential"}}},
	"az session expired": {func(t *testing.T) *azureidentity.Options {
		azuretest.NewAz(t, token1).Fail("ERROR: AADSTS700082: The refresh token CANARY has expired due to inactivity.\nPlease run:\naz login --scope x")
		return nil
	}, refusal{wants: []string{"AADSTS700082", "sign-in has expired", "run az login again"}}},
	"az crashes": {func(t *testing.T) *azureidentity.Options {
		azuretest.NewAz(t, token1).Fail("Traceback CANARY")
		return nil
	}, refusal{wants: []string{"get a token from az: it failed", "az account get-access-token"}}},
	"az prints nonsense": {func(t *testing.T) *azureidentity.Options {
		azuretest.NewAz(t, token1).Answer("CANARY {")
		return nil
	}, refusal{wants: []string{"something else than the JSON of a token", "AZURE_CORE_ONLY_SHOW_ERRORS=true and AZURE_CORE_NO_COLOR=true"}}},
	"az warns before its JSON": {func(t *testing.T) *azureidentity.Options {
		azuretest.NewAz(t, token1).Answer("WARNING: CANARY\n" + `{"accessToken":"CANARY","expires_on":4102444800}`)
		return nil
	}, refusal{wants: []string{"a warning or an escape code", "AZURE_CORE_ONLY_SHOW_ERRORS=true"}}},
	"az resets colors after its JSON": {func(t *testing.T) *azureidentity.Options {
		azuretest.NewAz(t, token1).Answer(`{"accessToken":"CANARY","expires_on":4102444800}` + "\x1b[0m\n")
		return nil
	}, refusal{wants: []string{"a warning or an escape code", "AZURE_CORE_NO_COLOR=true"}}},
	"azd warns before its JSON": {func(t *testing.T) *azureidentity.Options {
		azuretest.NewAzd(t, token1).Answer("WARNING: CANARY\n{}")
		return nil
	}, refusal{wants: []string{"a warning or an escape code", "run azd auth token by hand"}}},
	"the public cloud cannot be asked about a private one": {func(t *testing.T) *azureidentity.Options {
		principal(t, azuretest.NewAuthority(t, secret, token1), secret)
		return &azureidentity.Options{ClientOptions: quick(), Transport: trip(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: errors.New("CANARY")}
		})}
	}, refusal{wants: []string{"no connection to login.microsoftonline.com", "the configured authority 127.0.0.1", "set DisableInstanceDiscovery"}, transient: true}},
	"the public cloud does not know a private one": {func(t *testing.T) *azureidentity.Options {
		principal(t, azuretest.NewAuthority(t, secret, token1), secret)
		return &azureidentity.Options{ClientOptions: quick(), Transport: trip(func(req *http.Request) (*http.Response, error) {
			body := `{"error":"invalid_instance","error_description":"AADSTS50049: Unknown or invalid instance. CANARY","error_codes":[50049]}`
			return &http.Response{StatusCode: 400, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
		})}
	}, refusal{wants: []string{"does not know the authority", "set DisableInstanceDiscovery"}}},
}

func TestEachFailureOfAnEndpointNamesTheCauseAndTheFix(t *testing.T) {
	for name, tc := range endpointFailures {
		t.Run(name, func(t *testing.T) {
			azuretest.ClearEnv(t)
			_, err := newSource(t, tc.set(t)).Retrieve(t.Context())
			tc.check(t, err)
		})
	}
}

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestNewRefusesNonsense(t *testing.T) {
	for name, opts := range map[string]*azureidentity.Options{
		"scope without .default": {Scope: "https://cognitiveservices.azure.com"},
		"scope with a command":   {Scope: "https://x;rm -rf /.default"},
		"tenant with a command":  {TenantID: "x; CANARY"},
		"client with a command":  {ClientID: "$(CANARY)"},
		"credential and tenant":  {Credential: custom{}, TenantID: "t"},
	} {
		_, err := azureidentity.New(opts)
		switch {
		case err == nil:
			t.Errorf("%s was accepted", name)
		case strings.Contains(err.Error(), "CANARY"):
			t.Errorf("%s: the error quotes the option", name)
		}
	}
	if _, err := (*azureidentity.Source)(nil).Retrieve(t.Context()); err == nil {
		t.Error("a nil Source gave a token")
	}
	if _, err := new(azureidentity.Source).Renew(t.Context(), credential.Rejection{}); err == nil {
		t.Error("the zero Source gave a token")
	}
}

func TestTheScopeFollowsTheCloud(t *testing.T) {
	for name, tc := range map[string]struct {
		env  string
		opts azureidentity.Options
		want string
	}{
		"public":          {want: "https://cognitiveservices.azure.com"},
		"Azure AI":        {opts: azureidentity.Options{Scope: azureidentity.FoundryScope}, want: "https://ai.azure.com"},
		"government":      {env: "https://login.microsoftonline.us/", want: "https://cognitiveservices.azure.us"},
		"China by option": {opts: azureidentity.Options{ClientOptions: inCloud(cloud.AzureChina)}, want: "https://cognitiveservices.azure.cn"},
	} {
		t.Run(name, func(t *testing.T) {
			azuretest.ClearEnv(t)
			id := azuretest.NewIdentity(t, token1)
			t.Setenv("AZURE_AUTHORITY_HOST", tc.env)
			tc.opts.ClientID = clientID
			if _, err := newSource(t, &tc.opts).Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
			if asked := id.Asked(); len(asked) != 1 || asked[0].Get("resource") != tc.want || asked[0].Get("client_id") != clientID {
				t.Errorf("asked for %v, want %s", asked, tc.want)
			}
		})
	}
}
