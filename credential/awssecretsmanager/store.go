package awssecretsmanager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssdk"
	"github.com/latchkey-go/latchkey/internal/awssecret"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

// A describer is a Client that knows the tags of secrets.
type describer interface {
	DescribeSecret(ctx context.Context, in *secretsmanager.DescribeSecretInput, opts ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
}

// An api is a Client, as funcs.
type api struct {
	get      func(context.Context, *secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error)
	describe func(context.Context, *secretsmanager.DescribeSecretInput) (*secretsmanager.DescribeSecretOutput, error)
}

// A store reads one secret.
type store struct {
	id, tag string
	setup   *awssdk.Setup[api]
}

// newStore returns the store of a secret; region is empty unless id is an ARN.
func newStore(id, region string, o *Options) *store {
	st := &store{id: id, tag: o.ExpiryTag}
	via := leaf.HTTP{Transport: o.Transport, Plain: leaf.PlainHTTP(o.PlainHTTP)}
	if o.Client != nil {
		st.setup = awssdk.Given(region, of(o.Client, quiet, func(so *secretsmanager.Options) {
			so.APIOptions = append(slices.Clip(so.APIOptions), awssdk.Guard(via.Plain))
		}))
		return st
	}
	st.setup = awssdk.New(region, via, func(cfg aws.Config) api { return of(secretsmanager.NewFromConfig(cfg), quiet) })
	return st
}

func of(c Client, opts ...func(*secretsmanager.Options)) api {
	a := api{get: func(ctx context.Context, in *secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error) {
		return c.GetSecretValue(ctx, in, opts...) //nolint:wrapcheck // read classifies it
	}}
	if d, ok := c.(describer); ok {
		a.describe = func(ctx context.Context, in *secretsmanager.DescribeSecretInput) (*secretsmanager.DescribeSecretOutput, error) {
			return d.DescribeSecret(ctx, in, opts...) //nolint:wrapcheck // expiry classifies it
		}
	}
	return a
}

// quiet turns the SDK's log of requests and answers off: it shows secrets.
func quiet(o *secretsmanager.Options) {
	o.ClientLogMode = 0
	o.Logger = logging.Nop{}
}

// An attempt is one read, for its errors.
type attempt struct {
	awssdk.Attempt
	id string
}

func (st *store) attempt(q awssecret.Query) *attempt {
	op := fmt.Sprintf("read %q", st.id)
	switch {
	case q.Pin != "":
		op += fmt.Sprintf(" version %q", q.Pin)
	case q.Stage != "":
		op += fmt.Sprintf(" stage %q", q.Stage)
	}
	return &attempt{id: st.id, Attempt: awssdk.Attempt{
		Source: name, Op: op, Service: "Secrets Manager", Endpoint: "secretsmanager",
		Region: st.setup.Region(), InOp: strings.HasPrefix(st.id, "arn:"),
	}}
}

// read gets one version of the secret.
func (st *store) read(ctx context.Context, q awssecret.Query) (awssecret.Version, error) {
	what := st.attempt(q)
	a, err := st.setup.Load(ctx)
	if err != nil {
		return awssecret.Version{}, what.Configuration(ctx, err)
	}
	what.Region = a.Region
	if _, err := a.Identify(ctx); err != nil {
		what.Session = a.Session
		return awssecret.Version{}, what.Identity(ctx, err)
	}
	in := &secretsmanager.GetSecretValueInput{SecretId: aws.String(st.id)}
	if q.Stage != "" {
		in.VersionStage = aws.String(q.Stage)
	}
	if q.Pin != "" {
		in.VersionId = aws.String(q.Pin)
	}
	out, err := a.API.get(ctx, in)
	if err != nil {
		return awssecret.Version{}, what.refused(ctx, err)
	}
	if out == nil {
		return awssecret.Version{}, what.Fail(errors.New("no answer and no error"), "a bug in Options.Client")
	}
	v := awssecret.Version{ID: aws.ToString(out.VersionId)}
	switch {
	case out.SecretString != nil:
		text := *out.SecretString
		v.Text = hidden.Of(text)
	case out.SecretBinary != nil:
		text := string(out.SecretBinary)
		v.Text = hidden.Of(text)
	default:
		return awssecret.Version{}, what.Fail(errors.New("the answer (status 200) has neither text nor bytes"), "put a value into the secret")
	}
	if st.tag != "" && q.Pin == "" && (q.Stage == "" || q.Stage == "AWSCURRENT") {
		v.Expires, err = st.expiry(ctx, a, what)
	}
	return v, err
}

// expiry returns the time in the tag, if the secret has it. A failure that
// passes is no error: the key is there, and the next read may know more.
func (st *store) expiry(ctx context.Context, a *awssdk.Ready[api], what *attempt) (time.Time, error) {
	out, err := a.API.describe(ctx, &secretsmanager.DescribeSecretInput{SecretId: aws.String(st.id)})
	code, text := awssdk.Code(err)
	switch {
	case strings.HasPrefix(code, "AccessDenied"):
		return time.Time{}, what.Denied(code, text, "the identity may not see when the secret expires", "secretsmanager:DescribeSecret", what.arn())
	case err != nil || out == nil:
		return time.Time{}, nil //nolint:nilerr // as said above
	}
	for _, tag := range out.Tags {
		if aws.ToString(tag.Key) != st.tag {
			continue
		}
		at, err := leaf.ParseExpiry(aws.ToString(tag.Value))
		if err != nil {
			return time.Time{}, what.Fail(fmt.Errorf("the tag %q does not say when the key ends: %w", st.tag, err), "correct the tag, or leave ExpiryTag out")
		}
		return at, nil
	}
	return time.Time{}, nil
}

// refused is why GetSecretValue failed. The texts of AWS stay out, as they come from
// outside, but for what they are searched for here.
func (a *attempt) refused(ctx context.Context, err error) error {
	code, text := awssdk.Code(err)
	switch {
	case ctx.Err() != nil:
	case code == "ResourceNotFoundException":
		return a.Fail(fmt.Errorf("%w: AWS has no such secret, or no such version of it", credential.ErrNotFound),
			"check the name, the account, and the region, which comes from AWS_REGION, the profile or the ARN; a stage such as AWSPENDING exists only at times")
	case code == "InvalidRequestException" && strings.Contains(text, "delet"):
		return a.Fail(fmt.Errorf("%w: the secret is marked for deletion", credential.ErrNotFound), "restore it with `aws secretsmanager restore-secret`")
	case code == "DecryptionFailure", code == "AccessDeniedException" && strings.Contains(text, "kms"):
		return a.Fail(awssdk.Answer(code, "the secret could not be decrypted"),
			"allow kms:Decrypt on the KMS key of the secret, in the role's policy and in the key's, and check that the key is enabled")
	case strings.HasPrefix(code, "AccessDenied"):
		return a.Denied(code, text, "the identity may not read the secret", "secretsmanager:GetSecretValue", a.arn())
	}
	return a.Refused(ctx, err)
}

// arn is the secret's ARN for a policy. AWS adds six characters to the name
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_examples.html).
func (a *attempt) arn() string {
	if strings.HasPrefix(a.id, "arn:") {
		return a.id
	}
	region := a.Region
	if region == "" {
		region = "*"
	}
	return fmt.Sprintf("arn:%s:secretsmanager:%s:ACCOUNT:secret:%s-??????", awssdk.Partition(region), region, a.id)
}
