package awsextension

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssecret"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

const (
	// DefaultPort is where the extension and the agent listen if
	// PARAMETERS_SECRETS_EXTENSION_HTTP_PORT does not name another port.
	DefaultPort = 2773
	// DefaultTokenFile is where the agent's installer puts the token.
	DefaultTokenFile = "/var/run/awssmatoken" //nolint:gosec // a path, not a token
)

const (
	name = "awsextension"
	// recheck is how often a key in use is read again: it costs a request on
	// the loopback device, and the extension's cache adds its own TTL to it.
	recheck = time.Minute
)

// Options configures a [Source]. The zero value and nil are ready to use: the
// whole text of the current version is the key.
type Options struct {
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
	// Stage is the stage to read; the empty string is "AWSCURRENT". For a
	// parameter both are labels.
	Stage string
	// Version pins one version. When the service rejects its key, the error
	// says so, for there is nothing to read again. It excludes Stage.
	Version string
	// Scheme is what kind of credential the secret is. Zero is an API key.
	Scheme credential.Scheme
	// TokenFile is a file with the token for the agent. The empty string is
	// what AWS documents: the first of AWS_TOKEN (a token, or file:// and a
	// path), AWS_SESSION_TOKEN and AWS_CONTAINER_AUTHORIZATION_TOKEN that is
	// set, else DefaultTokenFile.
	TokenFile string
	// Transport carries the requests. Nil is a private transport that dials
	// loopback addresses only. Redirects are refused with any transport.
	Transport http.RoundTripper
}

// A Source reads one secret or parameter. Under a [credential.Cache] it is read once a
// minute of use and on a rejection. A Source is safe for concurrent use and
// immutable.
type Source struct{ key *awssecret.Source }

var _ credential.Renewer = (*Source)(nil)

// New returns a Source of the secret with that name or ARN. It does no I/O. It
// fails if secretID cannot be one, or the options are malformed or contradict
// each other.
func New(secretID string, opts *Options) (*Source, error) {
	return newSource(secretID, false, opts)
}

// NewParameter returns a Source of the parameter with that name or ARN in the
// Parameter Store of AWS Systems Manager, a SecureString included. Stage and
// StandbyStage are labels; Version is a number, and without both the latest
// version is read. The role needs ssm:GetParameter. The agent has no parameters.
//
// It does no I/O. It fails if parameter cannot be one, or the options are
// malformed or contradict each other.
func NewParameter(parameter string, opts *Options) (*Source, error) {
	return newSource(parameter, true, opts)
}

func newSource(id string, parameter bool, opts *Options) (*Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	ref := awssecret.Ref{
		ID: id, Parameter: parameter, Field: opts.Field, StandbyField: opts.StandbyField, StandbyStage: opts.StandbyStage,
		Stage: opts.Stage, Version: opts.Version, Scheme: opts.Scheme,
	}
	if _, err := ref.Check(); err != nil {
		return nil, fmt.Errorf("awsextension: %w", err)
	}
	// Without TLS the client reaches this machine only, and no proxy.
	r := &reader{id: id, parameter: parameter, tokenFile: opts.TokenFile, do: leaf.HTTP{Transport: opts.Transport}.Client().Do}
	return &Source{awssecret.New(name, ref, true, r.read)}, nil
}

// Retrieve reads the secret or the parameter. Version is the VersionId of the
// secret, or the number of the version of the parameter.
//
// Its errors are [*credential.SourceError]s that wrap
//
//   - [credential.ErrUnavailable] if there is no token or, outside of Lambda,
//     nothing listens: no extension and no agent run here;
//   - [credential.ErrNotFound] if there is no such secret or parameter, version,
//     stage, label or field, or the secret is marked for deletion.
//
// Transient is set for throttling, errors of AWS and of the extension, an
// extension that is not ready, and broken connections. Retrieve tries again
// until ctx is done while the extension is not ready. A done ctx is its cause.
func (s *Source) Retrieve(ctx context.Context) (credential.Value, error) {
	if s == nil || s.key == nil {
		return credential.Value{}, awssecret.Zero(name)
	}
	return soon(s.key.Retrieve(ctx))
}

// Renew reads the secret again, past the cache of the extension. If Version
// pins a version, it fails without a read: the version cannot change.
func (s *Source) Renew(ctx context.Context, r credential.Rejection) (credential.Value, error) {
	if s == nil || s.key == nil {
		return credential.Value{}, awssecret.Zero(name)
	}
	return soon(s.key.Renew(ctx, r))
}

func soon(v credential.Value, err error) (credential.Value, error) {
	if err == nil {
		v.RefreshAfter = time.Now().Add(recheck)
	}
	return v, err
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
