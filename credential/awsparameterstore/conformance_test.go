package awsparameterstore_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

func TestSourceKeepsTheRules(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			ps := onWire(t)
			ps.Put(parameter, secret)
			return credentialtest.Harness{
				Source:   newSource(t, parameter, nil),
				Rotate:   func(secret string) { ps.Put(parameter, secret) },
				Fail:     func() { ps.Fail(awstest.Fault{Status: 500, Type: "InternalServerError"}) },
				NotFound: func() { ps.Delete(parameter) },
				Hang:     func() { ps.Fail(awstest.Fault{Hang: true}) },
			}
		},
		HTTP: func(t *testing.T, transport http.RoundTripper) credential.Source {
			onWire(t)
			return newSource(t, parameter, &awsparameterstore.Options{Transport: transport})
		},
		File: func(t *testing.T, path string) credential.Source {
			onWire(t)
			t.Setenv("AWS_CA_BUNDLE", path)
			return newSource(t, parameter, nil)
		},
		Unavailable: func(t *testing.T) credential.Source {
			awstest.NoAWS(t)
			return newSource(t, parameter, nil)
		},
	})
}

func TestSourceOfALabelledFieldKeepsTheRules(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			ps := awstest.NewParameterStore()
			put := func(secret string) {
				doc, err := json.Marshal(map[string]any{"openai": map[string]string{"apiKey": secret}, "n": 1})
				if err != nil {
					t.Fatal(err)
				}
				ps.Label(parameter, "live", ps.Put(parameter, string(doc)))
				ps.Put(parameter, "not this one")
			}
			put(secret)
			put(secret)
			return credentialtest.Harness{
				Source: newSource(t, ps.ARN(parameter), &awsparameterstore.Options{
					Client: inMemory(ps), Field: "/openai/apiKey", Stage: "live", ExpiryPolicy: true}),
				Rotate:   put,
				NotFound: func() { ps.Label(parameter, "live", 0) },
				Hang:     func() { ps.Fail(awstest.Fault{Hang: true}) },
			}
		},
	})
}
