package hashivault_test

import (
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/credential/hashivault"
)

func TestSourceConforms(t *testing.T) {
	for name, kv := range map[string]int{"KV v2": 2, "KV v1": 1} {
		t.Run(name, func(t *testing.T) {
			credentialtest.TestSource(t, credentialtest.Config{
				New: func(t *testing.T, secret string) credentialtest.Harness {
					s := newStub(t)
					s.do(func() { s.kv, s.fields = kv, map[string]any{"key": secret} })
					hung := make(chan struct{})
					return credentialtest.Harness{
						Source: s.source(&hashivault.Options{Field: "key"}),
						Rotate: func(secret string) { s.do(func() { s.fields = map[string]any{"key": secret} }) },
						Fail: func() {
							s.on("", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 503, "Vault is sealed") })
						},
						NotFound: func() {
							s.on("secret/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 404) })
						},
						Hang: func() {
							t.Cleanup(func() { close(hung) })
							s.on("", func(_ http.ResponseWriter, r *http.Request) {
								select {
								case <-hung:
								case <-r.Context().Done():
								}
							})
						},
					}
				},
				HTTP: func(t *testing.T, transport http.RoundTripper) credential.Source {
					return newStub(t).source(&hashivault.Options{Transport: transport})
				},
				File: func(t *testing.T, path string) credential.Source {
					return newStub(t).source(&hashivault.Options{Auth: &hashivault.JWT{TokenFile: path}})
				},
				Unavailable: func(t *testing.T) credential.Source {
					cleanEnv(t)
					src, err := hashivault.New("secret/openai", nil)
					if err != nil {
						t.Fatal(err)
					}
					return src
				},
			})
		})
	}
}

func TestASourceThatLogsInConformsAndLeavesNoToken(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			s := newStub(t)
			s.do(func() { s.fields = map[string]any{"key": secret} })
			return credentialtest.Harness{
				Source: s.source(&hashivault.Options{Auth: &hashivault.AppRole{RoleID: "r"}, RevokeOnClose: true}),
				Rotate: func(secret string) { s.do(func() { s.fields = map[string]any{"key": secret} }) },
				Held: func() (n int) {
					s.do(func() { n = len(s.tokens) - 1 }) // the first is not of a login
					return n
				},
			}
		},
	})
}
