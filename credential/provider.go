package credential

import "context"

// A Provider supplies the credential of each send, and learns what became of
// it. [*Cache] is one. Its methods are safe for concurrent use.
type Provider interface {
	// Retrieve returns the credential to send; see [Cache.Retrieve].
	Retrieve(ctx context.Context) (Value, error)
	// Replace returns the credential to send in place of one that the service
	// has refused; see [Cache.Replace].
	Replace(ctx context.Context, rejected Rejection) (Value, error)
	// Accept says that the service has taken v; see [Cache.Accept].
	Accept(v Value)
}

var _ Provider = (*Cache)(nil)
