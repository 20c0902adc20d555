package auto_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

// A world is all that an environment can ask: Azure, OpenAI and the metadata
// address in memory, because their addresses are fixed; AWS, Vault and the
// extension on a loopback port, as the environment can name them. It notes who
// was asked.
type world struct {
	*httptest.Server
	dir string
	sm  *awstest.SecretsManager
	ps  *awstest.ParameterStore
	ext *awstest.Extension
	// machine is what answers at the metadata addresses: "azure", "ec2",
	// "gcp", or nothing.
	machine string
	// hang makes what would not answer at all hang.
	hang bool

	mu    sync.Mutex
	asked []string
}

const (
	smKey    = "sk-CANARY-secretsmanager"
	vaultKey = "sk-CANARY-vault"
	token    = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJDQU5BUlkiOiJ0b2tlbiBvZiBFbnRyYSIsImF1ZCI6Imh0dHBzOi8vdmF1bHQuYXp1cmUubmV0In0.CANARYsignature0123456789abcdef"
)

func newWorld(t testing.TB) *world {
	t.Helper()
	// Not t.TempDir: the name of the test, with its comma, would be in it.
	dir, err := os.MkdirTemp("", "world")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &world{sm: awstest.NewSecretsManager(), ps: awstest.NewParameterStore(), dir: dir}
	w.sm.Put("prod/openai", smKey)
	w.ps.Put("/prod/openai", "sk-CANARY-parameter")
	w.ext = awstest.NewExtension(w.sm)
	w.ext.Parameters = w.ps
	w.Server = httptest.NewServer(http.HandlerFunc(w.loopback))
	t.Cleanup(w.Close)
	for name, text := range map[string]string{
		"key": "sk-CANARY-file\n", "token": jwt(), ".vault-token": "hvs.CANARY", "empty": "",
		"helper": "#!/bin/sh\necho sk-CANARY-helper\n", "broken": "#!/bin/sh\necho CANARY >&2\nexit 3\n",
	} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// jwt is a token that expires in an hour. Nobody verifies it here.
func jwt() string {
	part := func(v any) string {
		data, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	return part(map[string]string{"alg": "RS256"}) + "." +
		part(map[string]any{"exp": time.Now().Add(time.Hour).Unix(), "aud": "https://api.openai.com/v1", "sub": "s"}) + ".CANARY"
}

func (w *world) note(who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.asked, who) {
		w.asked = append(w.asked, who)
	}
}

// who returns who was asked since the last call.
func (w *world) who() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.asked)
	s := strings.Join(w.asked, " ")
	w.asked = nil
	return s
}

func (w *world) setenv(t testing.TB, env map[string]string) {
	t.Helper()
	u, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$DIR", w.dir, "$URL", w.URL, "$PORT", u.Port())
	for name, value := range env {
		t.Setenv(name, fill.Replace(value))
	}
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v)
}

func (w *world) loopback(rw http.ResponseWriter, r *http.Request) {
	id := w.sm.Identity
	keys := map[string]string{"Code": "Success", "AccessKeyId": id.AccessKeyID, "SecretAccessKey": id.SecretAccessKey, "Token": id.SessionToken,
		"Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/latest/"):
		w.note("ec2")
		if w.machine == "ec2" {
			rw.Header().Set("Server", "EC2ws")
		}
		switch {
		case w.machine != "ec2":
			if w.hang {
				<-r.Context().Done()
				return
			}
			http.NotFound(rw, r)
		case strings.HasSuffix(path, "/token"):
			rw.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			_, _ = io.WriteString(rw, "token")
		case strings.HasSuffix(path, "/security-credentials/"):
			_, _ = io.WriteString(rw, "role")
		default:
			answer(rw, keys)
		}
	case path == "/ecs":
		w.note("ecs")
		answer(rw, keys)
	case strings.HasPrefix(path, "/v1/"):
		w.note("vault")
		w.vault(rw, r, path)
	case path == "/secretsmanager/get", path == "/systemsmanager/parameters/get":
		w.note("extension")
		w.ext.ServeHTTP(rw, r)
	case strings.HasPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM."):
		w.note("parameterstore")
		w.ps.ServeHTTP(rw, r)
	case r.Header.Get("X-Amz-Target") != "":
		w.note("secretsmanager")
		w.sm.ServeHTTP(rw, r)
	default:
		w.note("sts")
		_, _ = fmt.Fprintf(rw, `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId>
<SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>`, id.AccessKeyID, id.SecretAccessKey, id.SessionToken, keys["Expiration"])
	}
}

