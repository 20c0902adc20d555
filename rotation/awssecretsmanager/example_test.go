package awssecretsmanager_test

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/awssecretsmanager"
)

// The handler is the rotation function of a secret: lambda.Start(handler). The issuer
// is that of rotation/openaiadmin, for example.
func Example() {
	var issuer rotation.Issuer
	store, err := awssecretsmanager.New("prod/openai", &awssecretsmanager.Options{Field: "apiKey", ExpiryTag: "expires"})
	if err != nil {
		log.Fatal(err)
	}
	handler := func(ctx context.Context, e events.SecretsManagerSecretRotationEvent) error {
		_, err := store.Rotate(ctx, e, issuer, nil)
		return err
	}
	fmt.Println(handler(context.Background(), events.SecretsManagerSecretRotationEvent{Step: "createSecret"}))
	// Output: rotation/awssecretsmanager: rotation: no Issuer or no Store
}
