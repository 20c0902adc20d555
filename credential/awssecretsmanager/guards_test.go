package awssecretsmanager_test

import (
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

func TestAnErrorSaysWhichVersionWasAskedFor(t *testing.T) {
	const version = "a1b2c3d4-0000-4000-8000-000000000001"
	for says, opts := range map[string]*awssecretsmanager.Options{
		`read "prod/openai" version "` + version + `" in eu-west-1`: {Version: version},
		`read "prod/openai" stage "AWSPREVIOUS" in eu-west-1`:       {Stage: "AWSPREVIOUS"},
		`read "prod/openai" in eu-west-1`:                           nil,
	} {
		sm := onWire(t)
		sm.Fail(awstest.Fault{Status: 500, Type: "InternalServiceError"})
		_, err := newSource(t, secretName, opts).Retrieve(t.Context())
		wantError(t, err, nil, says)
	}
}

// A Transport that has no effect may be one that somebody relies on, such as a
// guard of addresses.
func TestATransportBesideAClientIsRefused(t *testing.T) {
	_, err := awssecretsmanager.New(secretName, &awssecretsmanager.Options{
		Client: inMemory(awstest.NewSecretsManager()), Transport: http.DefaultTransport,
	})
	wantError(t, err, nil, "no effect on a Client")
}
