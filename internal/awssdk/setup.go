// Package awssdk is what the sources that stand on the SDK of AWS have in common:
// how the SDK is configured at the first read, its HTTP client, and the errors
// of all its services.
package awssdk

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/platform"
	"github.com/latchkey-go/latchkey/internal/smallfile"
)

const (
	loadTimeout = 10 * time.Second
	// maxFile is for a bundle of certificates.
	maxFile = 1 << 20
)

// A Setup configures the SDK when it is first needed, and makes a T of it. T hides
// the credentials, as package hidden tells. A Setup is safe for concurrent use.
type Setup[T any] struct {
	region string // empty unless the configured one does not count
	via    leaf.HTTP
	make   func(aws.Config) T
	work   leaf.Group[*Ready[T]]
	ready  atomic.Pointer[Ready[T]]
}

// A Ready is what a Setup has made.
type Ready[T any] struct {
	// Region is empty if it is not known.
	Region string
	// API is what the func of New returned, or the argument of Given.
	API T
	// Session tells that the credentials come from a session that a person begins.
	Session bool

	identify func(context.Context) (aws.Credentials, error)
}

// New returns a Setup that calls make with the configuration of the
// environment. Region, if not empty, takes the place of the configured one. All
// requests, those for AWS credentials included, go as via says.
func New[T any](region string, via leaf.HTTP, make func(aws.Config) T) *Setup[T] {
	return &Setup[T]{region: region, via: via, make: make}
}

// Given returns a Setup for what the caller has configured.
func Given[T any](region string, api T) *Setup[T] {
	st := &Setup[T]{}
	st.ready.Store(&Ready[T]{Region: region, API: api})
	return st
}

// Region is the one that New or Given was called with.
func (st *Setup[T]) Region() string { return st.region }

// Identify fetches AWS credentials, if the SDK has none in its cache, so that
// their failures are told from those of the read. It does nothing for what the
// caller has configured.
func (r *Ready[T]) Identify(ctx context.Context) (aws.Credentials, error) {
	if r.identify == nil {
		return aws.Credentials{}, nil
	}
	return r.identify(ctx)
}

// Load configures the SDK once, in a goroutine that reads files for at most
// loadTimeout. A failure is not kept: somebody may be about to fix a file. A
// caller returns when ctx is done.
func (st *Setup[T]) Load(ctx context.Context) (*Ready[T], error) {
	if r := st.ready.Load(); r != nil {
		return r, nil
	}
	return st.work.Do(ctx, time.Now(), loadTimeout, func(ctx context.Context) (*Ready[T], error) { //nolint:wrapcheck // Attempt.Configuration does
		if r := st.ready.Load(); r != nil {
			return r, nil
		}
		r, err := st.configure(ctx)
		if err == nil {
			st.ready.Store(r)
		}
		return r, err
	})
}

// files are variables of files that the SDK reads without a look at what they
// are.
func files() []string {
	return []string{"AWS_CA_BUNDLE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"}
}

func (st *Setup[T]) configure(ctx context.Context) (*Ready[T], error) {
	for _, variable := range files() {
		if path := os.Getenv(variable); path != "" {
			if _, err := smallfile.Read(path, maxFile); err != nil {
				return nil, &fileError{variable, err}
			}
		}
	}
	carrier := &carrier{via: st.via}
	opts := []func(*config.LoadOptions) error{
		config.WithLogger(logging.Nop{}),
		config.WithClientLogMode(0),
		config.WithAPIOptions([]func(*middleware.Stack) error{carrier.install}),
		// For the token service, if nothing else names a region.
		config.WithDefaultRegion(st.region),
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, err //nolint:wrapcheck // Attempt.Configuration does
	}
	sources := credentialSources(cfg.Credentials)
	// Nothing names a source of credentials: the SDK asks for an instance role.
	bare := slices.Equal(sources, []aws.CredentialSource{aws.CredentialSourceIMDS})
	meant := namesRegion(cfg.ConfigSources)
	region := first(st.region, cfg.Region)
	creds := cfg.Credentials
	identify := func(ctx context.Context) (aws.Credentials, error) { return leaf.Detached(ctx, creds.Retrieve) } //nolint:wrapcheck // Attempt.Identity does
	if bare {
		i := newInstance(cfg, st.via)
		creds = i.creds()
		identify = func(ctx context.Context) (aws.Credentials, error) { return i.retrieve(ctx, meant) }
		if chance, why := i.chance(ctx); region == "" && chance != platform.Surely {
			return nil, &absence{why: first(why, "without a region none is asked for")}
		}
	}
	if region == "" {
		return nil, errNoRegion
	}
	carrier.start(cfg.HTTPClient)
	own := cfg.Copy()
	own.Region, own.Credentials = region, creds
	return &Ready[T]{
		Region:   region,
		API:      st.make(own),
		Session:  slices.ContainsFunc(sources, session),
		identify: identify,
	}, nil
}

// A fileError is a file that a variable names and that cannot be read.
type fileError struct {
	variable string
	err      error
}

func (e *fileError) Error() string { return e.variable + ": the file: " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

func credentialSources(p aws.CredentialsProvider) []aws.CredentialSource {
	if named, ok := p.(aws.CredentialProviderSource); ok {
		return named.ProviderSources()
	}
	return nil
}

// session reports that a person has to log in once in a while.
func session(s aws.CredentialSource) bool {
	switch s {
	case aws.CredentialSourceSSO, aws.CredentialSourceSSOLegacy, aws.CredentialSourceLogin:
		return true
	}
	return false
}

// namesRegion reports that the environment or a profile does, so that somebody
// meant AWS to be used here.
func namesRegion(sources []any) bool {
	for _, s := range sources {
		switch s := s.(type) {
		case config.EnvConfig:
			if s.Region != "" {
				return true
			}
		case config.SharedConfig:
			if s.Region != "" {
				return true
			}
		}
	}
	return false
}

func first(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

var errNoRegion = errors.New("no region is configured")
