// Package middleware holds the layers of an HTTP transport that calls OpenAI
// or Azure OpenAI: each wraps an [http.RoundTripper].
//
//	Replay -> Retry -> Failover -> HoldBack -> IncludeUsage -> Auth ->
//	Observe -> Log -> Limit -> StreamGuard -> base transport
//
// Outermost first; leave out what you do not need:
//
//   - [Replay] begins a call and keeps its body while it is sent.
//   - [Retry] owns the sends: what is worth another one, how long to wait, and
//     the pace of a service that throttles.
//   - [Failover] chooses one of several endpoints. What stands below it as far as
//     Auth is there once for each endpoint, in its [Route].
//   - [HoldBack] keeps a stream from the caller until it has content, so that one
//     that fails before can still be sent again.
//   - [IncludeUsage] asks for the usage of a stream.
//   - [Auth] checks the origin, puts the credential on a copy of the request, and
//     on a 401 replaces the credential and sends again.
//   - [Observe] tells a function of each send.
//   - [Log] writes one record of each send, without a body, a query or a
//     credential.
//   - [Limit] refuses a send that would pass a ceiling.
//   - [StreamGuard] makes an error of a stream that was cut.
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
