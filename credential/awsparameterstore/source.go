package awsparameterstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssecret"
)

// A Client is what a Source needs of an [*ssm.Client]. It must be safe for
// concurrent use. For Options.ExpiryPolicy it needs the SDK's
// DescribeParameters as well.
type Client interface {
	// GetParameter reads one version of a parameter.
	GetParameter(ctx context.Context, in *ssm.GetParameterInput, opts ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
}

// Options configures a [Source]. The zero value and nil are ready to use: the
// whole text of the latest version is the key.
type Options struct {
	// Client reads the parameter. Nil is a private client, from the SDK's
	// default configuration. The log of requests and answers of an *ssm.Client
	// is off for our reads: it shows secrets.
	Client Client
	// Field takes the key out of a parameter that is a JSON document: the name
	// of a member, or a JSON pointer (RFC 6901) such as "/openai/apiKey". The
	// empty string is the whole parameter.
	Field string
	// StandbyField is the field of a second key for the same service, in the
	// same version of the parameter. When the service rejects the key of Field,
	// this one is next, out of the document that was just read. It needs Field.
	StandbyField string
	// Stage is the label of the version to read; the empty string is the latest
	// version, labeled or not.
	Stage string
	// StandbyStage is the label of a version that holds a second key. When the
	// service rejects the first (and what StandbyField has, if given), Field of
	// this version is next, with a read of its own.
	StandbyStage string
	// Version pins one version: "1", "2" and so on. When the service rejects its
	// key, the error says so, for there is nothing to read again. It excludes
	// Stage.
	Version string
	// Scheme is what kind of credential the parameter is. Zero is an API key.
	Scheme credential.Scheme
	// Transport carries the requests, those for AWS credentials included. Nil is
	// a private transport. Redirects are refused with any transport. It excludes
	// Client.
	Transport http.RoundTripper
	// PlainHTTP allows http to addresses other than loopback, where others on
	// the network can read the session token and the parameter.
	PlainHTTP bool
	// ExpiryPolicy makes the time in the parameter's policy of expiration the
	// Expires of the value. It costs one DescribeParameters for each read, and
	// the permission to call it, which AWS gives for all parameters or none.
	// The policy is one of the latest version: another one that Stage or Version
	// chooses does not expire.
	ExpiryPolicy bool
}

// A Source reads one parameter. Under a [credential.Cache] it is read once per
// TTL and on a rejection. A Source is safe for concurrent use and immutable.
type Source struct{ key *awssecret.Source }

var (
	_ credential.Renewer = (*Source)(nil)
	_ Client             = (*ssm.Client)(nil)
	_ describer          = (*ssm.Client)(nil)
)

const name = "awsparameterstore"

// New returns a Source of the parameter with that name or ARN; an ARN also says
// which region to ask. It does no I/O. It fails if parameter cannot be one, or
// the options are malformed or contradict each other.
func New(parameter string, opts *Options) (*Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	if sdk, ok := opts.Client.(*ssm.Client); ok && sdk == nil {
		return nil, errors.New("awsparameterstore: Client is a nil *ssm.Client: leave it out for one from the default configuration")
	}
	if opts.Client != nil && opts.Transport != nil {
		return nil, errors.New("awsparameterstore: a Transport has no effect on a Client; give it to that")
	}
	if _, ok := opts.Client.(describer); opts.ExpiryPolicy && opts.Client != nil && !ok {
		return nil, errors.New("awsparameterstore: ExpiryPolicy needs a Client that has DescribeParameters, too")
	}
	ref := awssecret.Ref{
		ID: parameter, Parameter: true, Field: opts.Field, StandbyField: opts.StandbyField, StandbyStage: opts.StandbyStage,
		Stage: opts.Stage, Version: opts.Version, Scheme: opts.Scheme,
	}
	region, err := ref.Check()
	if err != nil {
		return nil, fmt.Errorf("awsparameterstore: %w", err)
	}
	return &Source{awssecret.New(name, ref, false, newStore(parameter, region, opts).read)}, nil
}

// Retrieve reads the parameter with one GetParameter, and with
// Options.ExpiryPolicy one DescribeParameters. Version is the number that AWS gives it.
//
// Its errors are [*credential.SourceError]s that wrap
//
//   - [credential.ErrUnavailable] if nothing here says which AWS account to
//     ask: no region and no credentials in the environment or a profile, and
//     no instance role;
//   - [credential.ErrNotFound] if there is no such parameter, version, label or
//     field;
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

// Renew reads the parameter again, as Retrieve does. If Version pins a version,
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

// String names the parameter.
func (s *Source) String() string {
	if s == nil || s.key == nil {
		return name
	}
	return s.key.String()
}
