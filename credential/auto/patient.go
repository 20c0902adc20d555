package auto

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
)

// patience is how long a source may look for an identity that nothing
// configures: where there is one, the metadata service answers in milliseconds.
const patience = time.Second

// patient is a Source of Secrets Manager that gives up after patience where
// nothing configures an AWS identity. The embedded Source keeps Renew and
// Standby.
type patient struct{ *awssecretsmanager.Source }

var _ credential.Renewer = patient{}

// Retrieve reads the secret.
func (p patient) Retrieve(ctx context.Context) (credential.Value, error) {
	if awsConfigured() {
		return p.Source.Retrieve(ctx) //nolint:wrapcheck // it names itself
	}
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := p.Source.Retrieve(short)
	if err == nil || short.Err() == nil || ctx.Err() != nil {
		return v, err //nolint:wrapcheck // it names itself
	}
	err = errors.New("no AWS credentials are configured, and no instance role answers within " + patience.String())
	if !isSet("AWS_REGION") && !isSet("AWS_DEFAULT_REGION") {
		err = fmt.Errorf("%w: %w", credential.ErrUnavailable, err)
	}
	return credential.Value{}, &credential.SourceError{Source: p.String(), Op: "look for an identity", Err: err,
		Hint: "set AWS_PROFILE and run aws sso login, or give the function, task or instance a role"}
}

// awsConfigured reports that something names an AWS identity.
// https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
func awsConfigured() bool {
	for _, name := range [...]string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		if isSet(name) {
			return true
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return false
	}
	for _, name := range [...]string{"config", "credentials"} {
		if _, err := os.Stat(filepath.Join(home, ".aws", name)); err == nil {
			return true
		}
	}
	return false
}
