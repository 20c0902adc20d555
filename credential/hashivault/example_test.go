package hashivault_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
)

// exampleVault stands for the server: it logs everyone in and has one secret.
func exampleVault() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); path {
		case "auth/approle/login":
			fmt.Fprint(w, `{"auth":{"client_token":"hvs.CANARY","lease_duration":3600,"renewable":true}}`)
		case "secret/data/openai":
			fmt.Fprint(w, `{"data":{"data":{"key":"sk-CANARY","next":"sk-CANARY-2"},"metadata":{"version":7}}}`)
		default:
			fmt.Fprint(w, `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`)
		}
	}))
}

func Example() {
	server := exampleVault()
	defer server.Close()
	cfg := api.DefaultConfig() // reads the VAULT_* variables
	cfg.Address = server.URL   // which would say this: VAULT_ADDR
	vault, err := api.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	src, err := hashivault.New("secret/openai", &hashivault.Options{
		Client: vault,
		Field:  "key",
		// The other key of the same service, for the time between.
		StandbyField: "next",
		Auth: &hashivault.AppRole{
			RoleID:   "7a0f5c1e-2f6b-4d0e-9d3a-5f1c2b3a4d5e",
			SecretID: credential.NewSecret("CANARY-secret-id"), // or SecretIDFile
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	// Most programs hand src to package client, which does this.
	cache, err := credential.NewCache(src, nil)
	if err != nil {
		log.Fatal(err)
	}
	v, err := cache.Retrieve(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(v.Source, "version", v.Version, v.Secret)
	// Output: hashivault:secret/openai version 7 [redacted]
}

func ExampleKubernetes() {
	src, err := hashivault.New("secret/openai", &hashivault.Options{
		Field: "key",
		Auth:  &hashivault.Kubernetes{Role: "openai-reader"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(src)
	// Output: hashivault:secret/openai
}
