package dialguard_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/dialguard"
)

type token struct{}

func (token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "CANARY-token"}, nil
}

// stores are sources whose stores are reached by a guarded transport.
func stores(t *testing.T, g *dialguard.Guard) map[string]credential.Source {
	t.Helper()
	transport, err := g.Transport(nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]credential.Source{}
	if out["azurekeyvault"], err = azurekeyvault.New("https://contoso.vault.azure.net", "key", &azurekeyvault.Options{
		Credential: token{}, Transport: transport,
	}); err != nil {
		t.Fatal(err)
	}
	cfg := aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("id", "CANARY-aws", "")}
	if out["awssecretsmanager"], err = awssecretsmanager.New("key", &awssecretsmanager.Options{
		Client: secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) { o.HTTPClient = &http.Client{Transport: transport} }),
	}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT_ADDR", "https://vault.corp.test:8200")
	t.Setenv("VAULT_TOKEN", "CANARY-vault")
	vault := api.DefaultConfig()
	own, ok := vault.HttpClient.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("a transport of type %T", vault.HttpClient.Transport)
	}
	if vault.HttpClient.Transport, err = g.Transport(own); err != nil {
		t.Fatal(err)
	}
	c, err := api.NewClient(vault)
	if err != nil {
		t.Fatal(err)
	}
	if out["hashivault"], err = hashivault.New("secret/key", &hashivault.Options{Client: c}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAStoreIsNotReadAtAPublicAddressAndTheErrorSaysWhy(t *testing.T) {
	d, w := newDNS(t), newWire()
	for _, label := range []string{"contoso", "secretsmanager", "vault"} {
		d.name(label, always("20.1.2.3"))
	}
	g, err := dialguard.New(&dialguard.Options{Dialer: &net.Dialer{Resolver: d.resolver(), ControlContext: w.control}})
	if err != nil {
		t.Fatal(err)
	}
	zones := map[string]string{
		"azurekeyvault":     "the private DNS zone privatelink.vaultcore.azure.net is not linked to this network",
		"awssecretsmanager": "it has no private endpoint, or the private DNS zone of that is not linked to this network",
		"hashivault":        "it has no private endpoint, or the private DNS zone of that is not linked to this network",
	}
	for name, src := range stores(t, g) {
		t.Run(name, func(t *testing.T) {
			_, err := src.Retrieve(t.Context())
			if !errors.Is(err, dialguard.ErrRefused) || !strings.Contains(err.Error(), zones[name]) {
				t.Errorf("%v (ErrRefused: %v)", err, errors.Is(err, dialguard.ErrRefused))
			}
		})
	}
	if seen := w.take(); len(seen) > 0 {
		t.Errorf("dialed %v", seen)
	}
	for _, label := range []string{"contoso", "secretsmanager", "vault"} {
		if n := d.lookups(label); n != 1 {
			t.Errorf("%s was looked up %d times: what is refused is not tried again", label, n)
		}
	}
}