func (w *world) vault(rw http.ResponseWriter, r *http.Request, path string) {
	switch {
	case strings.HasSuffix(path, "/login"):
		answer(rw, map[string]any{"auth": map[string]any{"client_token": "hvs.CANARY", "lease_duration": 3600, "renewable": true}})
	case r.Header.Get("X-Vault-Token") != "hvs.CANARY":
		rw.WriteHeader(http.StatusForbidden)
		answer(rw, map[string]any{"errors": []string{"permission denied"}})
	case strings.HasSuffix(path, "lookup-self"):
		answer(rw, map[string]any{"data": map[string]any{"ttl": 0}})
	case strings.HasPrefix(path, "/v1/sys/internal/ui/mounts/"):
		answer(rw, map[string]any{"data": map[string]any{"path": "secret/", "type": "kv", "options": map[string]string{"version": "2"}}})
	default:
		answer(rw, map[string]any{"data": map[string]any{"data": map[string]string{"key": vaultKey}, "metadata": map[string]any{"version": 7}}})
	}
}

var errNobody = errors.New("no route to host")

// RoundTrip answers for what has a fixed address.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	tokenOf := map[string]any{"access_token": token, "expires_in": 3600, "expires_on": fmt.Sprint(time.Now().Add(time.Hour).Unix()),
		"token_type": "Bearer", "resource": "r", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
	const entra = "https://login.microsoftonline.com/tenant"
	switch host := r.URL.Host; {
	case w.Server != nil && host == w.Listener.Addr().String(), strings.HasPrefix(r.URL.Path, "/latest/"):
		here := r.Clone(r.Context())
		here.Host = host
		if here.Body == nil {
			here.Body = http.NoBody
		}
		w.loopback(rec, here)
		if r.Context().Err() != nil {
			return nil, context.Cause(r.Context())
		}
	case strings.HasPrefix(host, "127.0.0.1:") && host != "127.0.0.1:41741": // another server of the test
		return http.DefaultTransport.RoundTrip(r)
	case host == "169.254.169.254":
		return w.metadata(rec, r, tokenOf)
	case host == "127.0.0.1:41741":
		w.note("identity")
		if r.URL.Query().Get("resource") == "api://openai" {
			tokenOf["access_token"] = jwt()
		}
		answer(rec, tokenOf)
	case host == "login.microsoftonline.com":
		w.note("entra")
		switch {
		case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
			answer(rec, map[string]string{"issuer": entra + "/v2.0", "authorization_endpoint": entra + "/authorize", "token_endpoint": entra + "/token"})
		case strings.Contains(r.URL.Path, "discovery"):
			answer(rec, map[string]any{"tenant_discovery_endpoint": entra + "/v2.0/.well-known/openid-configuration", "metadata": []any{}})
		default:
			answer(rec, tokenOf)
		}
	case strings.HasSuffix(host, ".vault.azure.net"):
		w.note("keyvault")
		if r.Header.Get("Authorization") != "Bearer "+token {
			rec.Header().Set("WWW-Authenticate", `Bearer authorization="`+entra+`", resource="https://vault.azure.net"`)
			rec.WriteHeader(http.StatusUnauthorized)
			break
		}
		answer(rec, map[string]any{"value": "sk-CANARY-keyvault", "id": "https://" + host + "/secrets/openai-key/0123456789abcdef0123456789abcdef"})
	case host == "auth.openai.com":
		w.note("openai")
		answer(rec, tokenOf)
	default:
		return nil, fmt.Errorf("a request to %s", host)
	}
	return rec.Result(), nil
}

// metadata answers for the metadata services of Azure and Google.
func (w *world) metadata(rec *httptest.ResponseRecorder, r *http.Request, tokenOf map[string]any) (*http.Response, error) {
	w.note("metadata")
	switch {
	case w.machine == "azure" && r.Header.Get("Metadata") != "true":
		rec.WriteHeader(http.StatusBadRequest)
		answer(rec, map[string]string{"error": "invalid_request"})
	case w.machine == "azure":
		answer(rec, tokenOf)
	case w.machine == "azure, no identity":
		rec.WriteHeader(http.StatusBadRequest)
		answer(rec, map[string]string{"error": "invalid_request", "error_description": "Identity not found"})
	case w.machine == "gcp" && r.Header.Get("Metadata-Flavor") == "Google":
		rec.Header().Set("Metadata-Flavor", "Google")
		_, _ = io.WriteString(rec, jwt())
	case w.machine != "":
		http.NotFound(rec, r)
	case w.hang:
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	default:
		return nil, errNobody
	}
	return rec.Result(), nil
}
