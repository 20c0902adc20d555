package dialguard_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/netip"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/dialguard"
)

func Example() {
	guard, err := dialguard.New(nil) // private addresses only
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.New(client.Config{
		Source:  credential.Static(credential.NewSecret("sk-example"), credential.APIKey),
		BaseURL: "https://20.1.2.3/v1/",
		Dial:    guard,
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Post(context.Background(), "embeddings", map[string]any{"model": "m", "input": "x"}, nil)
	fmt.Println(errors.Is(err, dialguard.ErrRefused))
	// Output: true
}

// One subnet, and a proxy with an address in another.
func ExampleNew() {
	guard, err := dialguard.New(&dialguard.Options{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/24")},
		Proxies:  []netip.Prefix{netip.MustParsePrefix("10.30.0.8/32")},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(guard)
	// Output: dialguard(10.20.0.0/24)
}

// Each store gets the guarded transport, and none of the identities does.
func ExampleGuard_Transport() {
	guard, err := dialguard.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	transport, err := guard.Transport(nil)
	if err != nil {
		log.Fatal(err)
	}

	identity, err := azidentity.NewManagedIdentityCredential(nil)
	if err != nil {
		log.Fatal(err)
	}
	azure, err := azurekeyvault.New("https://contoso.vault.azure.net", "openai-key", &azurekeyvault.Options{
		Credential: identity, Transport: transport,
	})
	if err != nil {
		log.Fatal(err)
	}

	var cfg aws.Config // of config.LoadDefaultConfig, which has its own HTTP client for AWS credentials
	cfg.Region = "eu-central-1"
	amazon, err := awssecretsmanager.New("openai-key", &awssecretsmanager.Options{
		Client: secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) { o.HTTPClient = &http.Client{Transport: transport} }),
	})
	if err != nil {
		log.Fatal(err)
	}

	vault := api.DefaultConfig() // it has read VAULT_CACERT and VAULT_CLIENT_CERT
	own, ok := vault.HttpClient.Transport.(*http.Transport)
	if !ok {
		log.Fatal("another transport")
	}
	if vault.HttpClient.Transport, err = guard.Transport(own); err != nil {
		log.Fatal(err)
	}
	client, err := api.NewClient(vault)
	if err != nil {
		log.Fatal(err)
	}
	hashi, err := hashivault.New("secret/openai", &hashivault.Options{Client: client})
	if err != nil {
		log.Fatal(err)
	}
	_, _ = amazon, hashi
	fmt.Println(azure)
	// Output: azurekeyvault:contoso.vault.azure.net/openai-key
}
