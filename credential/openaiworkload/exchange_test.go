package openaiworkload_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
)

func TestTheExchangeIsTheOneThatOpenAIDocuments(t *testing.T) {
	const typ = "urn:ietf:params:oauth:token-type:"
	for name, c := range map[string]struct {
		edit func(*openaiworkload.Options)
		want map[string]any
	}{
		"jwt":       {func(*openaiworkload.Options) {}, map[string]any{"subject_token_type": typ + "jwt"}},
		"id token":  {func(o *openaiworkload.Options) { o.IDToken = true }, map[string]any{"subject_token_type": typ + "id_token"}},
		"client id": {func(o *openaiworkload.Options) { o.ClientID = "app_1" }, map[string]any{"subject_token_type": typ + "jwt", "client_id": "app_1"}},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, grants("sk-CANARY-1", `,"expires_in":900`))
			o := options(i.transport)
			c.edit(&o)
			if _, err := newSource(t, o).Retrieve(background); err != nil {
				t.Fatal(err)
			}
			seen := i.seen()
			if len(seen) != 1 {
				t.Fatalf("%d requests, want 1", len(seen))
			}
			r := seen[0]
			if r.host != "auth.openai.com" || r.path != "POST /oauth/token" || r.contentType != "application/json" || r.accept != "application/json" {
				t.Errorf("the request went to %s %s as %s", r.host, r.path, r.contentType)
			}
			if len(r.header["Authorization"]) > 0 {
				t.Error("the request has an Authorization header")
			}
			c.want["grant_type"] = "urn:ietf:params:oauth:grant-type:token-exchange"
			c.want["identity_provider_id"], c.want["service_account_id"] = "idp_1", "sa_1"
			if r.params["subject_token"] != jwt(1) {
				t.Error("another subject token was sent")
			}
			delete(r.params, "subject_token")
			if !maps.Equal(r.params, c.want) {
				t.Errorf("the other parameters are %v, want %v", r.params, c.want)
			}
		})
	}
}

func TestTheLifeOfATokenIsTheIssuersUpToADay(t *testing.T) {
	for rest, c := range map[string]struct{ life, refresh time.Duration }{
		`,"expires_in":900`:                 {15 * time.Minute, 7*time.Minute + 30*time.Second},
		`,"expires_in":3600`:                {time.Hour, 40 * time.Minute},
		`,"expires_in":1`:                   {time.Second, time.Second / 2},
		``:                                  {time.Hour, 40 * time.Minute},
		`,"expires_in":null`:                {time.Hour, 40 * time.Minute},
		`,"expires_in":86401`:               {24 * time.Hour, 24*time.Hour - 20*time.Minute},
		`,"expires_in":9223372036854775807`: {24 * time.Hour, 24*time.Hour - 20*time.Minute},
		`,"expires_in":900,"new":{"a":[1]}`: {15 * time.Minute, 7*time.Minute + 30*time.Second},
	} {
		src := newSource(t, options(memory(func(*http.Request) (*http.Response, error) {
			return response(200, granted("sk-CANARY-1", rest)), nil
		})))
		before := time.Now().Round(0)
		v, err := src.Retrieve(background)
		after := time.Now().Round(0)
		if err != nil {
			t.Errorf("%s: %v", rest, err)
			continue
		}
		if v.Expires.Before(before.Add(c.life)) || v.Expires.After(after.Add(c.life)) {
			t.Errorf("%s: expires after %v, want %v", rest, v.Expires.Sub(before), c.life)
		}
		if v.RefreshAfter.Before(before.Add(c.refresh*9/10)) || v.RefreshAfter.After(after.Add(c.refresh)) {
			t.Errorf("%s: to be refreshed after %v, want 0.9 to 1 times %v", rest, v.RefreshAfter.Sub(before), c.refresh)
		}
		if v.Scheme != credential.BearerToken || v.Source != "openaiworkload" || v.Version == "" {
			t.Errorf("%s: the value is a %v from %q with version %q", rest, v.Scheme, v.Source, v.Version)
		}
	}
}

