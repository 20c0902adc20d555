package main

import (
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// A place is an environment that the doctor is called to.
type place struct {
	name  string
	enter func(t *testing.T)
	args  []string
	code  int
}

// service is one that takes a key; it is where OPENAI_BASE_URL points to.
func service(t *testing.T) *clienttest.Server {
	srv := clienttest.NewServer("sk-CANARY-1")
	t.Cleanup(srv.Close)
	setenv(t, "OPENAI_BASE_URL="+srv.URL)
	return srv
}

func laptops() []place {
	return []place{
		{"laptop-nothing", func(*testing.T) {}, nil, 1},
		{"laptop-key", func(t *testing.T) {
			service(t)
			setenv(t, "OPENAI_API_KEY=sk-CANARY-1")
		}, []string{"-call"}, 0},
		{"laptop-refused", func(t *testing.T) {
			service(t).Inject(clienttest.Fault{Status: 503, Header: http.Header{"Retry-After": {"0"}}})
			setenv(t, "OPENAI_API_KEY=sk-CANARY-2")
		}, []string{"-call"}, 1},
		{"laptop-quoted", func(t *testing.T) { setenv(t, `OPENAI_API_KEY="sk-CANARY-1"`) }, nil, 1},
		{"laptop-mistyped", func(t *testing.T) {
			setenv(t, "OPENAI_CREDENTIAL=awssecretmanager:///prod/openai env://OPENAI_API_KEY", "OPENAI_API_KEY=sk-CANARY-1")
		}, nil, 1},
		{"laptop-address", func(t *testing.T) {
			setenv(t, "OPENAI_API_KEY=sk-CANARY-1", "OPENAI_BASE_URL=http://127.0.0.1:1/v1")
		}, []string{"-call", "-timeout=10s"}, 1},
		{"laptop-vault", func(t *testing.T) {
			setenv(t, "OPENAI_CREDENTIAL=vault://secret/openai?field=key", "VAULT_ADDR=http://127.0.0.1:1", "VAULT_TOKEN=hvs.CANARY")
		}, nil, 1},
	}
}

func clouds() []place {
	return []place{
		{"lambda-secret", func(t *testing.T) {
			onLambda(t).Put("prod/openai", `{"apiKey":"sk-CANARY-1"}`)
			setenv(t, "OPENAI_CREDENTIAL=awssecretsmanager:///prod/openai?field=apiKey&standby-stage=AWSPENDING", "OPENAI_API_KEY=sk-CANARY-old")
		}, nil, 0},
		{"lambda-denied", func(t *testing.T) {
			onLambda(t).Fail(awstest.Fault{Status: 400, Type: "AccessDeniedException", Message: "CANARY"})
			setenv(t, "OPENAI_CREDENTIAL=vault://secret/openai awssecretsmanager:///prod/openai env://OPENAI_API_KEY", "OPENAI_API_KEY=sk-CANARY-1")
		}, nil, 1},
		{"lambda-field", func(t *testing.T) {
			onLambda(t).Put("prod/openai", `{"apiKey":"sk-CANARY-1"}`)
			setenv(t, "OPENAI_CREDENTIAL=arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/openai:apikey::")
		}, nil, 1},
		{"functions-identity", func(t *testing.T) {
			azuretest.NewIdentity(t, "CANARY-token")
			setenv(t, "WEBSITE_SITE_NAME=f", "AZURE_OPENAI_ENDPOINT=https://res.openai.azure.com", "OPENAI_API_KEY=sk-CANARY-1")
		}, nil, 0},
		{"functions-unresolved", func(t *testing.T) {
			setenv(t, "WEBSITE_SITE_NAME=f", "AZURE_OPENAI_ENDPOINT=https://res.openai.azure.com",
				"AZURE_OPENAI_API_KEY=@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/CANARY)")
		}, nil, 1},
		{"pod-file", func(t *testing.T) {
			setenv(t, "KUBERNETES_SERVICE_HOST=10.0.0.1", "OPENAI_CREDENTIAL=file:///no/such/directory/openai/key")
		}, nil, 1},
		{"pod-endpoint", func(t *testing.T) {
			setenv(t, "KUBERNETES_SERVICE_HOST=10.0.0.1", "AZURE_OPENAI_ENDPOINT=https://res.openai.azure.com")
		}, nil, 1},
	}
}
