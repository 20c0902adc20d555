package awssecretsmanager

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"

	"github.com/latchkey-go/latchkey/credential"
)

// An attempt is one read, for its errors.
type attempt struct {
	id, stage, pin, region string
	session                bool // the credentials come from a session that a person begins
}

func (a *attempt) fail(err error, hint string) *credential.SourceError {
	op := fmt.Sprintf("read %q", a.id)
	switch {
	case a.pin != "":
		op += fmt.Sprintf(" version %q", a.pin)
	case a.stage != "":
		op += fmt.Sprintf(" stage %q", a.stage)
	}
	if a.region != "" && !strings.HasPrefix(a.id, "arn:") {
		op += " in " + a.region
	}
	return &credential.SourceError{Source: name, Op: op, Err: err, Hint: hint}
}

func (a *attempt) passing(err error, hint string) *credential.SourceError {
	e := a.fail(err, hint)
	e.Transient = true
	return e
}

const (
	setUp = "in Lambda the execution role supplies them; elsewhere set AWS_PROFILE to a profile that `aws configure sso` made, or AWS_REGION and AWS_ACCESS_KEY_ID with its secret"
	login = "run `aws sso login` (or `aws login`), with --profile if AWS_PROFILE is set"
)

// lacking is what the environment has to say and does not; nil if err is of
// another kind.
func (a *attempt) lacking(err error) error {
	switch {
	case errors.Is(err, errNothing):
		return a.fail(fmt.Errorf("%w: %w", credential.ErrUnavailable, errNothing), setUp)
	case errors.Is(err, errNoCredentials):
		return a.passing(errNoCredentials, setUp)
	case errors.Is(err, errNoRegion):
		return a.fail(errNoRegion, "set AWS_REGION, or region in the profile, or name the secret by its ARN; Lambda sets AWS_REGION")
	}
	return nil
}

// configuration is why the SDK could not be configured.
func (a *attempt) configuration(ctx context.Context, err error) error {
	var profile config.SharedConfigProfileNotExistError
	var file config.SharedConfigLoadError
	lacking := a.lacking(err)
	switch {
	case ctx.Err() != nil:
		return a.passing(context.Cause(ctx), "")
	case lacking != nil:
		return lacking
	case errors.As(err, &profile):
		return a.fail(fmt.Errorf("there is no AWS profile %q", profile.Profile), "check AWS_PROFILE against `aws configure list-profiles`")
	case errors.As(err, &file):
		return a.fail(fmt.Errorf("the AWS configuration file %q cannot be read", file.Filename), "check it with `aws configure list`")
	}
	return a.fail(errors.New("the AWS configuration of this environment is malformed"), "check the variables AWS_... and the profile with `aws configure list`")
}

// identity is why there are no AWS credentials. The SDK's texts stay out: they
// quote answers of token services and output of credential processes.
func (a *attempt) identity(ctx context.Context, err error) error {
	const what = "could not get AWS credentials"
	lacking := a.lacking(err)
	var api smithy.APIError
	switch {
	case ctx.Err() != nil:
		return a.passing(context.Cause(ctx), "")
	case lacking != nil:
		return lacking
	case errors.As(err, &api):
		code := clean(api.ErrorCode())
		answer := &smithy.GenericAPIError{Code: code, Message: what + service(err)}
		switch {
		case code == "UnauthorizedException" || code == "InvalidGrantException":
			return a.passing(answer, login)
		case throttled(code) || broken(code) || status(err) >= http.StatusInternalServerError:
			return a.passing(answer, "AWS is at fault; latchkey tries again")
		case strings.HasPrefix(code, "Expired"):
			return a.passing(answer, "renew the credentials: "+login)
		}
		return a.fail(answer, "check that the role exists and that its trust policy admits this identity")
	case onWire(err):
		return a.passing(fmt.Errorf("%s: %w", what, plain(err)), "check that the service that issues them can be reached from here")
	case a.session:
		return a.passing(errors.New(what+": the session has expired or was never begun"), login)
	}
	return a.passing(errors.New(what), "run `aws sts get-caller-identity` with the same environment; it says why")
}

// service says which service of AWS an error is from.
func service(err error) string {
	if op := (*smithy.OperationError)(nil); errors.As(err, &op) {
		return fmt.Sprintf(" from %s, %s", op.ServiceID, op.OperationName)
	}
	return ""
}

