package awssecretsmanager_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

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

const iamARN = "arn:aws:secretsmanager:eu-west-1:ACCOUNT:secret:prod/openai-??????"

func TestErrorsAreClassifiedByTheirTypeAndSayWhatToDo(t *testing.T) {
	// AWS answers with 400 to most of these.
	for _, c := range []struct {
		fault     awstest.Fault
		target    error
		transient bool
		says      []string
	}{
		{awstest.Fault{Status: 400, Type: "ResourceNotFoundException"}, credential.ErrNotFound, false, []string{`read "prod/openai" in eu-west-1`, "check the name, the account, and the region, which comes from AWS_REGION"}},
		{awstest.Fault{Status: 400, Type: "InvalidRequestException", Message: "You can't perform this operation on the secret because it was marked for deletion."}, credential.ErrNotFound, false, []string{"restore-secret"}},
		{awstest.Fault{Status: 400, Type: "InvalidRequestException"}, nil, false, []string{"InvalidRequestException"}},
		{awstest.Fault{Status: 400, Type: "InvalidParameterException"}, nil, false, []string{"InvalidParameterException"}},
		{awstest.Fault{Status: 400, Type: "AccessDeniedException", Message: "User: arn:CANARY is not authorized"}, nil, false, []string{"AccessDeniedException", "allow secretsmanager:GetSecretValue on " + iamARN}},
		{awstest.Fault{Status: 400, Type: "AccessDeniedException", Message: "with an explicit deny in a resource-based policy"}, nil, false, []string{"denies", iamARN}},
		{awstest.Fault{Status: 400, Type: "AccessDeniedException", Message: "Access to KMS is not allowed"}, nil, false, []string{"kms:Decrypt"}},
		{awstest.Fault{Status: 400, Type: "DecryptionFailure"}, nil, false, []string{"DecryptionFailure", "kms:Decrypt"}},
		{awstest.Fault{Status: 400, Type: "ThrottlingException"}, nil, true, []string{"ThrottlingException", "throttles"}},
		{awstest.Fault{Status: 400, Type: "RequestLimitExceeded"}, nil, true, []string{"throttles"}},
		{awstest.Fault{Status: 500, Type: "InternalServiceError"}, nil, true, []string{"InternalServiceError", "AWS is at fault"}},
		{awstest.Fault{Status: 503}, nil, true, []string{"status 503", "not one of Secrets Manager"}},
		{awstest.Fault{Status: 502, Body: "<html>CANARY</html>"}, nil, true, nil},
		{awstest.Fault{Status: 400, Type: "ExpiredTokenException"}, nil, true, []string{"expired", "aws sso login"}},
		{awstest.Fault{Status: 400, Type: "InvalidSignatureException"}, nil, true, []string{"clock"}},
		{awstest.Fault{Status: 400, Type: "UnrecognizedClientException"}, nil, false, []string{"AWS_ACCESS_KEY_ID"}},
		{awstest.Fault{Status: 400, Type: "sk-CANARY-1", Message: "sk-CANARY-1"}, nil, false, []string{"status 400", "not one of Secrets Manager"}},
		{awstest.Fault{Status: 200, Body: "<html>CANARY</html>"}, nil, true, []string{"not one of Secrets Manager", "AWS_ENDPOINT_URL"}},
		{awstest.Fault{Status: 200, Body: `{"SecretString":17,"x":"CANARY"}`}, nil, true, nil},
		{awstest.Fault{Status: 200, Body: `{"SecretString":"` + strings.Repeat("CANARY", 1<<18) + `"}`}, nil, true, []string{"more than 1048576 bytes"}},
		{awstest.Fault{Status: 200, Body: `{}`}, nil, false, []string{"neither text nor bytes"}},
	} {
		t.Run(fmt.Sprint(c.fault.Status, c.says), func(t *testing.T) {
			sm := onWire(t)
			sm.Put(secretName, oldKey)
			sm.Fail(c.fault)
			_, err := newSource(t, secretName, nil).Retrieve(t.Context())
			wantError(t, err, c.target, c.says...)
			if transient(err) != c.transient {
				t.Errorf("%v: Transient is %t", err, !c.transient)
			}
		})
	}
}

func TestRefusalsCarryTheCodeOfAWS(t *testing.T) {
	sm := onWire(t)
	sm.Fail(awstest.Fault{Status: 400, Type: "AccessDeniedException"})
	_, err := newSource(t, secretName, nil).Retrieve(t.Context())
	api := smithy.APIError(nil)
	if !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
		t.Errorf("%v: holds no smithy.APIError with the code", err)
	}
}

