package awssecretsmanager_test

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
)

// A program leaves Client out: the SDK's default configuration supplies it.
func ExampleNew() {
	src, err := awssecretsmanager.New("prod/openai", &awssecretsmanager.Options{
		Client:       vault{},
		Field:        "apiKey",
		StandbyStage: "AWSPENDING",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := src.Retrieve(context.Background())
	fmt.Println(v.Secret, v.Version, err)
	fmt.Println(src.Standby())
	// Output:
	// [redacted] 7f1c <nil>
	// awssecretsmanager:prod/openai@AWSPENDING
}

// vault is a Client for tests.
type vault struct{}

func (vault) GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	return &secretsmanager.GetSecretValueOutput{
		SecretString: aws.String(`{"apiKey": "sk-CANARY-example"}`),
		VersionId:    aws.String("7f1c"),
	}, nil
}
