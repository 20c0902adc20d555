package awssecretsmanager_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

func TestAnEnvironmentThatLacksSomethingSaysWhat(t *testing.T) {
	id := awstest.Caller()
	keys := map[string]string{"AWS_ACCESS_KEY_ID": id.AccessKeyID, "AWS_SECRET_ACCESS_KEY": id.SecretAccessKey}
	const sso = `[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = dev
region = eu-west-1
[sso-session corp]
sso_start_url = https://corp.example
sso_region = eu-west-1
`
	for _, c := range []struct {
		name   string
		env    map[string]string
		config string
		id     string
		target error
		says   []string
	}{
		{name: "nothing at all", target: credential.ErrUnavailable, says: []string{"no region, no credentials", "AWS_PROFILE", "execution role"}},
		{name: "nothing, and an ARN", id: "arn:aws:secretsmanager:eu-west-1:1:secret:x", target: credential.ErrUnavailable, says: []string{"no instance role", "AWS_PROFILE"}},
		{name: "credentials without a region", env: keys, says: []string{"no region", "AWS_REGION", "ARN"}},
		{name: "a region without credentials", env: map[string]string{"AWS_REGION": "eu-west-1"}, says: []string{"no credentials", "AWS_PROFILE"}},
		{name: "no such profile", env: map[string]string{"AWS_PROFILE": "nobody"}, says: []string{`no AWS profile "nobody"`}},
		{name: "no session", env: map[string]string{"AWS_PROFILE": "dev"}, config: sso, says: []string{"session", "aws sso login"}},
		{name: "a malformed file", env: map[string]string{"AWS_REGION": "eu-west-1"}, config: "[profile dev\nCANARY", says: nil},
		{name: "a malformed variable", env: map[string]string{"AWS_MAX_ATTEMPTS": "CANARY"}, says: []string{"malformed", "aws configure list"}},
		{name: "half of a key", env: map[string]string{"AWS_REGION": "eu-west-1", "AWS_PROFILE": "half"},
			config: "[profile half]\nrole_arn = arn:aws:iam::1:role/CANARY\nsource_profile = gone\n", says: nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			noAWS(t)
			t.Setenv("HOME", t.TempDir())
			setenv(t, c.env)
			if c.config != "" {
				file := filepath.Join(t.TempDir(), "config")
				if err := os.WriteFile(file, []byte(c.config), 0o600); err != nil {
					t.Fatal(err)
				}
				t.Setenv("AWS_CONFIG_FILE", file)
			}
			if c.id == "" {
				c.id = secretName
			}
			_, err := newSource(t, c.id, nil).Retrieve(t.Context())
			wantError(t, err, c.target, c.says...)
		})
	}
}

func TestAFailureToConfigureIsNotKept(t *testing.T) {
	sm := onWire(t)
	sm.Put(secretName, oldKey)
	src := newSource(t, secretName, nil)
	t.Setenv("AWS_PROFILE", "nobody")
	if _, err := src.Retrieve(t.Context()); err == nil {
		t.Fatal("a profile that does not exist was accepted")
	}
	if err := os.Unsetenv("AWS_PROFILE"); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Retrieve(t.Context()); err != nil {
		t.Errorf("after the environment was mended: %v", err)
	}
}

// instance imitates the metadata service of an EC2 instance with a role.
func instance(t *testing.T, id awstest.Identity) *atomic.Int64 {
	t.Helper()
	var asked atomic.Int64
	const role = "/latest/meta-data/iam/security-credentials/"
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = w.Write([]byte("token"))
	})
	mux.HandleFunc("GET "+role, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("role")) })
	mux.HandleFunc("GET "+role+"role", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{
			"Code": "Success", "AccessKeyId": id.AccessKeyID, "SecretAccessKey": id.SecretAccessKey, "Token": id.SessionToken,
			"Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	setenv(t, map[string]string{"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.URL,
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""})
	return &asked
}

func TestAnInstanceRoleIsUsed(t *testing.T) {
	sm := onWire(t)
	sm.Put(secretName, oldKey)
	asked := instance(t, sm.Identity)
	if _, err := newSource(t, secretName, nil).Retrieve(t.Context()); err != nil || asked.Load() == 0 {
		t.Errorf("after %d requests for the role: %v", asked.Load(), err)
	}
}

