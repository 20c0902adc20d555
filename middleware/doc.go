// Package middleware holds the layers of an HTTP transport that calls OpenAI
// or Azure OpenAI: each wraps an [http.RoundTripper].
//
//	Replay -> Retry -> Auth -> Log -> StreamGuard -> base transport
//
// Outermost first: [Replay] makes a body rewindable once. [Retry] owns the
// number of sends. [Auth] checks the origin, puts the credential on a copy of
// the request, and on a 401 replaces the credential and sends again. [Log]
// writes one record per send, without a body, a query or a credential.
// [StreamGuard] makes an error of a stream that was cut.
//
// Most users will use package client, which puts them together around a
// transport of its own. Use this package to build another order, or to put
// one layer under an HTTP client that exists already.
//
// Every layer keeps the contract of http.RoundTripper and is safe for
// concurrent use. None starts a goroutine that outlives a call.
package middleware
