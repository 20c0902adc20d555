package awssecretsmanager_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

func TestSourceKeepsTheRules(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			sm := onWire(t)
			sm.Put(secretName, secret)
			return credentialtest.Harness{
				Source:   newSource(t, secretName, nil),
				Rotate:   func(secret string) { sm.Put(secretName, secret) },
				Fail:     func() { sm.Fail(awstest.Fault{Status: 503, Type: "ServiceUnavailableException"}) },
				NotFound: func() { sm.Delete(secretName) },
				Hang:     func() { sm.Fail(awstest.Fault{Hang: true}) },
			}
		},
		HTTP: func(t *testing.T, transport http.RoundTripper) credential.Source {
			onWire(t)
			return newSource(t, secretName, &awssecretsmanager.Options{Transport: transport})
		},
		File: func(t *testing.T, path string) credential.Source {
			onWire(t)
			t.Setenv("AWS_CA_BUNDLE", path)
			return newSource(t, secretName, nil)
		},
		Unavailable: func(t *testing.T) credential.Source {
			noAWS(t)
			return newSource(t, secretName, nil)
		},
	})
}

func TestSourceOfAFieldKeepsTheRules(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			sm := awstest.NewSecretsManager()
			put := func(secret string) {
				doc, err := json.Marshal(map[string]any{"openai": map[string]string{"apiKey": secret}, "n": 1})
				if err != nil {
					t.Fatal(err)
				}
				sm.PutBinary(secretName, doc)
			}
			put(secret)
			return credentialtest.Harness{
				Source:   newSource(t, sm.ARN(secretName), &awssecretsmanager.Options{Client: inMemory(sm), Field: "/openai/apiKey"}),
				Rotate:   put,
				NotFound: func() { sm.Put(secretName, `{"openai":{}}`) },
			}
		},
	})
}
