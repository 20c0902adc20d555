// Package awstest has what tests of the AWS parts talk to: a Secrets Manager
// that speaks AWS JSON 1.1 and checks signatures, the Lambda extension for
// secrets, and the Lambda Runtime API. Each is an [net/http.Handler]; the
// Secrets Manager is an [net/http.RoundTripper] as well, for tests inside of a
// testing/synctest bubble.
package awstest
