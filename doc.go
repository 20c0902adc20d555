// Package latchkey is the overview of a library that puts OpenAI and Azure
// OpenAI calls behind a chain of credential sources. No key is in the code, and
// a key that is rotated is picked up without a restart. The call during which it
// was rotated does not fail.
//
//	src, err := awssecretsmanager.New("prod/openai", nil) // or any other source
//	c, err := client.New(client.Config{Source: src})
//	oai := openai.NewClient(c.Options()...)               // the official SDK, unchanged
//
// This package holds no code. The parts:
//
//   - credential: what a source is, the chain of sources, and the cache that
//     reads once, refreshes ahead of time, bridges outages and replaces what a
//     service has refused. Its subpackages are the sources, one SDK each, and
//     credential/auto, which chooses among them by the environment.
//   - client: calls with such a credential, by the official SDK, by any other
//     HTTP client, or without an SDK; to one endpoint or several.
//   - middleware: the layers of the HTTP transport that client puts together.
//     Its subpackages are ceilings (limit, redislimit) and OpenTelemetry
//     (telemetry).
//   - rotation: makes the next key and revokes the old one. Its subpackages are
//     the issuers of keys and the stores that keep them.
//   - audit: what happened to credentials, as records that nobody can edit
//     unnoticed. audit/anomaly raises alarms.
//   - dialguard: connections to private networks only.
//   - client/clienttest and credential/credentialtest: a service and a store for
//     the tests of your own program.
//
// Imports run one way: client, middleware, credential. A program links only
// the SDKs of the sources that it imports.
//
// # Promises
//
//	P1   A call never fails because a key was rotated, at most one rotation per
//	     call, if the store has the new key or gets it within the grace (5 s).
//	     A body of more than 1 MiB that cannot be rewound is not sent again.
//	P2   One rotation costs one store read per process, plus the polls of the grace.
//	P3   A key that is simply wrong costs the store one read per cool-down, and
//	     each call at most two sends, then one.
//	P4   A caller returns within its own deadline.
//	P5   A store outage does not fail calls while the last good credential is
//	     accepted and not expired; one hour by default.
//	P6   Nothing that latchkey produces contains a secret.
//	P7   A credential goes only to the origin that it was configured for.
//	P8   A billable request is sent at most 1 + MaxRetries times.
//	P9   A program links only the SDKs of the sources that it imports.
//	P10  Time is wall time: a process that was frozen notices.
//	P11  A call that succeeds through openai-go, go-openai or net/http alone
//	     succeeds through latchkey with its defaults, with no more sends and no
//	     longer wait. docs/parity.md lists the exceptions, each with its reason.
//	P12  Credentials never change account in silence: a source that is configured
//	     and does not answer is an error, never a reason to use the next one.
//	P13  A ceiling for requests, tokens or money is never passed by what is
//	     counted; docs/limits.md says what is not.
//	P14  A rotation can be killed anywhere and run again, and ends with one
//	     working current key and none lost.
//
// docs/promises.md names the tests that hold each of them.
package latchkey