// As in Kubernetes: a token in a file, which the token service exchanges. It has
// to be asked in some region, and the ARN names one.
func TestAWebIdentityNeedsNoRegionBesideTheARN(t *testing.T) {
	sm := onWire(t)
	sm.Put(secretName, oldKey)
	id := sm.Identity
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId>`+
			`<SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>`+
			`</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
			id.AccessKeyID, id.SecretAccessKey, id.SessionToken, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer sts.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("CANARY"), 0o600); err != nil {
		t.Fatal(err)
	}
	setenv(t, map[string]string{"AWS_ENDPOINT_URL_STS": sts.URL, "AWS_WEB_IDENTITY_TOKEN_FILE": token,
		"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r", "AWS_REGION": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""})
	src := newSource(t, sm.ARN(secretName), nil)
	if _, err := src.Retrieve(t.Context()); err != nil {
		t.Errorf("with a token: %v", err)
	}
	sts.Close()
	_, err := newSource(t, sm.ARN(secretName), nil).Retrieve(t.Context())
	wantError(t, err, nil, "could not get AWS credentials", "refused")
	if !transient(err) {
		t.Errorf("%v: not transient", err)
	}
}

func TestNobodyIsAskedForAnInstanceRoleOnAnotherPlatform(t *testing.T) {
	for _, marker := range []string{"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_RUNTIME_API", "IDENTITY_ENDPOINT", "FUNCTIONS_WORKER_RUNTIME"} {
		t.Run(marker, func(t *testing.T) {
			sm := onWire(t)
			asked := instance(t, sm.Identity)
			t.Setenv(marker, "something")
			_, err := newSource(t, secretName, nil).Retrieve(t.Context())
			wantError(t, err, nil, "no credentials")
			if asked.Load() != 0 {
				t.Error("the metadata service was asked")
			}
		})
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	type options = awssecretsmanager.Options
	for _, c := range []struct {
		id   string
		opts *options
		says string
	}{
		{"", nil, "empty"},
		{"sk-CANARY", nil, "starts like a key"},
		{"prod openai", nil, "character 5"},
		{strings.Repeat("x", 513), nil, "513"},
		{"arn:aws:s3:::bucket", nil, "ARN"},
		{"arn:aws:secretsmanager::1:secret:x", nil, "ARN"},
		{"arn:aws:secretsmanager:evil.example/:1:secret:x", nil, "region"},
		{"x", &options{Field: "/a~2"}, "Field"},
		{"x", &options{Stage: "AWS CURRENT"}, "Stage"},
		{"x", &options{Version: "1", Stage: "AWSPREVIOUS"}, "leave one of them out"},
		{"x", &options{StandbyField: "b"}, "needs Field"},
		{"x", &options{Field: "a", StandbyField: "a"}, "another key"},
		{"x", &options{StandbyStage: "AWSCURRENT"}, "read anyway"},
		{"x", &options{Client: (*secretsmanager.Client)(nil)}, "nil"},
	} {
		_, err := awssecretsmanager.New(c.id, c.opts)
		wantError(t, err, nil, c.says)
	}
}

func TestTheZeroSourceFailsAndNamesItself(t *testing.T) {
	var src awssecretsmanager.Source
	if _, err := src.Retrieve(t.Context()); err == nil {
		t.Error("Retrieve succeeded")
	}
	if _, err := (*awssecretsmanager.Source)(nil).Renew(t.Context(), credential.Rejection{}); err == nil {
		t.Error("Renew succeeded")
	}
	if src.Standby() != nil || src.String() != "awssecretsmanager" {
		t.Errorf("Standby %v, String %q", src.Standby(), src.String())
	}
}

// Printers by reflection follow every pointer, as spew and go-cmp do.
func TestNoReflectionFindsASecretInASource(t *testing.T) {
	sm := onWire(t)
	sm.Put(secretName, `{"a":"sk-CANARY-1","b":"sk-CANARY-2"}`)
	src := newSource(t, secretName, &awssecretsmanager.Options{Field: "a", StandbyField: "b", StandbyStage: awstest.Pending})
	if _, err := src.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if where := find(reflect.ValueOf(src), "src", map[uintptr]bool{}); where != "" {
		t.Errorf("a secret shows at %s", where)
	}
}

// find returns where a canary shows in v.
func find(v reflect.Value, at string, seen map[uintptr]bool) string {
	switch v.Kind() {
	case reflect.String:
		if strings.Contains(v.String(), "CANARY") {
			return at
		}
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() || v.Kind() == reflect.Pointer && seen[v.Pointer()] {
			return ""
		}
		if v.Kind() == reflect.Pointer {
			seen[v.Pointer()] = true
		}
		return find(v.Elem(), at, seen)
	case reflect.Struct:
		for i := range v.NumField() {
			if where := find(v.Field(i), at+"."+v.Type().Field(i).Name, seen); where != "" {
				return where
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if where := find(v.Index(i), at+"[]", seen); where != "" {
				return where
			}
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			if where := find(iter.Value(), at+"[]", seen); where != "" {
				return where
			}
		}
	}
	return ""
}
