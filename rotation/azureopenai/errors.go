package azureopenai

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// policyWithoutRetries is for a request that must not be sent twice: each makes another
// key.
func policyWithoutRetries(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
}

// refused says what to do about an answer of Resource Manager.
func refused(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("the answer is %d: the identity needs listKeys/action and regenerateKey/action on the resource", resp.StatusCode)
	case http.StatusNotFound:
		return errors.New("the answer is 404: no such subscription, group or resource")
	}
	return fmt.Errorf("the answer is %d", resp.StatusCode)
}
