package azureidentity_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

func inCloud(c cloud.Configuration) azcore.ClientOptions { return azcore.ClientOptions{Cloud: c} }

// On a machine that is not in Azure nothing answers at 169.254.169.254.
func TestWithoutAzureItSaysInTimeWhatItLookedFor(t *testing.T) {
	azuretest.ClearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		silent := &http.Client{Transport: trip(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})}
		src := newSource(t, &azureidentity.Options{Transport: silent.Transport})
		begin := time.Now()
		_, err := src.Retrieve(on(t, "silent"))
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it took %v", took)
		}
		refusal{is: credential.ErrUnavailable, wants: []string{
			"AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "169.254.169.254", "az: not on PATH", "azd: not on PATH", "pwsh: not on PATH",
			"assign a managed identity", "az login",
		}}.check(t, err)
	})
}

func TestOtherPlatformsAreNeverProbed(t *testing.T) {
	for _, mark := range []string{
		"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_EXECUTION_ENV", "ECS_CONTAINER_METADATA_URI_V4", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "K_SERVICE", "KUBERNETES_SERVICE_HOST", "WEBSITE_SITE_NAME", "FUNCTIONS_WORKER_RUNTIME",
	} {
		azuretest.ClearEnv(t)
		az := azuretest.NewAz(t, token1)
		t.Setenv(mark, "x")
		touched := &http.Client{Transport: trip(func(req *http.Request) (*http.Response, error) {
			t.Errorf("%s is set, and %s was asked", mark, req.URL.Host)
			return nil, io.EOF
		})}
		_, err := newSource(t, &azureidentity.Options{Transport: touched.Transport, ClientOptions: quick()}).Retrieve(on(t, "silent"))
		if !errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%s: got %v", mark, err)
		}
		if az.Runs() != 0 {
			t.Errorf("%s is set, and the developer's identity was used", mark)
		}
	}
}

func TestOnlyAzuresAnswerCountsAtTheMetadataAddress(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"EC2, version 1":  {http.StatusNotFound, `<?xml version="1.0"?><html>404 - Not Found</html>`},
		"EC2, version 2":  {http.StatusUnauthorized, ""},
		"Google Cloud":    {http.StatusForbidden, "Missing Metadata-Flavor:Google header."},
		"a proxy":         {http.StatusForbidden, "connecting to 169.254.169.254:80: unreachable"},
		"a portal":        {http.StatusOK, "<html>log in"},
		"a refusing page": {http.StatusBadRequest, "<html>bad request"},
	} {
		azuretest.ClearEnv(t)
		asked := 0
		other := &http.Client{Transport: trip(func(req *http.Request) (*http.Response, error) {
			asked++
			return &http.Response{StatusCode: answer.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer.body)), Request: req}, nil
		})}
		_, err := newSource(t, &azureidentity.Options{Transport: other.Transport, ClientOptions: quick()}).Retrieve(on(t, "silent"))
		if !errors.Is(err, credential.ErrUnavailable) || asked != 1 {
			t.Errorf("%s: %d requests, %v", name, asked, err)
		}
	}
}

// A configured identity that fails is never replaced by another in silence.
func TestAConfiguredIdentityIsTheOnlyOne(t *testing.T) {
	azuretest.ClearEnv(t)
	az := azuretest.NewAz(t, token2)
	id := azuretest.NewIdentity(t, token1)
	src := newSource(t, &azureidentity.Options{Transport: id.HTTP().Transport, ClientOptions: quick()})
	id.Fail(outage, "{}")
	if _, err := src.Retrieve(t.Context()); err == nil || errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("got %v, want a failure that a chain stops at", err)
	}
	if az.Runs() != 0 {
		t.Error("the developer's identity was asked")
	}
}

func TestADeveloperWhoIsNotLoggedInIsUnavailable(t *testing.T) {
	for name, say := range map[string]string{"az": "ERROR: Please run 'az login' to setup account.", "azd": "ERROR: not logged in, run `azd auth login` to login"} {
		azuretest.ClearEnv(t)
		t.Setenv("AZURE_TOKEN_CREDENTIALS", "dev")
		tool := azuretest.NewAz
		if name == "azd" {
			tool = azuretest.NewAzd
		}
		tool(t, token1).Fail(say)
		_, err := newSource(t, nil).Retrieve(t.Context())
		refusal{is: credential.ErrUnavailable, wants: []string{name + ": nobody is logged in"}}.check(t, err)
	}
}

func TestTheVariableOfAzidentityNarrowsTheList(t *testing.T) {
	for value, want := range map[string]string{
		"":                          "azureidentity:managed-identity",
		"prod":                      "azureidentity:managed-identity",
		"ManagedIdentityCredential": "azureidentity:managed-identity",
		"dev":                       "azureidentity:az",
		"azureclicredential":        "azureidentity:az",
		"EnvironmentCredential":     "",
	} {
		azuretest.ClearEnv(t)
		azuretest.NewAz(t, token2)
		azuretest.NewIdentity(t, token1)
		t.Setenv("AZURE_TOKEN_CREDENTIALS", value)
		v, err := newSource(t, nil).Retrieve(t.Context())
		if v.Source != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", value, v.Source, err, want)
		}
	}
}

// The Core Tools set some of Azure's variables on a developer's machine.
func TestTheCoreToolsLeaveTheDevelopersIdentity(t *testing.T) {
	azuretest.ClearEnv(t)
	azuretest.NewAz(t, token1)
	t.Setenv("FUNCTIONS_WORKER_RUNTIME", "custom")
	t.Setenv("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
	if v, err := newSource(t, nil).Retrieve(t.Context()); err != nil || v.Source != "azureidentity:az" {
		t.Errorf("got %q, %v", v.Source, err)
	}
}

func TestAnAbandonedProbeIsNotUnavailable(t *testing.T) {
	azuretest.ClearEnv(t)
	id := azuretest.NewIMDS(t, token1)
	defer id.Hang()()
	ctx, cancel := context.WithTimeout(on(t, "silent"), 20*time.Millisecond)
	defer cancel()
	_, err := newSource(t, &azureidentity.Options{Transport: id.Client().Transport, ClientOptions: quick()}).Retrieve(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
