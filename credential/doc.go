// Package credential supplies the key or token for a service from wherever it
// is kept, and replaces it when the service rejects it.
//
// A [Source] supplies a [Value]: a [Secret] and what is known about it. [Env],
// [File] and [Static] are here. The stores and identity providers are packages
// below this one, so that a program links only what it imports. A [Chain] is a
// list of sources, of which the first available one is used. [Standby] names a
// second credential for the same service.
//
// One [Cache] goes around the whole. Its Retrieve is an atomic load while the
// value is fresh. Its Replace turns a rejection into the next value, with one
// read for all calls. [Tenants] keeps one Cache for each tenant of a service.
//
//	src := credential.Env("OPENAI_API_KEY")
//	cache, err := credential.NewCache(src, nil)
//
// Most users hand the Source to package client, which does this and the rest.
//
// # Glossary
//
// These words have one meaning in all packages of latchkey.
//
//   - A call is what the user made: one request of the program.
//   - A send is one request on the wire. A call has one send or more.
//   - A retry is another send to the same endpoint, some time later.
//   - A replay is another send after a refusal, with another credential.
//   - A failover is another send, to another endpoint.
//   - A rotation replaces a credential by a new one at the service and in the
//     store, in either order.
//   - A value is rejected when the service has refused a send because of it, and
//     has accepted no later send of it.
//   - A value is accepted when the service has given an answer that does not
//     refuse it: a success, or an error of the request.
//   - The reader is the part of a Cache that reads the source. It does so for
//     all calls at once.
//   - The grace is how long after a rejection the reader looks for another value.
//   - The cool-down is the time after a failure in which it is not tried again.
//   - A standby is a second source of a credential for the same service, used
//     when the first one's is rejected.
package credential
