package awsparameterstore_test

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
)

// A program leaves Client out: the SDK's default configuration supplies it.
func ExampleNew() {
	src, err := awsparameterstore.New("/prod/openai", &awsparameterstore.Options{
		Client:       store{},
		Stage:        "live",
		StandbyStage: "next",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := src.Retrieve(context.Background())
	fmt.Println(v.Secret, v.Version, err)
	fmt.Println(src.Standby())
	// Output:
	// [redacted] 3 <nil>
	// awsparameterstore:/prod/openai@next
}

// store is a Client for tests.
type store struct{}

func (store) GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	return &ssm.GetParameterOutput{Parameter: &types.Parameter{
		Value: aws.String("sk-CANARY-example"), Version: 3,
	}}, nil
}
