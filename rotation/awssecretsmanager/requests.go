package awssecretsmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssdk"
	"github.com/latchkey-go/latchkey/internal/document"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/rotation"
)

// An api is a client, behind a func, so that printing a Store does not show it.
type api func() *secretsmanager.Client

func setup(region string, o *Options) *awssdk.Setup[api] {
	of := func(c *secretsmanager.Client) api { return func() *secretsmanager.Client { return c } }
	if o.Client != nil {
		return awssdk.Given(region, of(o.Client))
	}
	return awssdk.New(region, leaf.HTTP{Transport: o.Transport}, func(cfg aws.Config) api { return of(secretsmanager.NewFromConfig(cfg)) })
}

// quiet turns the SDK's log of requests and answers off: it shows secrets.
func quiet(o *secretsmanager.Options) {
	o.ClientLogMode = 0
	o.Logger = logging.Nop{}
}

// errNoValue is that a version, or the label, has no value.
var errNoValue = errors.New("the version has no value")

// call sends a request, and says what has gone wrong. Action is the permission that it
// needs.
func (s *Store) call(ctx context.Context, action, what string, send func(*secretsmanager.Client) error) error {
	a := &awssdk.Attempt{
		Source: "rotation/awssecretsmanager", Op: fmt.Sprintf("%s %q", what, s.id), Service: "Secrets Manager", Endpoint: "secretsmanager",
		Region: s.setup.Region(), InOp: strings.HasPrefix(s.id, "arn:"), Act: "the request",
	}
	ready, err := s.setup.Load(ctx)
	if err != nil {
		return a.Configuration(ctx, err) //nolint:wrapcheck // it says what has failed
	}
	a.Region = ready.Region
	if _, err := ready.Identify(ctx); err != nil {
		a.Session = ready.Session
		return a.Identity(ctx, err) //nolint:wrapcheck // it says what has failed
	}
	err = send(ready.API())
	if err == nil {
		return nil
	}
	code, text := awssdk.Code(err)
	switch {
	case ctx.Err() != nil:
	case code == "ResourceNotFoundException":
		return a.Fail(fmt.Errorf("%w: AWS has no such secret, or no such version of it", credential.ErrNotFound),
			"make the secret first, without a value if need be; check the account and the region, which comes from AWS_REGION, the profile or the ARN")
	case code == "InvalidRequestException" && strings.Contains(text, "delet"):
		return a.Fail(fmt.Errorf("%w: the secret is marked for deletion", credential.ErrNotFound), "restore it with `aws secretsmanager restore-secret`")
	case code == "DecryptionFailure", code == "EncryptionFailure", strings.HasPrefix(code, "AccessDenied") && strings.Contains(text, "kms"):
		return a.Fail(awssdk.Answer(code, "the KMS key of the secret could not be used"),
			"allow kms:Decrypt and kms:GenerateDataKey on the KMS key of the secret, in the role's policy and in the key's, and check that the key is enabled")
	case strings.HasPrefix(code, "AccessDenied"):
		return a.Denied(code, text, "the identity lacks a permission on the secret", "secretsmanager:"+action, s.arn(a.Region)) //nolint:wrapcheck // it says what has failed
	}
	return a.Refused(ctx, err) //nolint:wrapcheck // it says what has failed
}

// arn is the secret's ARN for a policy; AWS adds six characters to the name.
func (s *Store) arn(region string) string {
	if strings.HasPrefix(s.id, "arn:") {
		return s.id
	}
	if region == "" {
		region = "*"
	}
	return fmt.Sprintf("arn:%s:secretsmanager:%s:ACCOUNT:secret:%s-??????", awssdk.Partition(region), region, s.id)
}

// look reads the labels.
func (s *Store) look(ctx context.Context) (*view, error) {
	var out *secretsmanager.DescribeSecretOutput
	err := s.call(ctx, "DescribeSecret", "read the labels of", func(c *secretsmanager.Client) (err error) {
		out, err = c.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &s.id}, quiet)
		return err //nolint:wrapcheck // call classifies it
	})
	if err != nil {
		return nil, err
	}
	return newView(out.VersionIdsToStages), nil
}

// text reads a version; the error is errNoValue if it has no value.
func (s *Store) text(ctx context.Context, id string) (string, error) {
	var out *secretsmanager.GetSecretValueOutput
	err := s.call(ctx, "GetSecretValue", "read a version of", func(c *secretsmanager.Client) (err error) {
		out, err = c.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.id, VersionId: &id}, quiet)
		return err //nolint:wrapcheck // call classifies it
	})
	switch {
	case errors.Is(err, credential.ErrNotFound):
		return "", errNoValue
	case err != nil:
		return "", err
	case out.SecretString != nil:
		return *out.SecretString, nil
	}
	return string(out.SecretBinary), nil
}

