// Package telemetry exports what happens to calls, sends, credentials, endpoints
// and limits by OpenTelemetry: a span for each call, and metrics. It follows the
// semantic conventions for generative AI, version 1.41.0, and adds names of its
// own that begin with "latchkey.".
//
// It uses the API of OpenTelemetry alone. The program brings the SDK, and without
// one nothing is recorded. These lines connect it:
//
//	t, err := telemetry.New(nil) // the providers that package otel has
//	c, err := client.New(client.Config{
//		Middleware: []middleware.Middleware{t.Middleware()},
//		Observe:    t.Observe,
//		ObserveIf:  t.Enabled,
//		OnRoute:    t.OnRoute,
//		Cache:      &credential.CacheOptions{OnEvent: t.OnEvent},
//	})
//
// and limit.Options{OnEvent: t.OnLimit} where there are limits. Each works without
// the others.
//
// A span has an event for each send, so that retries, replays with another
// credential and other endpoints are seen in one place. It ends when the body of
// the answer has ended or was closed.
//
// Nothing of a prompt or an answer is exported unless [Options].Content says so,
// and no credential, no query of a URL and no text of an error at all. Names of
// models come from requests and answers: they are checked and counted, and beyond
// the first 100 they are "other".
//
// docs/telemetry.md has all names, and when each of them is exported.
package telemetry
