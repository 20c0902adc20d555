package awssecretsmanager

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey-go/latchkey/internal/awssecret"
)

const (
	// instancePatience bounds the question for an instance role where nothing
	// else is configured. On an instance the answer takes milliseconds; on a
	// laptop there is nobody to answer.
	instancePatience = 2 * time.Second
	// idleFor is the idle wall time after which connections are closed before
	// the next read: a sandbox that was frozen does not see that they are dead.
	// Only the reads of a rotation under way come closer than that.
	idleFor = 5 * time.Second
	// maxAnswer is the most that is read of an answer. A secret has 64 KiB, six
	// times that as escaped JSON.
	maxAnswer = 1 << 20
)

// A store reads one secret. What it gets from the SDK is behind funcs: a
// printer by reflection would find AWS credentials there.
type store struct {
	id, region string // region is empty unless id is an ARN
	slot       chan struct{}
	api        atomic.Pointer[api]
}

// An api is the SDK, configured.
type api struct {
	region string // empty if not known
	get    func(context.Context, *secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error)
	// identify fetches AWS credentials, if they are not cached, so that their
	// failures are told from those of the read.
	identify func(context.Context) error
	session  bool   // the credentials come from a session that a person begins
	fresh    func() // makes sure that no dead connection is used
}

func newStore(id, region string, c Client) *store {
	st := &store{id: id, region: region, slot: make(chan struct{}, 1)}
	if c != nil {
		st.api.Store(&api{
			region:   region,
			get:      getter(c),
			identify: func(context.Context) error { return nil },
			fresh:    func() {},
		})
	}
	return st
}

func getter(c Client) func(context.Context, *secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error) {
	return func(ctx context.Context, in *secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error) {
		return c.GetSecretValue(ctx, in, quiet) //nolint:wrapcheck // read classifies it
	}
}

// quiet turns the SDK's log of requests and answers off: it shows secrets.
func quiet(o *secretsmanager.Options) {
	o.ClientLogMode = 0
	o.Logger = logging.Nop{}
}

// read gets one version of the secret.
func (st *store) read(ctx context.Context, q awssecret.Query) (awssecret.Version, error) {
	what := &attempt{id: st.id, stage: q.Stage, pin: q.Pin, region: st.region}
	a, err := st.load(ctx)
	if err != nil {
		return awssecret.Version{}, what.configuration(ctx, err)
	}
	what.region = a.region
	if err := a.identify(ctx); err != nil {
		what.session = a.session
		return awssecret.Version{}, what.identity(ctx, err)
	}
	in := &secretsmanager.GetSecretValueInput{SecretId: aws.String(st.id)}
	if q.Stage != "" {
		in.VersionStage = aws.String(q.Stage)
	}
	if q.Pin != "" {
		in.VersionId = aws.String(q.Pin)
	}
	a.fresh()
	out, err := a.get(ctx, in)
	if err != nil {
		return awssecret.Version{}, what.refused(ctx, err)
	}
	if out == nil {
		return awssecret.Version{}, what.fail(errors.New("no answer and no error"), "a bug in Options.Client")
	}
	v := awssecret.Version{ID: aws.ToString(out.VersionId)}
	switch {
	case out.SecretString != nil:
		text := *out.SecretString
		v.Text = func() string { return text }
	case out.SecretBinary != nil:
		text := string(out.SecretBinary)
		v.Text = func() string { return text }
	default:
		return awssecret.Version{}, what.fail(errors.New("this version has neither text nor bytes"), "put a value into the secret")
	}
	return v, nil
}

