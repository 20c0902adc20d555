package awsparameterstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssdk"
	"github.com/latchkey-go/latchkey/internal/awssecret"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

// A describer is a Client that knows the policies of parameters.
type describer interface {
	DescribeParameters(ctx context.Context, in *ssm.DescribeParametersInput, opts ...func(*ssm.Options)) (*ssm.DescribeParametersOutput, error)
}

// An api is a Client, as funcs.
type api struct {
	get      func(context.Context, *ssm.GetParameterInput) (*ssm.GetParameterOutput, error)
	describe func(context.Context, *ssm.DescribeParametersInput) (*ssm.DescribeParametersOutput, error)
}

// A store reads one parameter.
type store struct {
	id     string
	policy bool // ask for the policy of expiration
	setup  *awssdk.Setup[api]
}

// newStore returns the store of a parameter; region is empty unless id is an ARN.
func newStore(id, region string, o *Options) *store {
	st := &store{id: id, policy: o.ExpiryPolicy}
	via := leaf.HTTP{Transport: o.Transport, Plain: leaf.PlainHTTP(o.PlainHTTP)}
	if o.Client != nil {
		st.setup = awssdk.Given(region, of(o.Client, quiet, func(so *ssm.Options) {
			so.APIOptions = append(slices.Clip(so.APIOptions), awssdk.Guard(via.Plain))
		}))
		return st
	}
	st.setup = awssdk.New(region, via, func(cfg aws.Config) api { return of(ssm.NewFromConfig(cfg), quiet) })
	return st
}

func of(c Client, opts ...func(*ssm.Options)) api {
	a := api{get: func(ctx context.Context, in *ssm.GetParameterInput) (*ssm.GetParameterOutput, error) {
		return c.GetParameter(ctx, in, opts...) //nolint:wrapcheck // read classifies it
	}}
	if d, ok := c.(describer); ok {
		a.describe = func(ctx context.Context, in *ssm.DescribeParametersInput) (*ssm.DescribeParametersOutput, error) {
			return d.DescribeParameters(ctx, in, opts...) //nolint:wrapcheck // expiry classifies it
		}
	}
	return a
}

// quiet turns the SDK's log of requests and answers off: it shows secrets.
func quiet(o *ssm.Options) {
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
		op += " version " + q.Pin
	case q.Stage != "":
		op += fmt.Sprintf(" label %q", q.Stage)
	}
	return &attempt{id: st.id, Attempt: awssdk.Attempt{
		Source: name, Op: op, Service: "Systems Manager", Endpoint: "ssm",
		Region: st.setup.Region(), InOp: strings.HasPrefix(st.id, "arn:"),
	}}
}

// read gets one version of the parameter.
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
	selected := st.id
	if q.Stage+q.Pin != "" { // one of them is empty
		selected += ":" + q.Stage + q.Pin
	}
	out, err := a.API.get(ctx, &ssm.GetParameterInput{Name: aws.String(selected), WithDecryption: aws.Bool(true)})
	if err != nil {
		return awssecret.Version{}, what.refused(ctx, err)
	}
	if out == nil || out.Parameter == nil || out.Parameter.Value == nil {
		return awssecret.Version{}, what.Fail(errors.New("the answer has no value"), "is AWS_ENDPOINT_URL, a proxy or an Options.Client of your own in between?")
	}
	text, number := *out.Parameter.Value, out.Parameter.Version
	v := awssecret.Version{Text: hidden.Of(text)}
	if number > 0 { // what Parameter Store passes on from Secrets Manager has none
		v.ID = strconv.FormatInt(number, 10)
	}
	if st.policy {
		v.Expires, err = st.expiry(ctx, a, what, aws.ToString(out.Parameter.Name), number)
	}
	return v, err
}

// refused is why GetParameter failed. The texts of AWS stay out, as they come from
// outside, but for what they are searched for here.
func (a *attempt) refused(ctx context.Context, err error) error {
	code, text := awssdk.Code(err)
	switch {
	case ctx.Err() != nil:
	case code == "ParameterNotFound":
		return a.Fail(fmt.Errorf("%w: AWS has no such parameter", credential.ErrNotFound),
			"check the name, with its leading slash, the region and the account")
	case code == "ParameterVersionNotFound":
		return a.Fail(fmt.Errorf("%w: the parameter has no such version or label", credential.ErrNotFound),
			"see the versions and their labels with `aws ssm get-parameter-history`")
	case code == "InvalidKeyId", strings.HasPrefix(code, "KMS"),
		strings.HasPrefix(code, "AccessDenied") && (strings.Contains(text, "kms") || strings.Contains(text, "ciphertext")):
		return a.Fail(awssdk.Answer(code, "the parameter could not be decrypted"),
			"allow kms:Decrypt on the KMS key of the parameter, in the role's policy and in the key's, and check that the key is enabled")
	case strings.HasPrefix(code, "AccessDenied"):
		return a.Denied(code, text, "the identity may not read the parameter", "ssm:GetParameter", a.arn())
	case code == "ValidationException":
		return a.Fail(awssdk.Answer(code, "AWS takes the name for malformed"), "name it as `aws ssm describe-parameters` shows it, or by its ARN")
	}
	return a.Refused(ctx, err)
}

// arn is the parameter's ARN for a policy.
func (a *attempt) arn() string {
	if strings.HasPrefix(a.id, "arn:") {
		return a.id
	}
	return a.arnOf("parameter/" + strings.TrimPrefix(a.id, "/"))
}

func (a *attempt) arnOf(resource string) string {
	region := a.Region
	if region == "" {
		region = "*"
	}
	return fmt.Sprintf("arn:%s:ssm:%s:ACCOUNT:%s", awssdk.Partition(region), region, resource)
}
