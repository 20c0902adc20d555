package credential

import (
	"time"

	"github.com/latchkey-go/latchkey/internal/hidden"
)

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

// A Value is a credential and what is known about it. Everything in it except
// Secret may be logged. A Value cannot be compared with ==; compare secrets with
// [Secret.Equal].
type Value struct {
	// Secret is the key or token.
	Secret Secret
	// Scheme is APIKey or BearerToken.
	Scheme Scheme
	// Expires is when the credential stops being valid; zero if it does not
	// expire. A Cache never serves a value past it.
	Expires time.Time
	// RefreshAfter is when to fetch a newer credential although this one is
	// still good, as the issuer recommends; zero if it does not.
	RefreshAfter time.Time
	// Version is the store's name for this version of the secret. It is for
	// display and audit; values with different versions may be the same. A
	// [Cache] drops one of more than 128 bytes, and one that holds the secret.
	Version string
	// Source is the name of the source that the value came from, for example
	// "awssecretsmanager:prod/openai" or "env:OPENAI_API_KEY". Errors and events
	// use the same name.
	Source string
	// Fixed tells that the source gives the same credential for as long as the
	// process runs: a constant, an environment variable, a pinned version. When
	// a service rejects it, the [Cache] reads once and does not wait for
	// another one.
	Fixed bool
	// Tenant is whose credential it is, if it comes from [Tenants].
	Tenant string

	// ref is the entry of the Cache that the value is from.
	ref hidden.Value[*entry]
}
