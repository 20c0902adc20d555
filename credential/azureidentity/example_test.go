package azureidentity_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
)

// constant stands for a credential of azidentity.
type constant struct{}

func (constant) GetToken(_ context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "eyJ-example", ExpiresOn: time.Date(2084, 1, 1, 0, 0, 0, 0, time.UTC)}, nil
}

// In Azure and on your own machine New(nil) is all there is. Here a credential
// of the program's own takes the environment's place.
func Example() {
	src, err := azureidentity.New(&azureidentity.Options{Credential: constant{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := src.Retrieve(context.Background()) // package client does it for you
	if errors.Is(err, credential.ErrUnavailable) {
		fmt.Println("assign an identity, or az login:", err)
		return
	}
	fmt.Println(v.Source, v.Scheme, v.Secret, v.Version)
	// Output: azureidentity bearer token [redacted] 2084-01-01T00:00:00Z
}
