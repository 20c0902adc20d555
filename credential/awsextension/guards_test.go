package awsextension_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsextension"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Outside of Lambda, and where nothing configures the extension, that nobody
// listens means that it is not used here. Elsewhere it is an outage.
func TestNobodyOnTheDefaultPortIsUnavailableOutsideOfLambda(t *testing.T) {
	for name, c := range map[string]struct {
		variable, value string
		number          syscall.Errno
		target          error
		transient       bool
		says            string
	}{
		"elsewhere":           {"", "", syscall.ECONNREFUSED, credential.ErrUnavailable, false, "nobody listens on port 2773"},
		"in Lambda":           {"AWS_LAMBDA_FUNCTION_NAME", "f", syscall.ECONNREFUSED, nil, true, "no connection to localhost"},
		"a port is named":     {"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "2774", syscall.ECONNREFUSED, nil, true, "no connection to localhost"},
		"for another reason":  {"", "", syscall.EMFILE, nil, true, "no connection to localhost"},
		"a network that ends": {"", "", syscall.ENETUNREACH, nil, true, "no connection to localhost"},
	} {
		t.Run(name, func(t *testing.T) {
			quiet(t)
			t.Setenv("AWS_SESSION_TOKEN", "CANARY-token")
			if c.variable != "" {
				t.Setenv(c.variable, c.value)
			}
			_, err := newSource(t, &awsextension.Options{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: c.number}
			})}).Retrieve(t.Context())
			wantError(t, err, c.target, c.transient, c.says, "add the layer")
		})
	}
}

// Who pastes what the error says into a policy gets the ARN that was configured,
// and is not shown an empty region.
func TestTheAdviceNamesTheARN(t *testing.T) {
	const arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:prod/openai-AbCdEf"
	for _, c := range []struct{ id, region, want string }{
		{arn, "eu-west-1", "allow secretsmanager:GetSecretValue on " + arn + " in"},
		{"prod/openai", "eu-west-1", "arn:aws:secretsmanager:eu-west-1:ACCOUNT:secret:prod/openai-??????"},
		{"prod/openai", "", "arn:aws:secretsmanager:REGION:ACCOUNT:secret:prod/openai-??????"},
	} {
		ext := start(t)
		t.Setenv("AWS_REGION", c.region)
		ext.Fail(awstest.Fault{Status: 400, Body: "AccessDeniedException: CANARY"})
		src, err := awsextension.New(c.id, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = src.Retrieve(t.Context())
		wantError(t, err, nil, false, c.want)
	}
	const parameterARN = "arn:aws:ssm:eu-north-1:123456789012:parameter/prod/openai"
	for _, c := range []struct{ id, region, want string }{
		{parameterARN, "eu-west-1", "allow ssm:GetParameter on " + parameterARN + " in"},
		{parameterName, "", "arn:aws:ssm:REGION:ACCOUNT:parameter" + parameterName},
	} {
		ext := startWithParameters(t)
		t.Setenv("AWS_REGION", c.region)
		ext.Fail(awstest.Fault{Status: 400, Body: "AccessDeniedException: CANARY"})
		src, err := awsextension.NewParameter(c.id, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = src.Retrieve(t.Context())
		wantError(t, err, nil, false, c.want)
	}
}

// A label is what somebody has put on a version, also on one that is older than
// the latest that was read.
func TestALabelOfAnOlderVersionIsNotTakenForAnOldCopy(t *testing.T) {
	ext := startWithParameters(t)
	ext.Parameters.Put(parameterName, oldKey)
	ext.Parameters.Put(parameterName, newKey)
	ext.Parameters.Label(parameterName, "second", 1)
	src := newParameter(t, &awsextension.Options{StandbyStage: "second"})
	if v, err := src.Retrieve(t.Context()); err != nil || v.Secret.Reveal() != newKey {
		t.Fatalf("version %q, %v", v.Version, err)
	}
	for range 2 {
		if v, err := src.Standby().Retrieve(t.Context()); err != nil || v.Secret.Reveal() != oldKey || v.Version != "1" {
			t.Errorf("the standby is version %q, %v; want 1", v.Version, err)
		}
	}
	for _, q := range ext.Queries()[1:] {
		if !strings.Contains(q, "label=second") {
			t.Errorf("asked %q for the standby", q)
		}
	}
}

// A token that is missing or malformed must not lead to a request without one,
// whose refusal would hide the reason.
func TestWithoutATokenNothingIsAsked(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		token, file string
		target      error
		says        string
	}{
		"none":            {"", filepath.Join(dir, "none"), credential.ErrUnavailable, "there is no token"},
		"the agent's own": {"", "", credential.ErrUnavailable, awsextension.DefaultTokenFile},
		"no file":         {"", dir, nil, "not a regular file"},
		"two lines":       {"CANARY\nCANARY", "", nil, "the token in AWS_SESSION_TOKEN is empty or malformed"},
		"not ASCII":       {"CANARY\u00e9", "", nil, "the token in AWS_SESSION_TOKEN is empty or malformed"},
		"huge":            {strings.Repeat("CANARY", 2000), "", nil, "the token in AWS_SESSION_TOKEN is empty or malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(awsextension.DefaultTokenFile); err == nil && c.target != nil {
				t.Skip("an agent runs here")
			}
			ext := start(t)
			t.Setenv("AWS_SESSION_TOKEN", c.token)
			_, err := newSource(t, &awsextension.Options{TokenFile: c.file}).Retrieve(t.Context())
			wantError(t, err, c.target, false, c.says)
			if n := len(ext.Queries()); n != 0 {
				t.Errorf("%d requests without a token", n)
			}
		})
	}
}

// Versions are asked for by number, the next one and the latest that was seen. An
// outage there is one of the read: what the extension has kept may be the key
// that was rejected.
func TestAnOutageInMidReadGivesNoOlderParameter(t *testing.T) {
	for _, broken := range []string{"2", "3"} {
		ext := startWithParameters(t)
		ext.Parameters.Put(parameterName, oldKey)
		down := false
		src := newParameter(t, &awsextension.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if down && r.URL.Query().Get("version") == broken {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
			}
			return http.DefaultTransport.RoundTrip(r)
		})})
		if _, err := src.Retrieve(t.Context()); err != nil { // the extension keeps it
			t.Fatal(err)
		}
		ext.Parameters.Put(parameterName, newKey)
		if v, err := src.Renew(t.Context(), credential.Rejection{}); err != nil || v.Version != "2" {
			t.Fatalf("version %q, %v", v.Version, err)
		}
		down = true
		_, err := src.Renew(t.Context(), credential.Rejection{})
		wantError(t, err, nil, true, "no connection to localhost")
	}
}

func TestAnErrorSaysWhichVersionWasAskedFor(t *testing.T) {
	for says, opts := range map[string]*awsextension.Options{
		`read "prod/openai" version "a1b2c3d4-0000-4000-8000-000000000001":`: {Version: "a1b2c3d4-0000-4000-8000-000000000001"},
		`read "prod/openai" stage "AWSPREVIOUS":`:                            {Stage: "AWSPREVIOUS"},
		`read "prod/openai":`: nil,
	} {
		ext := start(t)
		ext.Fail(awstest.Fault{Status: 500})
		_, err := newSource(t, opts).Retrieve(t.Context())
		wantError(t, err, nil, true, says)
	}
}
