package awssdk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

// An Attempt is one read, for its errors.
type Attempt struct {
	// Source names the package, and Op says what is read.
	Source, Op string
	// Service is the name of the service at AWS, and Endpoint that of its host.
	Service, Endpoint string
	// Region is what the read was for; it stands in Op unless InOp is set.
	Region string
	InOp   bool
	// Session tells that the credentials come from a session that a person begins.
	Session bool
	// Act is what AWS has refused, for errors; empty is "the read".
	Act string
	// NoRegion is what to do if no region is configured; empty is for what has an
	// ARN.
	NoRegion string
}

// Fail returns an error that the next read would meet, too.
func (a *Attempt) Fail(err error, hint string) *credential.SourceError {
	op := a.Op
	if a.Region != "" && !a.InOp {
		op += " in " + a.Region
	}
	return &credential.SourceError{Source: a.Source, Op: op, Err: err, Hint: hint}
}

// Passing returns an error that the next read may not meet.
func (a *Attempt) Passing(err error, hint string) *credential.SourceError {
	e := a.Fail(err, hint)
	e.Transient = true
	return e
}

const (
	setUp = "in Lambda the execution role supplies them; elsewhere set AWS_PROFILE to a profile that `aws configure sso` made, or AWS_REGION and AWS_ACCESS_KEY_ID with its secret"
	login = "run `aws sso login` (or `aws login`), with --profile if AWS_PROFILE is set"
)

// lacking is what the environment has to say and does not; nil if err is of
// another kind.
func (a *Attempt) lacking(err error) error {
	none, silent := (*absence)(nil), (*silence)(nil)
	switch {
	case errors.As(err, &none) && none.meant:
		return a.Passing(none, setUp)
	case errors.As(err, &none):
		e := a.Fail(fmt.Errorf("%w: %w", credential.ErrUnavailable, none), setUp)
		e.Guess = none.guess
		return e
	case errors.As(err, &silent):
		return a.Passing(silent, silent.hint)
	case errors.Is(err, errNoRegion):
		hint := a.NoRegion
		if hint == "" {
			hint = "set AWS_REGION, or region in the profile, or name it by its ARN; Lambda sets AWS_REGION"
		}
		return a.Fail(errNoRegion, hint)
	}
	return nil
}

// Configuration is why Load failed.
func (a *Attempt) Configuration(ctx context.Context, err error) error {
	var profile config.SharedConfigProfileNotExistError
	var file config.SharedConfigLoadError
	var named *fileError
	lacking := a.lacking(err)
	switch {
	case ctx.Err() != nil:
		return a.Passing(context.Cause(ctx), "")
	case lacking != nil:
		return lacking
	case errors.As(err, &named):
		return a.Fail(named, "correct "+named.variable+", or let the process read the file")
	case errors.As(err, &profile):
		return a.Fail(fmt.Errorf("there is no AWS profile %q", profile.Profile), "check AWS_PROFILE against `aws configure list-profiles`")
	case errors.As(err, &file):
		return a.Fail(fmt.Errorf("the AWS configuration file %q cannot be read", file.Filename), "check it with `aws configure list`")
	}
	return a.Fail(errors.New("the AWS configuration of this environment is malformed"), "check the variables AWS_... and the profile with `aws configure list`")
}

// Identity is why there are no AWS credentials. The SDK's texts stay out: they
// quote answers of token services and output of credential processes.
func (a *Attempt) Identity(ctx context.Context, err error) error {
	const what = "could not get AWS credentials"
	lacking := a.lacking(err)
	var api smithy.APIError
	switch {
	case ctx.Err() != nil:
		return a.Passing(context.Cause(ctx), "")
	case lacking != nil:
		return lacking
	case errors.As(err, &api):
		code := clean(api.ErrorCode())
		answer := &smithy.GenericAPIError{Code: code, Message: what + service(err)}
		switch {
		case code == "UnauthorizedException" || code == "InvalidGrantException":
			return a.Passing(answer, login)
		case throttled(code) || broken(code) || leaf.Passing(status(err)):
			return a.Passing(answer, "AWS is at fault; latchkey tries again")
		case strings.HasPrefix(code, "Expired"):
			return a.Passing(answer, "renew the credentials: "+login)
		}
		return a.Fail(answer, "check that the role exists and that its trust policy admits this identity")
	case leaf.OnWire(err):
		f := leaf.Hints{Authority: hintBundle, Plain: hintPlain, Network: "check that the service that issues them can be reached from here"}.Explain(err, "it")
		return a.unanswered(leaf.Fault{Err: fmt.Errorf("%s: %w", what, f.Err), Hint: f.Hint, Transient: f.Transient})
	case a.Session:
		return a.Passing(errors.New(what+": the session has expired or was never begun"), login)
	}
	return a.Passing(errors.New(what), "run `aws sts get-caller-identity` with the same environment; it says why")
}

// service says which service of AWS an error is from.
func service(err error) string {
	if op := (*smithy.OperationError)(nil); errors.As(err, &op) {
		return fmt.Sprintf(" from %s, %s", op.ServiceID, op.OperationName)
	}
	return ""
}

