package awsextension

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/platform"
)

// unreachable is a request without an answer.
func (a *attempt) unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return a.passing(context.Cause(ctx), "no answer from the extension in time")
	case errors.Is(err, syscall.ECONNREFUSED) && !platform.OnLambda() && os.Getenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT") == "":
		return a.fail(fmt.Errorf("%w: nobody listens on port %d", credential.ErrUnavailable, DefaultPort), layer)
	}
	f := leaf.Hints{Network: layer}.Explain(err, "localhost")
	e := a.fail(f.Err, f.Hint)
	e.Transient = f.Transient
	return e
}

// refused is an answer without a secret. It holds the error code of AWS in a text
// or in JSON, depending on who answers; the rest of it stays out.
func (a *attempt) refused(status int, text string) error {
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	what := func(code string) error { return fmt.Errorf("%s (status %d)", code, status) }
	if a.parameter {
		if err := a.parameterRefused(text, has, what); err != nil {
			return err
		}
	}
	switch {
	case has("not ready to serve", "Serving not enabled"):
		return a.passing(errNotReady, "it starts beside the function; read the secret in the handler, not in init")
	case has("ResourceNotFoundException"):
		return a.fail(fmt.Errorf("%w: AWS has no such secret, or no such version of it", credential.ErrNotFound),
			"check the name and the account; the extension asks the region of the function; a stage such as AWSPENDING exists only at times")
	case has("InvalidRequestException") && has("delet"):
		return a.fail(fmt.Errorf("%w: the secret is marked for deletion", credential.ErrNotFound), "restore it with `aws secretsmanager restore-secret`")
	case has("DecryptionFailure"), has("AccessDenied") && has("KMS", "kms:"):
		return a.fail(what("the secret could not be decrypted"),
			"allow kms:Decrypt on the KMS key of the secret, in the role's policy and in the key's, and check that the key is enabled")
	case has("AccessDenied"):
		return a.fail(what("AccessDeniedException: the role may not read the secret"), "allow secretsmanager:GetSecretValue on "+a.arn()+" in the policy of the role")
	case has("Throttling", "TooManyRequests", "RequestLimitExceeded"):
		return a.passing(what("AWS throttles this account"), "latchkey tries again")
	case has("ExpiredToken", "InvalidSignatureException", "RequestExpired"):
		return a.passing(what("the extension's AWS credentials have expired"), "latchkey tries again; the platform renews them")
	case has("UnrecognizedClient", "InvalidClientTokenId"):
		return a.fail(what("AWS does not know the extension's credentials"), "check the role of the function, or the agent's credentials")
	}
	return a.byStatus(status)
}

func (a *attempt) byStatus(status int) error {
	what := fmt.Errorf("status %d", status)
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return a.fail(fmt.Errorf("the token was refused: %w", what), "the extension wants AWS_SESSION_TOKEN; the agent wants what is in its token file: set Options.TokenFile")
	case status == http.StatusTooManyRequests:
		return a.passing(fmt.Errorf("all connections are taken: %w", what), "raise PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS, or share one credential.Cache")
	case leaf.Passing(status):
		return a.passing(what, "see the extension's log")
	case a.parameter && status == http.StatusNotFound:
		return a.fail(fmt.Errorf("who listens there has no parameters: %w", what), "the Secrets Manager Agent has secrets only: use the Lambda extension, or package awsparameterstore")
	}
	return a.fail(what, "see the extension's log; is another program listening there?")
}

// arn is the secret's ARN for a policy. AWS adds six characters to the name.
func (a *attempt) arn() string {
	if strings.HasPrefix(a.id, "arn:") {
		return a.id
	}
	region := os.Getenv("AWS_REGION")
	if region == "" {
		region = "REGION"
	}
	return "arn:aws:secretsmanager:" + region + ":ACCOUNT:secret:" + a.id + "-??????"
}
