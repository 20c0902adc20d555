// Package credential supplies the key or token for a service from wherever it
// is kept, and replaces it when the service rejects it.
//
// A [Source] supplies a [Value]: a [Secret] and what is known about it. [Env],
// [File] and [Static] are here; the stores and identity providers are packages
// below this one, so that a program links only what it imports. A [Chain] is a
// list of sources of which the first available one wins. [Standby] names a
// second credential for the same service.
//
// One [Cache] goes around the whole. Its Retrieve is an atomic load while the
// value is fresh; its Replace turns a rejection into the next value, with one
// read for all callers.
//
//	src := credential.Env("OPENAI_API_KEY")
//	cache, err := credential.NewCache(src, nil)
//
// Most users hand the Source to package client, which does this and the rest.
package credential
