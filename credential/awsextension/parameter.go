package awsextension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssecret"
	"github.com/latchkey-go/latchkey/internal/hidden"
)

// maxSteps bounds the versions that are asked for one after the other.
const maxSteps = 16

// errNoVersion is the answer that the parameter is there, and this version of
// it is not.
var errNoVersion = errors.New("the parameter has no such version or label")

// readParameter gets one version of a parameter.
//
// The extension has no way past its cache for parameters, but it keeps each
// version apart. So the versions behind the latest one that was seen are asked
// for by number, when the query wants more than the cache has; and an answer that
// is older than what was seen gives way to that.
func (r *reader) readParameter(ctx context.Context, q awssecret.Query) (awssecret.Version, error) {
	if q.Stage != "" || q.Pin != "" {
		return r.patiently(ctx, q)
	}
	seen := r.seen.Load()
	if q.Fresh && seen > 0 {
		v, err := r.after(ctx, seen)
		if err != nil || v.Text != nil {
			return v, err
		}
	}
	v, err := r.patiently(ctx, q)
	if err != nil {
		return v, err
	}
	if n := number(v); n < seen {
		newer, err := r.patiently(ctx, awssecret.Query{Pin: strconv.FormatInt(seen, 10)})
		switch {
		case err == nil:
			return newer, nil
		case !errors.Is(err, errNoVersion):
			return newer, err
		}
		// The parameter was deleted and made anew: its versions begin at 1.
	}
	r.seen.Store(number(v))
	return v, nil
}

// after returns the latest version behind that of the number, or the zero
// Version if there is none.
func (r *reader) after(ctx context.Context, seen int64) (last awssecret.Version, err error) {
	for n := seen + 1; n <= seen+maxSteps; n++ {
		v, err := r.patiently(ctx, awssecret.Query{Pin: strconv.FormatInt(n, 10)})
		if errors.Is(err, errNoVersion) {
			break
		}
		if err != nil {
			return v, err
		}
		last = v
		r.seen.Store(n)
	}
	return last, nil
}

// number is 0 for what Parameter Store passes on from Secrets Manager.
func number(v awssecret.Version) int64 {
	n, _ := strconv.ParseInt(v.ID, 10, 64) // as said
	return n
}

// parameterQuery is that of GET /systemsmanager/parameters/get:
// https://docs.aws.amazon.com/systems-manager/latest/userguide/ps-integration-lambda-extensions.html
func (a *attempt) parameterQuery() url.Values {
	q := url.Values{"name": {a.id}, "withDecryption": {"true"}}
	if a.query.Stage != "" {
		q.Set("label", a.query.Stage)
	}
	if a.query.Pin != "" {
		q.Set("version", a.query.Pin)
	}
	return q
}

// parameterValue decodes GetParameter's answer.
func (a *attempt) parameterValue(body []byte) (awssecret.Version, error) {
	var out struct {
		Parameter *struct {
			Value   *string
			Version json.Number
		}
	}
	if err := json.Unmarshal(body, &out); err != nil || out.Parameter == nil {
		return awssecret.Version{}, a.passing(errors.New("the answer is not one of the extension"), "is another program listening there?")
	}
	if out.Parameter.Value == nil {
		return awssecret.Version{}, a.fail(errors.New("this version has no value"), "put a value into the parameter")
	}
	text := *out.Parameter.Value
	v := awssecret.Version{Text: hidden.Of(text)}
	if n, err := out.Parameter.Version.Int64(); err == nil && n > 0 {
		v.ID = strconv.FormatInt(n, 10)
	}
	return v, nil
}

// parameterRefused is what only parameters are refused for; nil is something
// else.
func (a *attempt) parameterRefused(text string, has func(...string) bool, what func(string) error) error {
	switch {
	case has("ParameterVersionNotFound"):
		return a.fail(fmt.Errorf("%w: %w", credential.ErrNotFound, errNoVersion), "see the versions and their labels with `aws ssm get-parameter-history`")
	case has("ParameterNotFound"):
		return a.fail(fmt.Errorf("%w: AWS has no such parameter", credential.ErrNotFound),
			"check the name, with its leading slash, and the account; the extension asks the region of the function")
	case has("InvalidKeyId"), has("AccessDenied") && (has("KMS", "kms:") || strings.Contains(strings.ToLower(text), "ciphertext")):
		return a.fail(what("the parameter could not be decrypted"),
			"allow kms:Decrypt on the KMS key of the parameter, in the role's policy and in the key's, and check that the key is enabled")
	case has("AccessDenied"):
		return a.fail(what("AccessDeniedException: the role may not read the parameter"), "allow ssm:GetParameter on "+a.parameterARN()+" in the policy of the role")
	case has("ValidationException"):
		return a.fail(what("AWS takes the name for malformed"), "name it as `aws ssm describe-parameters` shows it")
	}
	return nil
}

func (a *attempt) parameterARN() string {
	if strings.HasPrefix(a.id, "arn:") {
		return a.id
	}
	region := os.Getenv("AWS_REGION")
	if region == "" {
		region = "REGION"
	}
	return "arn:aws:ssm:" + region + ":ACCOUNT:parameter/" + strings.TrimPrefix(a.id, "/")
}
