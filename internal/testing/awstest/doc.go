// Package awstest has what tests of the AWS parts talk to: a Secrets Manager and
// a Parameter Store that speak AWS JSON 1.1 and check signatures, the Lambda
// extension for both, and the Lambda Runtime API. Each is an
// [net/http.Handler]; the two stores are [net/http.RoundTripper]s as well, for
// tests inside of a testing/synctest bubble.
package awstest
