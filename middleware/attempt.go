package middleware

import (
	"context"
	"net/http"

	"github.com/latchkey-go/latchkey/credential"
)

// An attempt is what the layers inside Auth know of one send. It lives in
// the same allocation as the outgoing request.
type attempt struct {
	value  credential.Value // what was sent; zero without Auth
	number int              // 1 for the first send that Retry made
	reason string           // why it is not the first: "retry 429", "replay 401"; empty for the first
}

// An attemptTripper is a layer that takes the attempt straight from Auth. A
// context value would do the same for two more allocations per call.
type attemptTripper interface {
	http.RoundTripper
	roundTripAttempt(req *http.Request, a *attempt) (*http.Response, error)
}

type retryKey struct{}

type retryInfo struct {
	number int
	reason string
}

// withRetry marks a resend; a first send carries no mark and costs nothing.
func withRetry(ctx context.Context, number int, reason string) context.Context {
	return context.WithValue(ctx, retryKey{}, retryInfo{number, reason})
}

// retryFrom returns the number of this send, from 1, and why it is a resend.
func retryFrom(ctx context.Context) (number int, reason string) {
	if info, ok := ctx.Value(retryKey{}).(retryInfo); ok {
		return info.number, info.reason
	}
	return 1, ""
}