func TestARefusedConnectionIsTransient(t *testing.T) {
	onWire(t)
	closed := httptest.NewServer(nil)
	closed.Close()
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", closed.URL)
	_, err := newSource(t, secretName, nil).Retrieve(t.Context())
	wantError(t, err, nil, "refused", "VPC")
	if !transient(err) {
		t.Errorf("%v: not transient", err)
	}
}

// A region that was mistyped is a host that does not exist.
func TestAWrongRegionNamesTheVariable(t *testing.T) {
	sm := onWire(t)
	client := secretsmanager.New(secretsmanager.Options{
		Region: "eu-wset-1", RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(sm.Identity.AccessKeyID, "CANARY", ""),
		HTTPClient: &http.Client{Transport: trip(func(r *http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: r.URL.Host, IsNotFound: true}}
		})},
	})
	_, err := newSource(t, secretName, &awssecretsmanager.Options{Client: client}).Retrieve(t.Context())
	wantError(t, err, nil, "DNS: secretsmanager.eu-wset-1.amazonaws.com cannot be resolved", "check the region in AWS_REGION")
}

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNoCredentialFollowsARedirect(t *testing.T) {
	onWire(t)
	stranger := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server was asked, with a token: %t", r.Header.Get("X-Amz-Security-Token") != "")
	}))
	defer stranger.Close()
	moved := httptest.NewServer(http.RedirectHandler(stranger.URL, http.StatusTemporaryRedirect))
	defer moved.Close()
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", moved.URL)
	_, err := newSource(t, secretName, nil).Retrieve(t.Context())
	wantError(t, err, nil)
}

// What a secret may hold by mistake. The Cache refuses what the Source lets pass.
func TestBadSecretsAreRefusedWithoutShowingThem(t *testing.T) {
	for _, c := range []struct {
		name, field string
		text        string
		binary      []byte
		target      error
		says        string
	}{
		{"empty", "", "", nil, nil, "it is empty"},
		{"binary", "", "", []byte("CANARY\x00\xff\xfe"), nil, "control character"},
		{"a document without a field", "", `{"apiKey":"sk-CANARY"}`, nil, nil, "name the field"},
		{"a document that lacks the field", "key", `{"apiKey":"sk-CANARY"}`, nil, credential.ErrNotFound, `field "key"`},
		{"a number", "apiKey", `{"apiKey":12345,"x":"CANARY"}`, nil, nil, "is a number, not a string"},
		{"an object", "/a", `{"a":{"b":"CANARY"}}`, nil, nil, "is an object, not a string"},
		{"no document", "apiKey", "sk-CANARY", nil, nil, "not a JSON document"},
		{"half a document", "apiKey", `{"apiKey":"sk-CANARY"`, nil, nil, "not a JSON document"},
		{"an empty field", "apiKey", `{"apiKey":""}`, nil, nil, `field "apiKey" is empty`},
		{"two lines", "", "sk-CANARY-1\nsk-CANARY-2\n", nil, nil, "a line break"},
		{"64 KiB", "", strings.Repeat("CANARY__", 8192), nil, nil, "65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sm := onWire(t)
			if c.binary != nil {
				sm.PutBinary(secretName, c.binary)
			} else {
				sm.Put(secretName, c.text)
			}
			cache, err := credential.NewCache(newSource(t, secretName, &awssecretsmanager.Options{Field: c.field}), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = cache.Retrieve(t.Context())
			wantError(t, err, c.target, c.says)
		})
	}
}

func TestTheSDKLogsNothing(t *testing.T) {
	sm := awstest.NewSecretsManager()
	sm.Put(secretName, oldKey)
	var log bytes.Buffer
	id := sm.Identity
	loud := secretsmanager.New(secretsmanager.Options{
		Region: sm.Region, BaseEndpoint: aws.String("https://secretsmanager.test"),
		Credentials:   credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, id.SessionToken),
		HTTPClient:    &http.Client{Transport: sm},
		ClientLogMode: aws.LogResponseWithBody | aws.LogRequestWithBody | aws.LogRetries,
		Logger:        logging.NewStandardLogger(&log),
	})
	if _, err := newSource(t, secretName, &awssecretsmanager.Options{Client: loud}).Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Errorf("the SDK logged %d bytes of a read", log.Len())
	}
}