// keyIn takes the key out of the text of a version.
func (s *Store) keyIn(text string) (credential.Secret, error) {
	key, err := document.Field(text, s.field)
	if err != nil {
		return credential.Secret{}, fmt.Errorf("rotation/awssecretsmanager: %s: %w", s.id, err)
	}
	if s.field == "" && json.Valid([]byte(text)) && strings.HasPrefix(strings.TrimSpace(text), "{") {
		return credential.Secret{}, fmt.Errorf("rotation/awssecretsmanager: %s holds a JSON document: name the member with the key in Field", s.id)
	}
	// As readers do: what editors put around a key is not of it.
	key = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(key, "\ufeff"), "\n"), "\r")
	return credential.NewSecret(key), nil
}

// document is the text of a version with the key.
func (s *Store) document(ctx context.Context, v *view, key credential.Secret) (string, error) {
	if s.field == "" {
		return key.Reveal(), nil
	}
	members := map[string]json.RawMessage{}
	if id := v.current(); id != "" {
		text, err := s.text(ctx, id)
		if err != nil && !errors.Is(err, errNoValue) {
			return "", err
		}
		if err == nil && json.Unmarshal([]byte(strings.TrimPrefix(text, "\ufeff")), &members) != nil {
			return "", fmt.Errorf("rotation/awssecretsmanager: %s holds no JSON document: leave Field out", s.id)
		}
	}
	quoted, err := json.Marshal(key.Reveal())
	if err != nil {
		return "", fmt.Errorf("rotation/awssecretsmanager: %w", err)
	}
	members[s.field] = quoted
	text, err := json.Marshal(members)
	if err != nil {
		return "", fmt.Errorf("rotation/awssecretsmanager: %w", err)
	}
	return string(text), nil
}

// put writes a version, once: with another text it is a conflict.
func (s *Store) put(ctx context.Context, id, text string, labels ...string) error {
	in := &secretsmanager.PutSecretValueInput{SecretId: &s.id, ClientRequestToken: &id, SecretString: &text, VersionStages: labels}
	if !s.rotationToken.IsZero() {
		in.RotationToken = aws.String(s.rotationToken.Reveal())
	}
	err := s.call(ctx, "PutSecretValue", "write a version of", func(c *secretsmanager.Client) error {
		_, err := c.PutSecretValue(ctx, in, quiet)
		return err //nolint:wrapcheck // call classifies it
	})
	if code, _ := awssdk.Code(err); code == "ResourceExistsException" {
		return rotation.ErrConflict
	}
	return err
}

// move puts a label onto a version, if it is on the one that is named; empty is none.
func (s *Store) move(ctx context.Context, label, from, to string) error {
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &s.id, VersionStage: &label, MoveToVersionId: &to}
	if from != "" {
		in.RemoveFromVersionId = &from
	}
	return s.update(ctx, in, from, to)
}

// remove takes a label from a version.
func (s *Store) remove(ctx context.Context, label, from string) error {
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &s.id, VersionStage: &label, RemoveFromVersionId: &from}
	return s.update(ctx, in, from, "")
}

// update moves a label. If AWS refuses that, the label may be where it should be: the
// answer to a first try was lost, and the SDK has sent the request again.
func (s *Store) update(ctx context.Context, in *secretsmanager.UpdateSecretVersionStageInput, from, to string) error {
	err := s.call(ctx, "UpdateSecretVersionStage", "move a label of", func(c *secretsmanager.Client) error {
		_, err := c.UpdateSecretVersionStage(ctx, in, quiet)
		return err //nolint:wrapcheck // call classifies it
	})
	if code, _ := awssdk.Code(err); code != "InvalidParameterException" && code != "InvalidRequestException" {
		return err
	}
	v, lookErr := s.look(ctx)
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	switch v.at(*in.VersionStage) {
	case to:
		return nil
	case from:
		return err
	}
	return rotation.ErrConflict
}

// tagExpiry writes when the key ends.
func (s *Store) tagExpiry(ctx context.Context, at time.Time) error {
	text := at.UTC().Format(time.RFC3339)
	return s.call(ctx, "TagResource", "tag", func(c *secretsmanager.Client) error {
		_, err := c.TagResource(ctx, &secretsmanager.TagResourceInput{SecretId: &s.id, Tags: []types.Tag{{Key: &s.tag, Value: &text}}}, quiet)
		return err //nolint:wrapcheck // call classifies it
	})
}
