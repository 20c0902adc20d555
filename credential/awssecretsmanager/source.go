package awssecretsmanager

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssecret"
)

// A Client is what a Source needs of a [*secretsmanager.Client]. It must be
// safe for concurrent use. For Options.ExpiryTag it needs the SDK's
// DescribeSecret as well.
type Client interface {
	// GetSecretValue reads one version of a secret.
	GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, opts ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// Options configures a [Source]. The zero value and nil are ready to use: the
// whole text of the current version is the key.
type Options struct {
	// Client reads the secret. Nil is a private client, from the
	// SDK's default configuration. The log of requests and answers of a
	// *secretsmanager.Client is off for our reads: it shows secrets.
	Client Client
	// Field takes the key out of a secret that is a JSON document: the name of
	// a member, or a JSON pointer (RFC 6901) such as "/openai/apiKey". The empty
	// string is the whole secret.
	Field string
	// StandbyField is the field of a second key for the same service, in the
	// same version of the secret. When the service rejects the key of Field,
	// this one is next, out of the document that was just read. It needs Field.
	StandbyField string
	// StandbyStage is the stage of a version that holds a second key:
	// "AWSPENDING" for the next one of a rotation under way, "AWSPREVIOUS" for
	// the last one. When the service rejects what Stage has (and what
	// StandbyField has, if given), Field of this version is next, with a read of
	// its own.
	StandbyStage string
	// Stage is the stage to read; the empty string is "AWSCURRENT".
	Stage string
	// Version pins one version. When the service rejects its key, the error
	// says so, for there is nothing to read again. It excludes Stage.
	Version string
	// Scheme is what kind of credential the secret is. Zero is an API key.
	Scheme credential.Scheme
	// Transport carries the requests, those for AWS credentials included. Nil is
	// a private transport. Redirects are refused with any transport. It excludes
	// Client.
	Transport http.RoundTripper
	// ExpiryTag is the name of a tag of the secret that says when its current
	// key ends: a time as in RFC 3339, or a day. That is then the Expires of the
	// value, of which the Cache tells ahead of time; see
	// credential.CacheOptions.ExpiryWarning. It costs one DescribeSecret for each
	// read, and the permission to call it. A secret without the tag does not
	// expire, and neither does one whose time is past: whether the key still
	// works, the service knows. Other versions, which Stage, StandbyStage and
	// Version choose, and the key of StandbyField do not expire either.
	ExpiryTag string
	// PlainHTTP allows http to addresses other than loopback, where others on
	// the network can read the session token and the secret.
	PlainHTTP bool
}

// A Source reads one secret. Under a [credential.Cache] it is read once per
// TTL and on a rejection. A Source is safe for concurrent use and immutable.
type Source struct{ key *awssecret.Source }

var (
	_ credential.Renewer = (*Source)(nil)
	_ Client             = (*secretsmanager.Client)(nil)
	_ describer          = (*secretsmanager.Client)(nil)
)

const name = "awssecretsmanager"

// New returns a Source of the secret with that name or ARN; an ARN also says
// which region to ask. It does no I/O. It fails if secretID cannot be one, or
// the options are malformed or contradict each other.
func New(secretID string, opts *Options) (*Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	if sdk, ok := opts.Client.(*secretsmanager.Client); ok && sdk == nil {
		return nil, errors.New("awssecretsmanager: Client is a nil *secretsmanager.Client: leave it out for one from the default configuration")
	}
	if opts.Client != nil && opts.Transport != nil {
		return nil, errors.New("awssecretsmanager: a Transport has no effect on a Client; give it to that")
	}
	if _, ok := opts.Client.(describer); opts.ExpiryTag != "" && opts.Client != nil && !ok {
		return nil, errors.New("awssecretsmanager: ExpiryTag needs a Client that has DescribeSecret, too")
	}
	ref := awssecret.Ref{
		ID: secretID, Field: opts.Field, StandbyField: opts.StandbyField, StandbyStage: opts.StandbyStage,
		Stage: opts.Stage, Version: opts.Version, Scheme: opts.Scheme,
	}
	region, err := ref.Check()
	if err != nil {
		return nil, fmt.Errorf("awssecretsmanager: %w", err)
	}
	return &Source{awssecret.New(name, ref, false, newStore(secretID, region, opts).read)}, nil
}

// Retrieve reads the secret with one GetSecretValue, and with Options.ExpiryTag
// one DescribeSecret. Version is the VersionId.
//
// Its errors are [*credential.SourceError]s that wrap
//
//   - [credential.ErrUnavailable] if nothing here says which AWS account to
//     ask: no region and no credentials in the environment or a profile, and
//     no instance role;
//   - [credential.ErrNotFound] if there is no such secret, version, stage or
//     field, or the secret is marked for deletion;
//   - a smithy.APIError with the code of AWS, and a text of our own, for what else
//     AWS refuses: access, decryption, credentials, throttling.
//
// Transient is set for throttling, errors inside AWS, broken connections, and
// credentials that have expired. A done ctx is its cause.
func (s *Source) Retrieve(ctx context.Context) (credential.Value, error) {
	if s == nil || s.key == nil {
		return credential.Value{}, awssecret.Zero(name)
	}
	return s.key.Retrieve(ctx)
}

// Renew reads the secret again, as Retrieve does. If Version pins a version,
// it fails without a read: the version cannot change.
func (s *Source) Renew(ctx context.Context, r credential.Rejection) (credential.Value, error) {
	if s == nil || s.key == nil {
		return credential.Value{}, awssecret.Zero(name)
	}
	return s.key.Renew(ctx, r)
}

// Standby returns the Source of the second key, in StandbyField or at
// StandbyStage; nil if there is none. A [credential.Cache] finds it by itself.
func (s *Source) Standby() credential.Source {
	if s == nil || s.key == nil {
		return nil
	}
	return s.key.Standby()
}

// String names the secret.
func (s *Source) String() string {
	if s == nil || s.key == nil {
		return name
	}
	return s.key.String()
}
