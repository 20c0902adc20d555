package credential

import "time"

// A Scheme tells what kind of credential a [Value] holds. It decides how the
// credential is put on a request.
type Scheme uint8

const (
	// APIKey is a long-lived key. OpenAI takes it as a bearer token in
	// Authorization, Azure OpenAI in the header api-key. It is the zero Scheme.
	APIKey Scheme = iota
	// BearerToken is a token that an identity provider issued (RFC 6750). It
	// always goes into Authorization.
	BearerToken
)

// String returns "api key" or "bearer token".
func (s Scheme) String() string {
	switch s {
	case APIKey:
		return "api key"
	case BearerToken:
		return "bearer token"
	default:
		return "unknown scheme"
	}
}

// A Value is a credential and what is known about it. All of it but Secret
// may be logged. A Value is not comparable with ==: compare secrets with
// [Secret.Equal].
type Value struct {
	// Secret is the key or token.
	Secret Secret
	// Scheme is APIKey or BearerToken.
	Scheme Scheme
	// Expires is when the credential stops being valid; zero if it does not
	// expire. A Cache never serves a value past it.
	Expires time.Time
	// RefreshAfter is the issuer's hint from when on a newer credential
	// should be fetched, while this one is still good; zero if it has none.
	RefreshAfter time.Time
	// Version is the store's name for this version of the secret. It is for
	// display and audit and never decides whether two values are the same.
	Version string
	// Source names where the value came from, for example
	// "awssecretsmanager" or "env:OPENAI_API_KEY".
	Source string

	// ref is the cache entry that the value was served from: a func, so that
	// no printer by reflection walks into the source.
	ref func() *entry
}
