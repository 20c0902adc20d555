package awsextension_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsextension"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

const parameterName = "/prod/openai"

// startWithParameters starts an extension that has parameters as well.
func startWithParameters(t *testing.T) *awstest.Extension {
	t.Helper()
	ext := start(t)
	ext.Parameters = awstest.NewParameterStore()
	return ext
}

func newParameter(t *testing.T, opts *awsextension.Options) *awsextension.Source {
	t.Helper()
	src, err := awsextension.NewParameter(parameterName, opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestSourceOfAParameterKeepsTheRules(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			ext := startWithParameters(t)
			ext.Parameters.Put(parameterName, secret)
			return credentialtest.Harness{
				Source:   always{newParameter(t, nil)},
				Rotate:   func(secret string) { ext.Parameters.Put(parameterName, secret) },
				Fail:     func() { ext.Fail(awstest.Fault{Status: 500}) },
				NotFound: func() { ext.Parameters.Delete(parameterName) },
				Hang:     func() { ext.Fail(awstest.Fault{Hang: true}) },
			}
		},
		Unavailable: func(t *testing.T) credential.Source {
			quiet(t)
			return newParameter(t, &awsextension.Options{TokenFile: filepath.Join(t.TempDir(), "none")})
		},
	})
}

// The extension of the test keeps what it has read forever, as the real one
// does for the 5 minutes that a rotation takes at most.
func TestARejectionGoesPastTheCacheOfTheExtensionForParametersToo(t *testing.T) {
	ext := startWithParameters(t)
	ext.Parameters.Put(parameterName, oldKey)
	api := clienttest.NewService(oldKey)
	c := newClient(t, newParameter(t, nil), api)
	call(t, c)
	for _, key := range []string{newKey, "sk-CANARY-3", "sk-CANARY-4"} {
		ext.Parameters.Put(parameterName, "sk-CANARY-never-current")
		ext.Parameters.Put(parameterName, key)
		api.Rotate(key)
		call(t, c)
		call(t, c)
	}
	if got := api.Stats().Unauthorized; got != 3 {
		t.Errorf("%d refusals for 3 rotations", got)
	}
}

func TestAPlainReadIsNeverOlderThanWhatWasSeen(t *testing.T) {
	ext := startWithParameters(t)
	ext.Parameters.Put(parameterName, oldKey)
	src := newParameter(t, nil)
	if _, err := src.Retrieve(t.Context()); err != nil { // the extension keeps it
		t.Fatal(err)
	}
	ext.Parameters.Put(parameterName, newKey)
	for i, read := range []func() (credential.Value, error){
		func() (credential.Value, error) { return src.Renew(t.Context(), credential.Rejection{}) },
		func() (credential.Value, error) { return src.Retrieve(t.Context()) },
		func() (credential.Value, error) { return src.Retrieve(t.Context()) },
	} {
		if v, err := read(); err != nil || v.Secret.Reveal() != newKey || v.Version != "2" || v.Fixed {
			t.Errorf("read %d: version %q, Fixed %t, %v", i, v.Version, v.Fixed, err)
		}
	}
}

func TestAParameterThatIsMadeAnewIsReadFromItsFirstVersion(t *testing.T) {
	ext := startWithParameters(t)
	ext.Parameters.Put(parameterName, oldKey)
	ext.Parameters.Put(parameterName, oldKey)
	src := newParameter(t, nil)
	if _, err := src.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	ext.Parameters.Delete(parameterName)
	ext.Parameters.Put(parameterName, newKey)
	ext.Forget()
	if v, err := src.Retrieve(t.Context()); err != nil || v.Secret.Reveal() != newKey || v.Version != "1" {
		t.Errorf("version %q, %v", v.Version, err)
	}
}

func TestTheParameterIsAskedForAsDocumented(t *testing.T) {
	ext := startWithParameters(t)
	ext.Parameters.Put(parameterName, `{"a":"sk-CANARY-1a","b":"sk-CANARY-1b"}`)
	ext.Parameters.Put(parameterName, `{"a":"sk-CANARY-2a"}`)
	ext.Parameters.Label(parameterName, "live", 1)
	for _, c := range []struct {
		opts          awsextension.Options
		secret, query string
		fixed         bool
	}{
		{awsextension.Options{Field: "a"}, "sk-CANARY-2a", "name=%2Fprod%2Fopenai&withDecryption=true", false},
		{awsextension.Options{Field: "a", Stage: "live"}, "sk-CANARY-1a", "label=live&name=%2Fprod%2Fopenai&withDecryption=true", false},
		{awsextension.Options{Field: "/b", Version: "1"}, "sk-CANARY-1b", "name=%2Fprod%2Fopenai&version=1&withDecryption=true", true},
	} {
		v, err := newParameter(t, &c.opts).Retrieve(t.Context())
		if err != nil || v.Secret.Reveal() != c.secret || v.Fixed != c.fixed {
			t.Errorf("%+v: Fixed %t, %v", c.opts, v.Fixed, err)
		}
		if q := ext.Queries(); q[len(q)-1] != c.query {
			t.Errorf("%+v: asked %q, want %q", c.opts, q[len(q)-1], c.query)
		}
	}
	if slices.ContainsFunc(ext.Queries(), func(q string) bool { return strings.Contains(q, "refreshNow") }) {
		t.Error("the extension has no refreshNow for parameters")
	}
}

func TestErrorsForParametersSayWhatToDo(t *testing.T) {
	const sdk = "operation error SSM: GetParameter, https response error StatusCode: 400, RequestID: CANARY, "
	for _, c := range []struct {
		status    int
		body      string
		target    error
		transient bool
		says      string
	}{
		{400, sdk + "ParameterNotFound: CANARY", credential.ErrNotFound, false, "leading slash"},
		{400, sdk + "ParameterVersionNotFound: CANARY", credential.ErrNotFound, false, "get-parameter-history"},
		{400, sdk + "api error AccessDeniedException: CANARY is not authorized", nil, false, "allow ssm:GetParameter on arn:aws:ssm:eu-west-1:ACCOUNT:parameter/prod/openai"},
		{400, sdk + "api error AccessDeniedException: The ciphertext refers to a customer master key that does not exist", nil, false, "kms:Decrypt"},
		{400, sdk + "InvalidKeyId: CANARY", nil, false, "kms:Decrypt"},
		{400, sdk + "ValidationException: CANARY", nil, false, "malformed"},
		{400, sdk + "ThrottlingException: Rate exceeded", nil, true, "throttles"},
		{404, "404 page not found", nil, false, "has secrets only"},
		{200, "<html>CANARY", nil, true, "not one of the extension"},
		{200, `{"SecretString":"CANARY"}`, nil, true, "not one of the extension"},
		{200, `{"Parameter":{}}`, nil, false, "no value"},
	} {
		quiet(t)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		at, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", at.Port())
		t.Setenv("AWS_SESSION_TOKEN", "CANARY")
		t.Setenv("AWS_REGION", "eu-west-1")
		_, err = newParameter(t, nil).Retrieve(t.Context())
		wantError(t, err, c.target, c.transient, c.says)
		server.Close()
	}
	if _, err := awsextension.NewParameter("prod/openai", nil); err == nil || !strings.Contains(err.Error(), "/prod/openai") {
		t.Errorf("a name without its slash: %v", err)
	}
}