// load configures the SDK once. A failure is not kept: it may be the ctx, or a
// file that somebody is about to fix. Who waits for another's load leaves when
// ctx is done.
func (st *store) load(ctx context.Context) (*api, error) {
	if a := st.api.Load(); a != nil {
		return a, nil
	}
	select {
	case st.slot <- struct{}{}:
		defer func() { <-st.slot }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if a := st.api.Load(); a != nil {
		return a, nil
	}
	a, err := st.configure(ctx)
	if err == nil {
		st.api.Store(a)
	}
	return a, err
}

func (st *store) configure(ctx context.Context) (*api, error) {
	opts := []func(*config.LoadOptions) error{
		config.WithLogger(logging.Nop{}),
		config.WithClientLogMode(0),
		// For the token service, if nothing else names a region.
		config.WithDefaultRegion(st.region),
	}
	if elsewhere() {
		opts = append(opts, config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, err //nolint:wrapcheck // attempt.configuration does
	}
	sources := credentialSources(cfg.Credentials)
	// Nothing names a source of credentials: the SDK asks for an instance role.
	bare := slices.Equal(sources, []aws.CredentialSource{aws.CredentialSourceIMDS})
	missing := errNoCredentials
	if bare && !namesRegion(cfg.ConfigSources) {
		missing = errNothing
	}
	region := st.region
	if region == "" {
		region = cfg.Region
	}
	switch {
	case region != "":
	case bare:
		return nil, missing
	default:
		return nil, errNoRegion
	}
	carrier := newCarrier(cfg.HTTPClient)
	client := secretsmanager.NewFromConfig(cfg, quiet, func(o *secretsmanager.Options) {
		o.Region = region
		o.HTTPClient = carrier
	})
	return &api{
		region:   region,
		get:      getter(client),
		identify: func(ctx context.Context) error { return identify(ctx, cfg.Credentials, bare, missing) },
		session:  slices.ContainsFunc(sources, session),
		fresh:    carrier.fresh,
	}, nil
}

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

// elsewhere reports that this is a platform without instance roles, where the
// question for one would only cost time, or reach a stranger.
func elsewhere() bool {
	for _, marker := range [...]string{
		"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_RUNTIME_API", // its role is in the environment
		"IDENTITY_ENDPOINT", "MSI_ENDPOINT", "WEBSITE_SITE_NAME", "FUNCTIONS_WORKER_RUNTIME", // Azure
	} {
		if os.Getenv(marker) != "" {
			return true
		}
	}
	return false
}

// identify fetches credentials. Where nothing is configured, missing is why
// there are none.
func identify(ctx context.Context, p aws.CredentialsProvider, bare bool, missing error) error {
	if !bare {
		_, err := p.Retrieve(ctx)
		return err //nolint:wrapcheck // attempt.identity does
	}
	short, cancel := context.WithTimeout(ctx, instancePatience)
	defer cancel()
	if _, err := p.Retrieve(short); err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return missing
}

var (
	errNothing       = errors.New("nothing here says which AWS account to ask: no region, no credentials and no instance role")
	errNoRegion      = errors.New("no region is configured")
	errNoCredentials = errors.New("a region is configured, but no credentials, and there is no instance role")
)

// A carrier is the SDK's HTTP client, with what it lacks: a limit on answers,
// no redirects (the session token would go along), and no use of connections
// that died while the process was frozen.
type carrier struct {
	do        func(*http.Request) (*http.Response, error)
	closeIdle func()
	now       func() time.Time
	last      atomic.Int64 // wall time of the last read
}

func newCarrier(configured aws.HTTPClient) *carrier {
	base, ok := configured.(*awshttp.BuildableClient) // with AWS_CA_BUNDLE in it
	if !ok {
		base = awshttp.NewBuildableClient()
	}
	transport := base.GetTransport()
	transport.MaxIdleConnsPerHost = 1 // reads come one at a time
	transport.IdleConnTimeout = idleFor
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &carrier{do: client.Do, closeIdle: client.CloseIdleConnections, now: time.Now}
}

func (c *carrier) fresh() {
	now := c.now().UnixNano()
	last := c.last.Swap(now)
	if gap := now - last; last != 0 && (gap > int64(idleFor) || gap < 0) {
		c.closeIdle()
	}
}

// Do sends req. Its body becomes one that may be closed at any time: the SDK
// closes its own as soon as an answer begins, when net/http may still be
// looking for its end, and would then drop the connection in mid-answer.
func (c *carrier) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		_ = req.Body.Close() // of bytes in memory
		if err != nil {
			return nil, err //nolint:wrapcheck // cannot happen
		}
		r := *req
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, _ = r.GetBody()
		req = &r
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // for the SDK, which looks at types
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}
