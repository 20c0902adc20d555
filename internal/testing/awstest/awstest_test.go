package awstest_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

// through is a transport that may change a request on its way.
type through struct {
	to     http.RoundTripper
	change func(*http.Request)
}

func (t through) RoundTrip(r *http.Request) (*http.Response, error) {
	t.change(r)
	return t.to.RoundTrip(r)
}

func newClient(sm *awstest.SecretsManager, id awstest.Identity, region string, change func(*http.Request)) *secretsmanager.Client {
	return secretsmanager.New(secretsmanager.Options{
		Region: region, BaseEndpoint: aws.String("https://secretsmanager.test"), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, id.SessionToken),
		HTTPClient:  &http.Client{Transport: through{sm, change}},
	})
}

func code(err error) string {
	if api := smithy.APIError(nil); errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestOnlyAGoodSignaturePasses(t *testing.T) {
	as := func(change func(*awstest.Identity)) awstest.Identity {
		id := awstest.Caller()
		change(&id)
		return id
	}
	nothing := func(*http.Request) {}
	self := as(func(*awstest.Identity) {})
	for _, c := range []struct {
		name   string
		id     awstest.Identity
		region string
		change func(*http.Request)
		want   string
	}{
		{"good", self, "eu-west-1", nothing, ""},
		{"another region", self, "us-east-1", nothing, "InvalidSignatureException"},
		{"another secret key", as(func(id *awstest.Identity) { id.SecretAccessKey = "CANARY-other" }), "eu-west-1", nothing, "InvalidSignatureException"},
		{"another key id", as(func(id *awstest.Identity) { id.AccessKeyID = "CANARY-other" }), "eu-west-1", nothing, "UnrecognizedClientException"},
		{"another token", as(func(id *awstest.Identity) { id.SessionToken = "CANARY-other" }), "eu-west-1", nothing, "UnrecognizedClientException"},
		{"a changed body", self, "eu-west-1", func(r *http.Request) {
			r.Body = io.NopCloser(bytes.NewReader([]byte(`{"SecretId":"b"}`)))
		}, "InvalidSignatureException"},
		{"a changed operation", self, "eu-west-1", func(r *http.Request) { r.Header.Set("X-Amz-Target", "secretsmanager.DescribeSecret") }, "InvalidSignatureException"},
		{"no signature", self, "eu-west-1", func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sm := awstest.NewSecretsManager()
			sm.Put("a", "sk-CANARY")
			sm.Put("b", "sk-CANARY")
			_, err := newClient(sm, c.id, c.region, c.change).GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("a")})
			if code(err) != c.want || (err == nil) != (c.want == "") {
				t.Errorf("%q, want %q", code(err), c.want)
			}
		})
	}
}

func TestStagesMoveAsInSecretsManager(t *testing.T) {
	sm := awstest.NewSecretsManager()
	sdk := newClient(sm, awstest.Caller(), sm.Region, func(*http.Request) {})
	ctx, id := t.Context(), aws.String("a")
	made, err := sdk.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: id, SecretString: aws.String("one")})
	if err != nil {
		t.Fatal(err)
	}
	put, err := sdk.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: id, SecretString: aws.String("two"), VersionStages: []string{awstest.Pending}})
	if err != nil {
		t.Fatal(err)
	}
	move := &secretsmanager.UpdateSecretVersionStageInput{SecretId: id, VersionStage: aws.String(awstest.Current), MoveToVersionId: put.VersionId}
	if _, err := sdk.UpdateSecretVersionStage(ctx, move); code(err) != "InvalidParameterException" {
		t.Errorf("a stage moved without the version that it was on: %v", err)
	}
	move.RemoveFromVersionId = made.VersionId
	if _, err := sdk.UpdateSecretVersionStage(ctx, move); err != nil {
		t.Fatal(err)
	}
	for stage, want := range map[string]string{"": "two", awstest.Current: "two", awstest.Previous: "one", awstest.Pending: "two", "OTHER": ""} {
		in := &secretsmanager.GetSecretValueInput{SecretId: id}
		if stage != "" {
			in.VersionStage = &stage
		}
		got, err := sdk.GetSecretValue(ctx, in)
		if want == "" && code(err) != "ResourceNotFoundException" {
			t.Errorf("stage %q: %v", stage, err)
		} else if want != "" && (err != nil || *got.SecretString != want) {
			t.Errorf("stage %q: %v, want %q", stage, err, want)
		}
	}
}