// refused is why GetSecretValue failed, by AWS's error code: most have status
// 400. AWS's texts stay out, as they come from outside, but for what they are
// searched for here.
func (a *attempt) refused(ctx context.Context, err error) error {
	var api smithy.APIError
	switch {
	case ctx.Err() != nil:
		return a.passing(context.Cause(ctx), "")
	case !errors.As(err, &api):
		return a.wire(err)
	}
	code, text := clean(api.ErrorCode()), strings.ToLower(api.ErrorMessage())
	answer := func(message string) error { return &smithy.GenericAPIError{Code: code, Message: message} }
	switch {
	case code == "ResourceNotFoundException":
		return a.fail(fmt.Errorf("%w: AWS has no such secret, or no such version of it", credential.ErrNotFound),
			"check the name, the region and the account; a stage such as AWSPENDING exists only at times")
	case code == "InvalidRequestException" && strings.Contains(text, "delet"):
		return a.fail(fmt.Errorf("%w: the secret is marked for deletion", credential.ErrNotFound), "restore it with `aws secretsmanager restore-secret`")
	case code == "DecryptionFailure", code == "AccessDeniedException" && strings.Contains(text, "kms"):
		return a.fail(answer("the secret could not be decrypted"),
			"allow kms:Decrypt on the KMS key of the secret, in the role's policy and in the key's, and check that the key is enabled")
	case strings.HasPrefix(code, "AccessDenied"):
		return a.denied(answer, text)
	case throttled(code):
		return a.passing(answer("AWS throttles this account"), "many readers? share one credential.Cache per process")
	case broken(code), status(err) >= http.StatusInternalServerError:
		return a.passing(answer("AWS is at fault"), "latchkey tries again; see the AWS Health Dashboard")
	case strings.HasPrefix(code, "Expired"):
		return a.passing(answer("the AWS credentials have expired"), "on a laptop "+login+"; in AWS the platform renews them")
	case skewed(code):
		return a.passing(answer("AWS takes the signature for expired or wrong"), "check the clock, and AWS_SECRET_ACCESS_KEY if it is set")
	case unknownCaller(code):
		return a.fail(answer("AWS does not know these credentials"), "check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN and the profile with `aws sts get-caller-identity`")
	}
	return a.fail(answer("AWS refused the read"), "look the code up in the reference of GetSecretValue")
}

func (a *attempt) denied(answer func(string) error, text string) error {
	hint := "allow secretsmanager:GetSecretValue on " + a.arn() + " in the policy of the role; `aws sts get-caller-identity` names the role"
	if strings.Contains(text, "explicit deny") {
		hint = "a policy denies secretsmanager:GetSecretValue on " + a.arn() + " explicitly: see the role's, the secret's and the VPC endpoint's"
	}
	return a.fail(answer("the identity may not read the secret"), hint)
}

// arn is the secret's ARN for a policy. AWS adds six characters to the name
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_examples.html).
func (a *attempt) arn() string {
	if strings.HasPrefix(a.id, "arn:") {
		return a.id
	}
	partition, region := "aws", a.region
	switch {
	case region == "":
		region = "*"
	case strings.HasPrefix(region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		partition = "aws-us-gov"
	}
	return fmt.Sprintf("arn:%s:secretsmanager:%s:ACCOUNT:secret:%s-??????", partition, region, a.id)
}

// wire is a read that AWS did not answer, or not as AWS does.
func (a *attempt) wire(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return a.passing(fmt.Errorf("the answer is larger than %d bytes", tooLarge.Limit), "is AWS_ENDPOINT_URL or a proxy in between?")
	case onWire(err):
		return a.passing(plain(err), "check the network: a function in a VPC needs an endpoint for secretsmanager, or a NAT gateway")
	}
	return a.passing(errors.New("the answer is not one of Secrets Manager"), "is AWS_ENDPOINT_URL or a proxy in between?")
}

func onWire(err error) bool { return plain(err) != nil }

// plain is the part of err whose text cannot quote an answer; nil if there is
// none.
func plain(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op
	}
	if cert := (*tls.CertificateVerificationError)(nil); errors.As(err, &cert) {
		return errors.New("the certificate could not be verified" + authority(err))
	}
	for _, known := range [...]error{context.DeadlineExceeded, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF, io.EOF, net.ErrClosed} {
		if errors.Is(err, known) {
			return known
		}
	}
	if timeout := (net.Error)(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("timeout")
	}
	return nil
}

func authority(err error) string {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return ": nobody here knows who signed it; AWS_CA_BUNDLE names further authorities"
	}
	return ""
}

// clean lets nothing but an error code through.
func clean(code string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if code == "" || len(code) > 64 || strings.Trim(code, letters) != "" {
		return "UnknownError"
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
