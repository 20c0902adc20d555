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
	"github.com/aws/smithy-go"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

const iamARN = "arn:aws:ssm:eu-west-1:ACCOUNT:parameter/prod/openai"

func TestErrorsAreClassifiedByTheirTypeAndSayWhatToDo(t *testing.T) {
	// AWS answers with 400 to most of these.
	for _, c := range []struct {
		fault     awstest.Fault
		target    error
		transient bool
		says      []string
	}{
		{awstest.Fault{Status: 400, Type: "ParameterNotFound"}, credential.ErrNotFound, false, []string{`read "/prod/openai" in eu-west-1`, "leading slash, the region"}},
		{awstest.Fault{Status: 400, Type: "ParameterVersionNotFound"}, credential.ErrNotFound, false, []string{"get-parameter-history"}},
		{awstest.Fault{Status: 400, Type: "AccessDeniedException", Message: "User: arn:CANARY is not authorized to perform: ssm:GetParameter"}, nil, false, []string{"AccessDeniedException", "allow ssm:GetParameter on " + iamARN}},
		{awstest.Fault{Status: 400, Type: "AccessDeniedException", Message: "with an explicit deny in a service control policy"}, nil, false, []string{"denies", iamARN}},
		{awstest.Fault{Status: 400, Type: "AccessDeniedException", Message: "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access."}, nil, false, []string{"kms:Decrypt"}},
		{awstest.Fault{Status: 400, Type: "AccessDeniedException", Message: "not authorized to perform: kms:Decrypt"}, nil, false, []string{"kms:Decrypt"}},
		{awstest.Fault{Status: 400, Type: "InvalidKeyId"}, nil, false, []string{"InvalidKeyId", "kms:Decrypt", "enabled"}},
		{awstest.Fault{Status: 400, Type: "KMSInvalidStateException"}, nil, false, []string{"kms:Decrypt"}},
		{awstest.Fault{Status: 400, Type: "ValidationException"}, nil, false, []string{"malformed", "describe-parameters"}},
		{awstest.Fault{Status: 400, Type: "ThrottlingException", Message: "Rate exceeded"}, nil, true, []string{"ThrottlingException", "throttles"}},
		{awstest.Fault{Status: 500, Type: "InternalServerError"}, nil, true, []string{"InternalServerError", "AWS is at fault"}},
		{awstest.Fault{Status: 503}, nil, true, []string{"status 503", "not one of Systems Manager"}},
		{awstest.Fault{Status: 502, Body: "<html>CANARY</html>"}, nil, true, nil},
		{awstest.Fault{Status: 400, Type: "ExpiredTokenException"}, nil, true, []string{"expired", "aws sso login"}},
		{awstest.Fault{Status: 400, Type: "UnrecognizedClientException"}, nil, false, []string{"AWS_ACCESS_KEY_ID"}},
		{awstest.Fault{Status: 400, Type: "sk-CANARY-1", Message: "sk-CANARY-1"}, nil, false, []string{"status 400", "not one of Systems Manager"}},
		{awstest.Fault{Status: 200, Body: "<html>CANARY</html>"}, nil, true, []string{"not one of Systems Manager", "AWS_ENDPOINT_URL"}},
		{awstest.Fault{Status: 200, Body: `{"Parameter":{"Value":"` + strings.Repeat("CANARY", 1<<18) + `"}}`}, nil, true, []string{"more than 1048576 bytes"}},
		{awstest.Fault{Status: 200, Body: `{}`}, nil, false, []string{"no value"}},
		{awstest.Fault{Status: 200, Body: `{"Parameter":{"Name":"CANARY"}}`}, nil, false, []string{"no value"}},
	} {
		t.Run(fmt.Sprint(c.fault.Status, c.says), func(t *testing.T) {
			ps := onWire(t)
			ps.Put(parameter, oldKey)
			ps.Fail(c.fault)
			_, err := newSource(t, parameter, nil).Retrieve(t.Context())
			wantError(t, err, c.target, c.says...)
			if transient(err) != c.transient {
				t.Errorf("%v: Transient is %t", err, !c.transient)
			}
		})
	}
}

func TestRefusalsCarryTheCodeOfAWS(t *testing.T) {
	ps := onWire(t)
	ps.Fail(awstest.Fault{Status: 400, Type: "AccessDeniedException"})
	_, err := newSource(t, parameter, nil).Retrieve(t.Context())
	api := smithy.APIError(nil)
	if !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
		t.Errorf("%v: holds no smithy.APIError with the code", err)
	}
}

func TestARefusedConnectionIsTransientAndNamesTheEndpoint(t *testing.T) {
	onWire(t)
	closed := httptest.NewServer(nil)
	closed.Close()
	t.Setenv("AWS_ENDPOINT_URL_SSM", closed.URL)
	_, err := newSource(t, parameter, nil).Retrieve(t.Context())
	wantError(t, err, nil, "refused", "endpoint for ssm")
	if !transient(err) {
		t.Errorf("%v: not transient", err)
	}
}

func TestNoCredentialFollowsARedirect(t *testing.T) {
	onWire(t)
	stranger := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server was asked, with a token: %t", r.Header.Get("X-Amz-Security-Token") != "")
	}))
	defer stranger.Close()
	moved := httptest.NewServer(http.RedirectHandler(stranger.URL, http.StatusTemporaryRedirect))
	defer moved.Close()
	t.Setenv("AWS_ENDPOINT_URL_SSM", moved.URL)
	_, err := newSource(t, parameter, nil).Retrieve(t.Context())
	wantError(t, err, nil)
}

