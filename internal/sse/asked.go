package sse

import "context"

type askedKey struct{}

// WithAsked returns a context for a request that asks for a stream in a way
// that its header does not show.
func WithAsked(ctx context.Context) context.Context {
	return context.WithValue(ctx, askedKey{}, true)
}

// Asked reports whether ctx is one of WithAsked.
func Asked(ctx context.Context) bool {
	asked, _ := ctx.Value(askedKey{}).(bool)
	return asked
}
