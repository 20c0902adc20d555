package awsauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault/awsauth"
)

// keys are what a role has. That Vault and STS accept the signature is tested
// in internal/testing/vaulttest.
var keys = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "CANARY-secret-key", SessionToken: "CANARY-session"}

func config(creds aws.Credentials, err error) *aws.Config {
	return &aws.Config{Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, err })}
}

// vault records the login.
func vault(t *testing.T) (*api.Client, *map[string]string, *string) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "VAULT_") || strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	body, path := map[string]string{}, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		_ = json.NewDecoder(r.Body).Decode(&body)
		fmt.Fprint(w, `{"auth":{"client_token":"hvs.CANARY"}}`)
	}))
	t.Cleanup(server.Close)
	cfg := api.DefaultConfig()
	cfg.Address = server.URL
	client, err := api.NewClient(cfg)
	if err != nil {
		t.Fatal("no client")
	}
	return client, &body, &path
}

func TestLoginSendsASignedRequestAndNoSecret(t *testing.T) {
	for region, want := range map[string]struct{ url, scope string }{
		"":               {"https://sts.amazonaws.com/", "/us-east-1/sts/aws4_request"},
		"eu-central-1":   {"https://sts.eu-central-1.amazonaws.com/", "/eu-central-1/sts/aws4_request"},
		"cn-north-1":     {"https://sts.cn-north-1.amazonaws.com.cn/", "/cn-north-1/sts/aws4_request"},
		"us-gov-east-1":  {"https://sts.us-gov-east-1.amazonaws.com/", "/us-gov-east-1/sts/aws4_request"},
		"ap-southeast-2": {"https://sts.ap-southeast-2.amazonaws.com/", "/ap-southeast-2/sts/aws4_request"},
	} {
		client, body, path := vault(t)
		auth, err := awsauth.New("app", &awsauth.Options{Config: config(keys, nil), Region: region, ServerID: "vault.example.com", Mount: "/team/aws/"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := auth.Login(t.Context(), client); err != nil {
			t.Fatalf("Login: %v", err)
		}
		decode := func(name string) string {
			b, err := base64.StdEncoding.DecodeString((*body)[name])
			if err != nil {
				t.Errorf("%s is not base64", name)
			}
			return string(b)
		}
		var headers http.Header
		if err := json.Unmarshal([]byte(decode("iam_request_headers")), &headers); err != nil {
			t.Fatal("the headers are not JSON")
		}
		signed := headers.Get("Authorization")
		switch {
		case *path != "/v1/auth/team/aws/login" || (*body)["role"] != "app" || (*body)["iam_http_request_method"] != "POST":
			t.Errorf("%s: another login: %s", region, *path)
		case decode("iam_request_url") != want.url:
			t.Errorf("%s: it is for %s", region, decode("iam_request_url"))
		case decode("iam_request_body") != "Action=GetCallerIdentity&Version=2011-06-15":
			t.Errorf("%s: another request", region)
		case !strings.Contains(signed, want.scope) || !strings.Contains(signed, "x-vault-aws-iam-server-id"):
			t.Errorf("%s: the signature is for another region, or leaves the server id out", region)
		case headers.Get("X-Amz-Security-Token") == "" || strings.Contains(fmt.Sprint(headers, *body), keys.SecretAccessKey):
			t.Errorf("%s: no session token, or the secret key itself", region)
		}
	}
}

func TestLoginWithoutCredentialsSaysSoAndQuotesNothing(t *testing.T) {
	client, _, path := vault(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		cfg  *aws.Config
		says string
	}{
		"an error": {t.Context(), config(aws.Credentials{}, errors.New("CANARY of a metadata service")), "could not get AWS credentials"},
		"no keys":  {t.Context(), config(aws.Credentials{}, nil), "no AWS credentials"},
		"canceled": {canceled, config(aws.Credentials{}, errors.New("CANARY")), "context canceled"},
	} {
		auth, err := awsauth.New("", &awsauth.Options{Config: c.cfg})
		if err != nil {
			t.Fatal(err)
		}
		_, err = auth.Login(c.ctx, client)
		var se *credential.SourceError
		if !errors.As(err, &se) || !se.Transient || !strings.Contains(err.Error(), c.says) || strings.Contains(fmt.Sprintf("%+v", se), "CANARY") {
			t.Errorf("%s: the error is missing, of another kind, or quotes a secret", name)
		}
	}
	if *path != "" {
		t.Error("Vault was asked without credentials")
	}
	if _, err := (*awsauth.Auth)(nil).Login(t.Context(), client); err == nil {
		t.Error("the nil Auth logs in")
	}
}

func TestTheDefaultConfigurationIsLoadedAtTheFirstLogin(t *testing.T) {
	client, body, _ := vault(t)
	auth, err := awsauth.New("app", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFROMENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "CANARY-secret-key")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	if _, err := auth.Login(t.Context(), client); err != nil {
		t.Fatalf("Login: %v", err)
	}
	headers, _ := base64.StdEncoding.DecodeString((*body)["iam_request_headers"])
	if !strings.Contains(string(headers), "AKIDFROMENV") {
		t.Error("it is signed by somebody else")
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if strings.Contains(fmt.Sprintf(verb, auth), "CANARY") {
			t.Errorf("%s shows the secret key", verb)
		}
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	for name, o := range map[string]awsauth.Options{
		"region":    {Region: "evil.example.com/?"},
		"server id": {ServerID: "a\r\nX: y"},
		"mount":     {Mount: "../sys"},
		"config":    {Config: &aws.Config{}},
	} {
		if _, err := awsauth.New("app", &o); err == nil {
			t.Errorf("New took the %s", name)
		}
	}
}
