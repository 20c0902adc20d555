package awsbedrock

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssdk"
	"github.com/latchkey-go/latchkey/internal/awssecret"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

// MaxLifetime is the longest life that Bedrock gives a token.
const MaxLifetime = 12 * time.Hour

// Options configures a [Source]. The zero value and nil are ready to use: the
// region and the AWS credentials are those of the environment.
type Options struct {
	// Region is the region of the endpoint, for example "eu-west-1". The empty
	// string is the one that is configured: AWS_REGION, or the profile's.
	Region string
	// Lifetime is how long a token is good, if its AWS credentials are as long.
	// 0 is MaxLifetime; more than that and less than a minute is refused.
	Lifetime time.Duration
	// Credentials are what tokens are made of. Nil is the SDK's default
	// configuration. It must be safe for concurrent use; it is asked for each
	// token, and Renew has an [*aws.CredentialsCache] forget what it holds. It
	// needs Region.
	Credentials aws.CredentialsProvider
	// Transport carries requests for AWS credentials. Nil is a private
	// transport. Redirects are refused with any transport. It excludes
	// Credentials.
	Transport http.RoundTripper
}

// A Source makes tokens. Under a [credential.Cache] it makes one in 12 hours, or
// in the life of the AWS credentials. A Source is safe for concurrent use and
// immutable.
type Source struct {
	label, region string
	lifetime      time.Duration
	setup         *awssdk.Setup[provider]
}

// A provider is where AWS credentials come from, beside the SDK's own check.
type provider struct {
	// retrieve is nil if Setup has them.
	retrieve func(context.Context) (aws.Credentials, error)
	forget   func()
}

var _ credential.Renewer = (*Source)(nil)

const name = "awsbedrock"

// New returns a Source. It does no I/O. It fails if an option is malformed or
// out of range, or if they contradict each other.
func New(opts *Options) (*Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	s := &Source{label: name, region: opts.Region, lifetime: opts.Lifetime}
	if s.lifetime == 0 {
		s.lifetime = MaxLifetime
	}
	if s.lifetime < time.Minute || s.lifetime > MaxLifetime {
		return nil, fmt.Errorf("awsbedrock: Lifetime is %v: want 1 minute to %v", opts.Lifetime, MaxLifetime)
	}
	if s.region != "" {
		if err := awssecret.CheckRegion(s.region); err != nil {
			return nil, fmt.Errorf("awsbedrock: Region is malformed: %w", err)
		}
		s.label += ":" + s.region
	}
	own := opts.Credentials
	switch {
	case own == nil:
		s.setup = awssdk.New(s.region, leaf.HTTP{Transport: opts.Transport}, func(cfg aws.Config) provider {
			return provider{forget: forgetting(cfg.Credentials)}
		})
		return s, nil
	case s.region == "":
		return nil, errors.New("awsbedrock: Credentials come without a region: set Region")
	case opts.Transport != nil:
		return nil, errors.New("awsbedrock: a Transport has no effect on Credentials; give it to their provider")
	}
	s.setup = awssdk.Given(s.region, provider{retrieve: own.Retrieve, forget: forgetting(own)})
	return s, nil
}

// forgetting returns what makes p fetch its credentials anew, if p keeps them.
func forgetting(p aws.CredentialsProvider) func() {
	if kept, ok := p.(*aws.CredentialsCache); ok && kept != nil {
		return kept.Invalidate
	}
	return func() {}
}

// Retrieve makes a token. Expires is its end, which Version is as well.
//
// Its errors are [*credential.SourceError]s that wrap
//
//   - [credential.ErrUnavailable] if nothing here says which AWS account to
//     use: no region and no credentials in the environment or a profile, and no
//     instance role;
//   - a smithy.APIError with the code of AWS, and a text of our own, if a service of
//     AWS refuses to give credentials.
//
// Transient is set for what may pass: throttling, errors inside AWS, broken
// connections, and credentials that have expired. A done ctx is its cause.
func (s *Source) Retrieve(ctx context.Context) (credential.Value, error) {
	if s == nil || s.setup == nil {
		return credential.Value{}, &credential.SourceError{Source: name, Op: "make a token", Err: errors.New("the zero Source has no credentials"), Hint: "make one with New"}
	}
	if ctx.Err() != nil {
		return credential.Value{}, context.Cause(ctx)
	}
	what := &awssdk.Attempt{Source: s.label, Op: "make a token", Service: "Bedrock", Endpoint: "bedrock", Region: s.region, InOp: true,
		NoRegion: "set Region, AWS_REGION, or region in the profile; Lambda sets AWS_REGION"}
	a, err := s.setup.Load(ctx)
	if err != nil {
		return credential.Value{}, what.Configuration(ctx, err)
	}
	retrieve := a.Identify
	if own := a.API.retrieve; own != nil {
		retrieve = func(ctx context.Context) (aws.Credentials, error) { return leaf.Detached(ctx, own) }
	}
	keys, err := retrieve(ctx)
	if err != nil {
		what.Session = a.Session
		return credential.Value{}, what.Identity(ctx, err)
	}
	now := time.Now()
	switch {
	case !keys.HasKeys():
		return credential.Value{}, what.Fail(errors.New("the AWS credentials have no key"), "check the provider in Options.Credentials")
	case keys.CanExpire && !keys.Expires.After(now):
		return credential.Value{}, what.Passing(errors.New("the AWS credentials have expired"), "log in again, for example with `aws sso login`; in AWS the platform renews them")
	}
	text, end, err := sign(ctx, keys, a.Region, now, s.lifetime)
	if err != nil {
		return credential.Value{}, what.Fail(errors.New("the token could not be signed"), "check the AWS credentials with `aws sts get-caller-identity`")
	}
	return credential.Value{
		Secret: credential.NewSecret(text), Scheme: credential.BearerToken, Source: s.label,
		Expires: end, Version: end.UTC().Format(time.RFC3339),
	}, nil
}

// Renew makes a token of AWS credentials that are fetched anew, if their provider
// can do that: those that the rejected token was made of may have been revoked.
func (s *Source) Renew(ctx context.Context, _ credential.Rejection) (credential.Value, error) {
	if s != nil && s.setup != nil && ctx.Err() == nil {
		if a, err := s.setup.Load(ctx); err == nil {
			a.API.forget()
		}
	}
	return s.Retrieve(ctx)
}

// String names the package and the region in Options.
func (s *Source) String() string {
	if s == nil || s.label == "" {
		return name
	}
	return s.label
}