func TestRefusalsSayWhatToDoAndWhetherItPasses(t *testing.T) {
	for _, c := range []struct {
		status    int
		body      string
		transient bool
		parts     []string
	}{
		{400, `{"error":"invalid_grant","error_description":"CANARY"}`, false, []string{"400, invalid_grant", "issuer, audience and expiry"}},
		{401, `{"error":"invalid_client"}`, false, []string{"401, invalid_client", "IdentityProviderID"}},
		{403, `{"error":"access_denied"}`, false, []string{"403, access_denied", "map this workload"}},
		{400, `{"error":"unsupported_grant_type"}`, false, []string{"unsupported_grant_type"}},
		{400, `{"error":"temporarily_unavailable"}`, true, []string{"temporarily_unavailable"}},
		{401, `{"error":{"code":"CANARY","message":"CANARY"}}`, false, []string{"HTTP status 401 (check"}},
		{401, `{"error":"CANARY"}`, false, []string{"HTTP status 401 (check"}},
		{404, "CANARY", false, []string{"404"}},
		{201, granted("sk-CANARY-1", ""), false, []string{"201"}},
		{408, "", true, []string{"408"}},
		{429, "CANARY", true, []string{"429"}},
		{500, `{"error":"server_error"}`, true, []string{"500, server_error"}},
		{503, "<html>CANARY", true, []string{"503"}},
	} {
		i := newIssuer(t, says(c.status, c.body))
		_, err := newSource(t, options(i.transport)).Retrieve(background)
		wantFault(t, err, c.transient, append(c.parts, "openaiworkload: exchange the subject token at auth.openai.com")...)
		if errors.Is(err, credential.ErrUnavailable) || errors.Is(err, credential.ErrNotFound) {
			t.Errorf("status %d lets a chain go on", c.status)
		}
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	const idp, sa = "idp_1", "sa_1"
	for part, o := range map[string]*openaiworkload.Options{
		"IdentityProviderID is empty":     nil,
		"ServiceAccountID is empty":       {IdentityProviderID: idp, Token: token(1)},
		"neither From nor Token":          {IdentityProviderID: idp, ServiceAccountID: sa},
		"both From and Token":             {IdentityProviderID: idp, ServiceAccountID: sa, From: "gcp", Token: token(1)},
		`unknown From "imds"`:             {IdentityProviderID: idp, ServiceAccountID: sa, From: "imds"},
		"needs TokenFile":                 {IdentityProviderID: idp, ServiceAccountID: sa, From: "kubernetes"},
		"TokenFile needs":                 {IdentityProviderID: idp, ServiceAccountID: sa, From: "gcp", TokenFile: "f"},
		`"azure" needs Audience`:          {IdentityProviderID: idp, ServiceAccountID: sa, From: "azure"},
		`"azure-imds" needs Audience`:     {IdentityProviderID: idp, ServiceAccountID: sa, From: "azure-imds"},
		"an Audience is for":              {IdentityProviderID: idp, ServiceAccountID: sa, From: "aws", Audience: "a"},
		"ManagedIdentityID needs":         {IdentityProviderID: idp, ServiceAccountID: sa, From: "gcp", ManagedIdentityID: "m"},
		"IDToken needs":                   {IdentityProviderID: idp, ServiceAccountID: sa, From: "gcp", IDToken: true},
		"IdentityProviderID is malformed": {IdentityProviderID: "idp 1", ServiceAccountID: sa, Token: token(1)},
		"ServiceAccountID starts like":    {IdentityProviderID: idp, ServiceAccountID: "sk-CANARY-1", Token: token(1)},
		"ClientID is malformed":           {IdentityProviderID: idp, ServiceAccountID: sa, ClientID: strings.Repeat("c", 1025), Token: token(1)},
	} {
		src, err := openaiworkload.New(o)
		if err == nil || src != nil {
			t.Errorf("%s: New did not fail", part)
		} else if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("New does not say %q", part)
		}
	}
}

func TestTheZeroSourceFailsWithoutAPanic(t *testing.T) {
	for _, src := range []*openaiworkload.Source{nil, {}} {
		_, err := src.Retrieve(background)
		wantFault(t, err, false, "New")
		if src.String() != "openaiworkload" {
			t.Errorf("its name is %q", src)
		}
	}
}

func TestADoneContextIsItsCause(t *testing.T) {
	cause := errors.New("the caller's own reason")
	for name, when := range map[string]func(cancel func()) openaiworkload.Options{
		"before": func(cancel func()) openaiworkload.Options { cancel(); return options(nil) },
		"during the subject token": func(cancel func()) openaiworkload.Options {
			o := options(untouched(t))
			o.Token = func(ctx context.Context) (credential.Secret, error) { cancel(); return token(1)(ctx) }
			return o
		},
		"during the exchange": func(cancel func()) openaiworkload.Options {
			return options(memory(func(r *http.Request) (*http.Response, error) {
				cancel()
				<-r.Context().Done()
				return nil, r.Context().Err()
			}))
		},
	} {
		ctx, cancel := context.WithCancelCause(background)
		o := when(func() { cancel(cause) })
		if _, err := newSource(t, o).Retrieve(ctx); !errors.Is(err, cause) {
			t.Errorf("%s: got %v, want the cause", name, err)
		}
	}
}