// Code returns the error code of AWS in err, in a form that can be shown, and its
// text in lower case, which comes from outside and can not. The code is empty if
// err is not an answer of AWS.
func Code(err error) (code, text string) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return "", ""
	}
	return clean(api.ErrorCode()), strings.ToLower(api.ErrorMessage())
}

// Answer is an error of AWS with a text of ours.
func Answer(code, message string) error {
	return &smithy.GenericAPIError{Code: code, Message: message}
}

// Refused is why a read failed, by the error code of AWS: most have status 400. It
// knows what all services of AWS have in common; what is the service's own comes
// first, in its source.
func (a *Attempt) Refused(ctx context.Context, err error) error {
	code, _ := Code(err)
	switch {
	case ctx.Err() != nil:
		return a.Passing(context.Cause(ctx), "")
	case code == "", code == unknownError:
		return a.wire(err)
	case throttled(code):
		return a.Passing(Answer(code, "AWS throttles this account"), "many readers? share one credential.Cache per process")
	case broken(code), leaf.Passing(status(err)):
		return a.Passing(Answer(code, "AWS is at fault"), "latchkey tries again; see the AWS Health Dashboard")
	case strings.HasPrefix(code, "Expired"):
		return a.Passing(Answer(code, "the AWS credentials have expired"), "on a laptop "+login+"; in AWS the platform renews them")
	case skewed(code):
		return a.Passing(Answer(code, "AWS takes the signature for expired or wrong"), "check the clock, and AWS_SECRET_ACCESS_KEY if it is set")
	case unknownCaller(code):
		return a.Fail(Answer(code, "AWS does not know these credentials"), "check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN and the profile with `aws sts get-caller-identity`")
	}
	return a.Fail(Answer(code, "AWS refused "+first(a.Act, "the read")), "look the code up in AWS's reference of "+a.Service)
}

// Denied is the answer of AWS that the identity lacks action on resource. Text is
// that of Code.
func (a *Attempt) Denied(code, text, message, action, resource string) error {
	hint := "allow " + action + " on " + resource + " in the policy of the role; `aws sts get-caller-identity` names the role"
	if strings.Contains(text, "explicit deny") {
		hint = "a policy denies " + action + " on " + resource + " explicitly: see the role's, the resource's and the VPC endpoint's"
	}
	return a.Fail(Answer(code, message), hint)
}

// Partition is the one that region belongs to.
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// wire is a read that AWS did not answer, or not as AWS does.
func (a *Attempt) wire(err error) error {
	if leaf.OnWire(err) {
		who := a.Service
		if dns := (*net.DNSError)(nil); errors.As(err, &dns) && dns.Name != "" {
			who = dns.Name // it holds the region
		}
		return a.unanswered(leaf.Hints{
			Authority: hintBundle, Plain: hintPlain,
			DNS:     "check the region in AWS_REGION, the profile or the ARN, and the DNS of this network",
			Network: "check the network: a function in a VPC needs an endpoint for " + a.Endpoint + ", or a NAT gateway",
		}.Explain(err, who))
	}
	what, hint := errors.New("the answer is not one of "+a.Service), "look for a proxy in between, and at AWS_ENDPOINT_URL if it is set"
	s := status(err)
	if s != 0 {
		what = fmt.Errorf("the answer (status %d) is not one of %s", s, a.Service)
	}
	if s >= 300 && !leaf.Passing(s) {
		return a.Fail(what, hint)
	}
	return a.Passing(what, hint)
}

const hintPlain = "use https, or set Options.PlainHTTP"

const hintBundle = "AWS_CA_BUNDLE names further authorities, for a proxy that opens TLS"

func (a *Attempt) unanswered(f leaf.Fault) error {
	e := a.Fail(f.Err, f.Hint)
	e.Transient = f.Transient
	return e
}

// unknownError is what the SDK calls an answer without a code.
const unknownError = "UnknownError"

// clean lets nothing but an error code through.
func clean(code string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if code == "" || len(code) > 64 || strings.Trim(code, letters) != "" {
		return unknownError
	}
	return code
}

func status(err error) int {
	var answered interface{ HTTPStatusCode() int }
	if errors.As(err, &answered) {
		return answered.HTTPStatusCode()
	}
	return 0
}

func throttled(code string) bool {
	switch code {
	case "ThrottlingException", "Throttling", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"TooManyRequestsException", "RequestLimitExceeded", "LimitExceededException", "SlowDown":
		return true
	}
	return false
}

func broken(code string) bool {
	switch code {
	case "InternalServiceError", "InternalServiceErrorException", "InternalFailure", "InternalServerError", "InternalServerException",
		"ServiceUnavailable", "ServiceUnavailableException", "RequestTimeout", "RequestTimeoutException":
		return true
	}
	return false
}

func skewed(code string) bool {
	switch code {
	case "RequestExpired", "RequestTimeTooSkewed", "InvalidSignatureException", "SignatureDoesNotMatch", "RequestInTheFuture":
		return true
	}
	return false
}

func unknownCaller(code string) bool {
	switch code {
	case "UnrecognizedClientException", "InvalidClientTokenId", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
		"IncompleteSignature", "NotAuthorized", "OptInRequired":
		return true
	}
	return false
}
