package awsauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssdk"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

const (
	source       = "hashivault/awsauth"
	defaultMount = "aws"
	// globalRegion is the region that the global endpoint of STS is signed for.
	globalRegion = "us-east-1"
	// stsBody is the one request that Vault accepts:
	// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html.
	stsBody = "Action=GetCallerIdentity&Version=2011-06-15"
	// serverIDHeader is the header that binds the request to one Vault.
	serverIDHeader = "X-Vault-AWS-IAM-Server-ID"
)

// Options configures an [Auth]. The zero value and nil are ready to use.
type Options struct {
	// Config has the AWS credentials. Nil is the SDK's default configuration,
	// loaded at the first login: the environment, the profile, or the role of
	// the function, task or instance.
	Config *aws.Config
	// Region signs for the STS of that region. Empty is the global endpoint,
	// which Vault asks unless its sts_endpoint and sts_region say otherwise;
	// these must fit.
	Region string
	// ServerID is the iam_server_id_header_value of the method; empty if that
	// is not set.
	ServerID string
	// Mount is where the method is mounted; empty is "aws".
	Mount string
	// Transport carries the requests for AWS credentials, not those to Vault. Nil
	// is a private transport. It has no meaning with Config.
	Transport http.RoundTripper
}

// An Auth logs in with an AWS identity. It is safe for concurrent use.
type Auth struct {
	// Funcs hide the credentials, as package hidden tells.
	creds func(context.Context) (aws.Credentials, error)
	body  hidden.Value[loginRequest]
}

var _ api.AuthMethod = (*Auth)(nil)

// A loginRequest is what the role and the options decide.
type loginRequest struct{ role, mount, region, endpoint, serverID string }

// New returns an Auth for the role of the aws method in Vault; an empty role is
// the one named like the AWS role. New does no I/O. It fails if an option is not
// valid.
func New(role string, opts *Options) (*Auth, error) {
	if opts == nil {
		opts = &Options{}
	}
	o := *opts
	r := loginRequest{role: role, mount: strings.Trim(o.Mount, "/"), region: o.Region, serverID: o.ServerID, endpoint: "https://sts.amazonaws.com/"}
	if r.mount == "" {
		r.mount = defaultMount
	}
	switch {
	case strings.Contains(r.mount, "..") || strings.ContainsAny(r.mount, "?#"):
		return nil, fmt.Errorf("hashivault/awsauth: %q cannot be a mount", r.mount)
	case o.Region != "" && !isRegion(o.Region):
		return nil, fmt.Errorf("hashivault/awsauth: %q is not a region; for example eu-central-1", o.Region)
	case strings.ContainsAny(o.ServerID, "\r\n"):
		return nil, errors.New("hashivault/awsauth: a ServerID has no line break")
	case o.Config != nil && o.Transport != nil:
		return nil, errors.New("hashivault/awsauth: Transport has no meaning with Config; leave it out")
	case o.Config != nil && o.Config.Credentials == nil:
		return nil, errors.New("hashivault/awsauth: the Config has no Credentials; leave it out to load the default")
	case strings.HasPrefix(o.Region, "cn-"):
		r.endpoint = "https://sts." + o.Region + ".amazonaws.com.cn/"
	case o.Region != "":
		r.endpoint = "https://sts." + o.Region + ".amazonaws.com/"
	default:
		r.region = globalRegion
	}
	return &Auth{creds: provider(o.Config, r.region, o.Transport), body: hidden.Of(r)}, nil
}

// isRegion keeps everything else out of the host's name.
func isRegion(name string) bool {
	ok, err := regexp.MatchString(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`, name)
	return ok && err == nil
}

// provider returns what gets AWS credentials: those of cfg, or those of the
// environment, which is looked at when it is needed.
func provider(cfg *aws.Config, region string, t http.RoundTripper) func(context.Context) (aws.Credentials, error) {
	what := &awssdk.Attempt{Source: source, Op: "log in", Service: "STS", Endpoint: "sts"}
	get := func(ctx context.Context) (aws.Credentials, error) {
		return leaf.Detached(ctx, cfg.Credentials.Retrieve) //nolint:wrapcheck // Identity does
	}
	if cfg == nil {
		setup := awssdk.New(region, leaf.HTTP{Transport: t}, func(aws.Config) struct{} { return struct{}{} })
		get = func(ctx context.Context) (aws.Credentials, error) {
			r, err := setup.Load(ctx)
			if err != nil {
				return aws.Credentials{}, what.Configuration(ctx, err)
			}
			return r.Identify(ctx) //nolint:wrapcheck // Identity does
		}
	}
	return func(ctx context.Context) (aws.Credentials, error) {
		creds, err := get(ctx)
		se := (*credential.SourceError)(nil)
		switch {
		case errors.As(err, &se):
			return aws.Credentials{}, se
		case err != nil:
			return aws.Credentials{}, what.Identity(ctx, err)
		case !creds.HasKeys():
			return aws.Credentials{}, what.Passing(errors.New("no AWS credentials were found"), "give the function, task or instance a role, or set AWS_PROFILE")
		}
		return creds, nil
	}
}

// Login implements api.AuthMethod: it signs a request to STS, sends nothing
// there, and gives it to Vault. The error is a [*credential.SourceError] if
// there are no AWS credentials, and that of Vault otherwise.
func (a *Auth) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	if a == nil || a.creds == nil {
		return nil, fail(errors.New("the zero Auth has no role"), "make one with New", false)
	}
	creds, err := a.creds(ctx)
	if ctx.Err() != nil {
		return nil, fail(context.Cause(ctx), "", true)
	}
	if err != nil {
		return nil, err
	}
	r := a.body()
	data, err := r.signed(ctx, creds, time.Now())
	if err != nil {
		return nil, fail(errors.New("the request to STS cannot be signed"), "check the credentials", false)
	}
	return client.Logical().WriteWithContext(ctx, "auth/"+r.mount+"/login", data)
}

func fail(err error, hint string, transient bool) error {
	return &credential.SourceError{Source: source, Op: "log in", Err: err, Hint: hint, Transient: transient}
}

// signed is the body of the login:
// https://developer.hashicorp.com/vault/api-docs/auth/aws#login.
func (r loginRequest) signed(ctx context.Context, creds aws.Credentials, now time.Time) (map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.endpoint, strings.NewReader(stsBody))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if r.serverID != "" {
		req.Header.Set(serverIDHeader, r.serverID)
	}
	sum := sha256.Sum256([]byte(stsBody))
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), "sts", r.region, now); err != nil {
		return nil, err
	}
	headers, err := json.Marshal(req.Header)
	if err != nil {
		return nil, err
	}
	encode := base64.StdEncoding.EncodeToString
	data := map[string]any{
		"iam_http_request_method": req.Method,
		"iam_request_url":         encode([]byte(r.endpoint)),
		"iam_request_body":        encode([]byte(stsBody)),
		"iam_request_headers":     encode(headers),
	}
	if r.role != "" {
		data["role"] = r.role
	}
	return data, nil
}