func TestPlainHTTPToAnotherMachineIsRefusedUnlessAskedFor(t *testing.T) {
	ps := onWire(t)
	ps.Put(parameter, oldKey)
	t.Setenv("AWS_ENDPOINT_URL_SSM", "http://192.0.2.1")
	_, err := newSource(t, parameter, nil).Retrieve(t.Context())
	wantError(t, err, nil, "not this machine", "https")
	t.Setenv("AWS_ENDPOINT_URL_SSM", "http://ssm.test")
	_, err = newSource(t, parameter, &awsparameterstore.Options{Transport: ps}).Retrieve(t.Context())
	wantError(t, err, nil, "not this machine")
	v, err := newSource(t, parameter, &awsparameterstore.Options{Transport: ps, PlainHTTP: true, Scheme: credential.BearerToken}).Retrieve(t.Context())
	if err != nil || v.Scheme != credential.BearerToken {
		t.Errorf("a %v, %v", v.Scheme, err)
	}
	if n := ps.Reads(); n != 1 {
		t.Errorf("%d requests, want the one that was allowed", n)
	}
}

func TestAnARNSaysWhichRegionToAsk(t *testing.T) {
	ps := onWire(t)
	ps.Put(parameter, oldKey)
	arn := ps.ARN(parameter)
	for _, region := range []string{"us-east-1", ""} { // the signature is checked for eu-west-1
		t.Setenv("AWS_REGION", region)
		if _, err := newSource(t, arn, nil).Retrieve(t.Context()); err != nil {
			t.Errorf("AWS_REGION=%q: %v", region, err)
		}
	}
	t.Setenv("AWS_REGION", "")
	_, err := newSource(t, parameter, nil).Retrieve(t.Context())
	wantError(t, err, nil, "no region", "AWS_REGION", "ARN")
}

func TestNewRefusesNonsense(t *testing.T) {
	type options = awsparameterstore.Options
	for _, c := range []struct {
		id   string
		opts *options
		says string
	}{
		{"", nil, "empty"},
		{"/", nil, "1 to 1011"},
		{"sk-CANARY", nil, "starts like a key"},
		{"prod/openai", nil, "begins with one, as in /prod/openai"},
		{"/prod openai", nil, "character 6"},
		{"/prod/openai:3", nil, "an option of its own"},
		{"/" + strings.Repeat("x", 1011), nil, "1012"},
		{"arn:aws:secretsmanager:eu-west-1:1:secret:x", nil, "ARN"},
		{"arn:aws:ssm::1:parameter/x", nil, "ARN"},
		{"arn:aws:ssm:eu-west-1:1:document/x", nil, "ARN"},
		{"arn:aws:ssm:evil.example/:1:parameter/x", nil, "region"},
		{"x", &options{Field: "/a~2"}, "Field"},
		{"x", &options{Stage: "a b"}, "Stage is malformed"},
		{"x", &options{Stage: "a:1"}, "Stage is malformed"},
		{"x", &options{StandbyStage: "a:1"}, "StandbyStage is malformed"},
		{"x", &options{Version: "v1"}, "Version is not a number"},
		{"x", &options{Version: "1", Stage: "live"}, "Version pins a version and Stage follows one"},
		{"x", &options{StandbyField: "b"}, "needs Field"},
		{"x", &options{Field: "a", StandbyField: "a"}, "another key"},
		{"x", &options{Stage: "a", StandbyStage: "a"}, "read anyway"},
		{"x", &options{Client: (*ssm.Client)(nil)}, "nil"},
		{"x", &options{Client: store{}, Transport: http.DefaultTransport}, "no effect on a Client"},
		{"x", &options{Scheme: 7}, "unknown Scheme"},
		{"x", &options{Client: store{}, ExpiryPolicy: true}, "DescribeParameters"},
	} {
		_, err := awsparameterstore.New(c.id, c.opts)
		wantError(t, err, nil, c.says)
	}
}

func TestTheZeroSourceFailsAndNamesItself(t *testing.T) {
	var src awsparameterstore.Source
	if _, err := src.Retrieve(t.Context()); err == nil {
		t.Error("Retrieve succeeded")
	}
	if _, err := (*awsparameterstore.Source)(nil).Renew(t.Context(), credential.Rejection{}); err == nil {
		t.Error("Renew succeeded")
	}
	if src.Standby() != nil || src.String() != "awsparameterstore" {
		t.Errorf("Standby %v, String %q", src.Standby(), src.String())
	}
}

func TestAClientThatIsGivenSendsNothingInClearToAnotherMachine(t *testing.T) {
	ps := awstest.NewParameterStore()
	ps.Put(parameter, oldKey)
	id := ps.Identity
	own := ssm.New(ssm.Options{Region: ps.Region, BaseEndpoint: aws.String("http://ssm.test"), HTTPClient: &http.Client{Transport: ps},
		Credentials: credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, id.SessionToken)})
	_, err := newSource(t, parameter, &awsparameterstore.Options{Client: own}).Retrieve(t.Context())
	wantError(t, err, nil, "not this machine")
	if n := ps.Reads(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// As for a name below /aws/reference/secretsmanager/.
func TestAValueWithoutAVersionHasNone(t *testing.T) {
	ps := onWire(t)
	ps.Fail(awstest.Fault{Status: 200, Body: `{"Parameter":{"Value":"sk-CANARY"}}`})
	if v, err := newSource(t, parameter, nil).Retrieve(t.Context()); err != nil || v.Version != "" {
		t.Errorf("version %q, %v", v.Version, err)
	}
}
