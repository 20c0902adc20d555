package openaiworkload_test

import (
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
)

func TestSourceKeepsTheRules(t *testing.T) {
	clearEnv(t)
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			i := newIssuer(t, grants(secret, `,"expires_in":900`))
			return credentialtest.Harness{
				Source: newSource(t, options(i.transport)),
				Rotate: func(secret string) { i.answer(grants(secret, `,"expires_in":900`)) },
				Fail:   func() { i.answer(says(503, `{"error":"CANARY"}`)) },
				Hang: func() {
					i.answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
				},
			}
		},
		HTTP: func(t *testing.T, transport http.RoundTripper) credential.Source {
			return newSource(t, options(transport))
		},
		File: func(t *testing.T, path string) credential.Source {
			return newSource(t, openaiworkload.Options{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", From: "kubernetes", TokenFile: path, Transport: untouched(t)})
		},
		Unavailable: func(t *testing.T) credential.Source {
			return newSource(t, openaiworkload.Options{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", From: "aws"})
		},
		Scheme: credential.BearerToken,
	})
}
