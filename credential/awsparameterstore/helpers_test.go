package awsparameterstore_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

const (
	parameter = "/prod/openai"
	oldKey    = "sk-CANARY-old"
	newKey    = "sk-CANARY-new"
)

// onWire starts a Parameter Store that the SDK's default configuration finds.
// The SDK does not retry, so that a test can count.
func onWire(t *testing.T) *awstest.ParameterStore {
	t.Helper()
	ps := awstest.NewParameterStore()
	server := httptest.NewServer(ps)
	t.Cleanup(server.Close)
	awstest.NoAWS(t)
	awstest.Setenv(t, ps.Identity.Env(ps.Region))
	awstest.Setenv(t, map[string]string{"AWS_ENDPOINT_URL_SSM": server.URL, "AWS_MAX_ATTEMPTS": "1"})
	return ps
}

// inMemory returns the SDK's client of ps, with the SDK's own retries and
// signatures but no network: for fake time.
func inMemory(ps *awstest.ParameterStore) *ssm.Client {
	id := ps.Identity
	return ssm.New(ssm.Options{
		Region:       ps.Region,
		BaseEndpoint: aws.String("https://ssm.test"),
		Credentials:  credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, id.SessionToken),
		HTTPClient:   &http.Client{Transport: ps},
	})
}

func newSource(t *testing.T, id string, opts *awsparameterstore.Options) *awsparameterstore.Source {
	t.Helper()
	src, err := awsparameterstore.New(id, opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// wantError checks what err wraps (nil: nothing that matters) and says, and
// that it shows no secret.
func wantError(t *testing.T, err, target error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	for e := err; e != nil; e = errors.Unwrap(e) {
		text += fmt.Sprintf(" %+v %#v", e, e)
	}
	if strings.Contains(text, "CANARY") {
		t.Errorf("the error (a %T) shows what it must not", err)
		return
	}
	if target != nil && !errors.Is(err, target) {
		t.Errorf("%v: does not wrap %v", err, target)
	}
	for _, other := range []error{credential.ErrUnavailable, credential.ErrNotFound} {
		if target != other && errors.Is(err, other) { //nolint:errorlint // the very one
			t.Errorf("%v: wraps %v", err, other)
		}
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: does not say %q", err, part)
		}
	}
}

func transient(err error) bool {
	se := (*credential.SourceError)(nil)
	return errors.As(err, &se) && se.Transient
}
