// Package middleware holds the layers of an HTTP transport that calls OpenAI
// or Azure OpenAI: each wraps an [http.RoundTripper].
//
//	Replay -> Retry -> Auth -> Observe -> Log -> StreamGuard -> base transport
//
// Outermost first: [Replay] begins a call and keeps its body while it is sent.
// [Retry] owns the sends: what is worth another one, how long to wait, and the
// pace of a service that throttles. [Auth] checks the origin, puts the
// credential on a copy of the request, and on a 401 replaces the credential and
// sends again. [Observe] tells a function of each send, and [Log] writes one
// record of it, without a body, a query or a credential. [StreamGuard] makes an
// error of a stream that was cut.
//
// # Sends
//
// A call is what the caller makes, a send is one request on the wire. All sends
// of a call are counted together, and each has one record, the [Send], which
// lives in the context of its request. Observe and Log are told of it; a layer
// or a transport below Auth finds it with [SendFrom]. No layer looks for
// another one: a layer of your own between any two of them changes nothing of
// what they do.
//
// Most users will use package client, which puts the layers together around a
// transport of its own. Use this package to build another order, or to put one
// layer under an HTTP client that exists already.
//
// Every layer keeps the contract of http.RoundTripper and is safe for
// concurrent use. None starts a goroutine that outlives a call.
package middleware
