// Package clienttest is an OpenAI-compatible service for tests: its keys
// rotate, it fails on demand, and it answers each prompt with "echo: " and the
// prompt, so that a test can tell whose answer it got.
//
// [NewServer] and [NewTLSServer] listen on a loopback port. A [Service] alone
// is an [http.Handler] and an [http.RoundTripper]: a test that needs no network
// sends its calls through memory, a few microseconds each.
//
//	srv := clienttest.NewServer("sk-test-1")
//	defer srv.Close()
//	// Point the program under test at srv.URL, then:
//	srv.Rotate("sk-test-2")                                         // only the new key is accepted
//	srv.Inject(clienttest.RateLimited.Fault())                      // the next request gets a 429
//	srv.Inject(clienttest.Fault{CutAfter: 3, Path: "/completions"}) // a stream that ends early
//
// docs/testing.md tests a program with keys that rotate, in fake time, and says why
// such a test should set credential.CacheOptions.Grace.
//
// # Routes
//
// POST chat/completions, responses and completions (JSON, or server-sent events
// with "stream": true), POST embeddings, GET models and models/{id}, POST files
// and GET files/{id}, and a WebSocket at realtime that echoes its messages.
// They are below /v1/; for the other flavors also below /openai/v1/, and with
// an api-version in the query below /openai/ and /openai/deployments/{name}/.
// GET and HEAD of a root answer without a key. Times in answers are constant
// and ids count up. A request body may have 32 MiB.
//
// The package depends on the standard library only, and a program other than a
// test may use it. It compares keys in variable time: never serve it to others.
package clienttest
