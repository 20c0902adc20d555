package vaulttest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/credential/hashivault/awsauth"
	"github.com/latchkey-go/latchkey/internal/testing/vaulttest"
)

// wrap has Vault wrap a secret id and writes the wrapping token to file.
func wrap(t *testing.T, s *vaulttest.Server, path, file string) {
	t.Helper()
	client := s.Client("")
	client.SetWrappingLookupFunc(func(string, string) string { return "60s" })
	secret, err := client.Logical().Write(path, map[string]any{})
	if err != nil {
		t.Fatalf("wrap: %v", err)
	}
	if err := os.WriteFile(file, []byte(secret.WrapInfo.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAWrappedSecretIDServesLaterLoginsAndTheNextFile(t *testing.T) {
	s := start(t)
	auth := role(t, s, nil)
	file := filepath.Join(t.TempDir(), "wrapped")
	auth = &hashivault.AppRole{RoleID: auth.RoleID, SecretIDFile: file, Wrapped: true}
	wrap(t, s, "auth/approle/role/app/secret-id", file)
	src := source(t, s, "secret/openai", &hashivault.Options{Auth: auth})
	for range 3 {
		wants(t, src, key(0))
		revokeTokens(t, s)
	}
	wrap(t, s, "auth/approle/role/app/secret-id", file)
	wants(t, src, key(0))
	if logins, unwraps := s.Count(login), s.Count("sys/wrapping/unwrap"); logins != 4 || unwraps != 2 {
		t.Errorf("%d logins, %d secret ids unwrapped; want 4 and 2", logins, unwraps)
	}
}

func TestAWrappedSecretIDThatSomebodyElseUsedIsReportedAsAnAttack(t *testing.T) {
	s := start(t)
	auth := role(t, s, nil)
	file := filepath.Join(t.TempDir(), "wrapped")
	attacked := func() *hashivault.Source {
		return source(t, s, "secret/openai", &hashivault.Options{Auth: &hashivault.AppRole{RoleID: auth.RoleID, SecretIDFile: file, Wrapped: true}})
	}
	wrap(t, s, "auth/approle/role/app/secret-id", file)
	wants(t, attacked(), key(0))                                                                                    // the thief
	refuses(t, attacked(), "unwrap the secret id", "was used before, or has expired", "somebody has the secret id") // the owner
	// The thief wraps what was in it again: that is not where Vault wraps one.
	wrap(t, s, "sys/wrapping/wrap", file)
	refuses(t, attacked(), "does not wrap a secret id", "attack")
}

func TestAWrongSecretIDSaysSo(t *testing.T) {
	s := start(t)
	auth := role(t, s, nil)
	refuses(t, source(t, s, "secret/openai", &hashivault.Options{Auth: &hashivault.AppRole{RoleID: auth.RoleID, SecretID: credential.NewSecret("CANARY")}}),
		"log in by approle: status 400: invalid", "check the role")
	refuses(t, source(t, s, "secret/openai", &hashivault.Options{Auth: &hashivault.AppRole{RoleID: "r", Mount: "elsewhere"}}), "log in by approle", "status 403")
}

// userpass is a login of somebody else's making: what HashiCorp's packages
// below vault/api/auth have in common.
type userpass struct{ name, password string }

func (u userpass) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	return client.Logical().WriteWithContext(ctx, "auth/userpass/login/"+u.name, map[string]any{"password": u.password})
}

func TestALoginOfSomebodyElsesMakingWorks(t *testing.T) {
	s := start(t)
	s.Enable("userpass", "userpass")
	s.Write("auth/userpass/users/dev", map[string]any{"password": "CANARY-password", "token_policies": "openai-read"})
	src := source(t, s, "secret/openai", &hashivault.Options{Auth: userpass{"dev", "CANARY-password"}})
	for range 3 {
		wants(t, src, key(0))
	}
	if n := s.Count("auth/userpass/login/dev"); n != 1 {
		t.Errorf("%d logins", n)
	}
	refuses(t, source(t, s, "secret/openai", &hashivault.Options{Auth: userpass{"dev", "CANARY-wrong"}}), "status 400: invalid username or password")
}

func TestJWTsAreReadAgainAtEachLogin(t *testing.T) {
	s := start(t)
	s.Enable("jwt", "jwt")
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&signing.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s.Write("auth/jwt/config", map[string]any{"jwt_validation_pubkeys": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))})
	s.Write("auth/jwt/role/app", map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "token_policies": "openai-read"})
	file := filepath.Join(t.TempDir(), "jwt")
	issue := func(aud string) {
		if err := os.WriteFile(file, []byte(jwt(t, signing, aud)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	issue("somebody else")
	src := source(t, s, "secret/openai", &hashivault.Options{Auth: &hashivault.JWT{Role: "app", TokenFile: file}})
	refuses(t, src, "log in by jwt: status 400")
	issue("vault")
	wants(t, src, key(0))
}

func jwt(t *testing.T, signing *ecdsa.PrivateKey, aud string) string {
	t.Helper()
	part := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	now := time.Now().Unix()
	text := part(map[string]string{"alg": "ES256", "typ": "JWT"}) + "." +
		part(map[string]any{"sub": "pod", "aud": aud, "iat": now, "nbf": now - 5, "exp": now + 300})
	sum := sha256.Sum256([]byte(text))
	r, ss, err := ecdsa.Sign(rand.Reader, signing, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	ss.FillBytes(sig[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

var awsKeys = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "CANARY-aws-secret", SessionToken: "CANARY-aws-session"}

// sts checks the signature of a forwarded GetCallerIdentity, as AWS does.
func sts(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sum := fmt.Sprintf("%x", sha256.Sum256(body))
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil {
			t.Error("the request has no date")
		}
		again, _ := http.NewRequest(r.Method, "https://"+r.Host+"/", strings.NewReader(string(body)))
		for _, name := range []string{"Content-Type", "X-Vault-Aws-Iam-Server-Id"} {
			if v := r.Header.Get(name); v != "" {
				again.Header.Set(name, v)
			}
		}
		if err := v4.NewSigner().SignHTTP(r.Context(), awsKeys, again, sum, "sts", "us-east-1", at); err != nil {
			t.Error("the request cannot be signed again")
		}
		w.Header().Set("Content-Type", "text/xml")
		if again.Header.Get("Authorization") != r.Header.Get("Authorization") || r.Host != "sts.amazonaws.com" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>")
			return
		}
		fmt.Fprint(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>`+
			`<Arn>arn:aws:sts::123456789012:assumed-role/fn/session</Arn><UserId>AROAEXAMPLE:session</UserId><Account>123456789012</Account>`+
			`</GetCallerIdentityResult></GetCallerIdentityResponse>`)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestAWSIdentityLogsIn(t *testing.T) {
	s := start(t)
	s.Enable("aws", "aws")
	s.Write("auth/aws/config/client", map[string]any{
		"sts_endpoint": sts(t).URL, "sts_region": "us-east-1", "iam_server_id_header_value": "vault.example.com",
	})
	s.Write("auth/aws/role/app", map[string]any{
		"auth_type": "iam", "bound_iam_principal_arn": "arn:aws:iam::123456789012:role/fn",
		"resolve_aws_unique_ids": false, "token_policies": "openai-read",
	})
	provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return awsKeys, nil })
	from := func(id string) *hashivault.Source {
		auth, err := awsauth.New("app", &awsauth.Options{Config: &aws.Config{Credentials: provider}, ServerID: id})
		if err != nil {
			t.Fatal(err)
		}
		return source(t, s, "secret/openai", &hashivault.Options{Auth: auth})
	}
	wants(t, from("vault.example.com"), key(0))
	refuses(t, from("vault.example.org"), "log in by", "status 400")
}
