package awsbedrock_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/latchkey-go/latchkey/credential/awsbedrock"
)

// A program leaves Credentials out: the SDK's default configuration supplies
// them.
func ExampleNew() {
	src, err := awsbedrock.New(&awsbedrock.Options{
		Region:      "eu-west-1",
		Lifetime:    time.Hour,
		Credentials: credentials.NewStaticCredentialsProvider("AKIACANARY", "CANARY", ""),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := src.Retrieve(context.Background())
	fmt.Println(v.Secret, v.Scheme, v.Source, err)
	fmt.Println(strings.HasPrefix(v.Secret.Reveal(), "bedrock-api-key-"), time.Until(v.Expires) > 58*time.Minute)
	// Output:
	// [redacted] bearer token awsbedrock:eu-west-1 <nil>
	// true true
}
