package openaiworkload_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
)

func appService(transport http.RoundTripper) openaiworkload.Options {
	return openaiworkload.Options{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", From: "azure", Audience: "api://openai", Transport: transport}
}

// An endpoint may have a query of its own. It does not decide what the token is
// for.
func TestTheQueryOfTheEndpointIsKeptAndDecidesNothing(t *testing.T) {
	clearEnv(t)
	t.Setenv("IDENTITY_ENDPOINT", "http://localhost/token?slot=2&resource=https%3A%2F%2Fmanagement.azure.com&api-version=1")
	t.Setenv("IDENTITY_HEADER", "CANARY-header")
	asked := 0
	_, err := newSource(t, appService(memory(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "auth.openai.com" {
			return response(200, granted("sk-CANARY-1", "")), nil
		}
		asked++
		if q := r.URL.Query().Encode(); q != "api-version=2019-08-01&resource=api%3A%2F%2Fopenai&slot=2" {
			t.Errorf("asked with %s", q)
		}
		return subject("azure"), nil
	}))).Retrieve(background)
	if err != nil || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestAHeaderOfTwoLinesIsSentToNobody(t *testing.T) {
	clearEnv(t)
	t.Setenv("IDENTITY_ENDPOINT", "http://localhost/token")
	for _, header := range []string{"CANARY\nX-Other: 1", "CANARY\r"} {
		t.Setenv("IDENTITY_HEADER", header)
		_, err := newSource(t, appService(untouched(t))).Retrieve(background)
		wantFault(t, err, false, "IDENTITY_HEADER cannot stand in a header")
		if errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%v: a broken configuration is taken for none", err)
		}
	}
}

func TestACallerWhoIsGoneAsksForNoSubjectToken(t *testing.T) {
	o := options(untouched(t))
	o.Token = func(context.Context) (credential.Secret, error) {
		t.Error("Token was called")
		return credential.NewSecret(jwt(1)), nil
	}
	cause := errors.New("the caller's own reason")
	ctx, cancel := context.WithCancelCause(background)
	cancel(cause)
	if _, err := newSource(t, o).Retrieve(ctx); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestARefusalSaysWhetherToWaitOrToLook(t *testing.T) {
	for _, c := range []struct {
		status    int
		body      string
		transient bool
		says      string
	}{
		{503, `<html>CANARY`, true, "it is tried again"},
		{400, `{"error":"temporarily_unavailable"}`, true, "it is tried again"},
		{400, `{"error":"CANARY"}`, false, "check the Workload Identity Provider"},
		{400, `CANARY`, false, "check the Workload Identity Provider"},
		{400, `{"error":"invalid_grant"}`, false, "check the subject token's issuer"},
	} {
		_, err := newSource(t, options(memory(func(*http.Request) (*http.Response, error) {
			return response(c.status, c.body), nil
		}))).Retrieve(background)
		wantFault(t, err, c.transient, c.says)
	}
}
