package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsextension"
	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/credential/execcommand"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// clean takes away what the developer's shell is logged in to.
func clean(t *testing.T) {
	awstest.NoAWS(t)
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		for _, prefix := range []string{"OPENAI_", "AZURE_", "VAULT_"} {
			if strings.HasPrefix(name, prefix) {
				t.Setenv(name, "")
			}
		}
	}
}

// settle gives each source a home: a service with keys of its own, and a store.
func (w *world) settle() {
	sm := awstest.NewSecretsManager()
	awstest.Setenv(w.t, sm.Identity.Env(sm.Region))
	down := func(f *awstest.SecretsManager) func(bool) {
		return func(on bool) {
			if on {
				f.Fail(awstest.Fault{Status: 503, Type: "InternalServiceError", Message: "try again"})
			} else {
				f.Heal()
			}
		}
	}
	smServer := httptest.NewServer(sm)
	w.t.Cleanup(smServer.Close)
	w.t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", smServer.URL)
	src, err := awssecretsmanager.New("prod/openai", nil)
	w.move(&home{name: "secretsmanager", source: src, publish: func(key string) { sm.Put("prod/openai", key) }, outage: down(sm), reads: sm.Reads}, err)

	ps := awstest.NewParameterStore()
	ps.Identity = sm.Identity
	psServer := httptest.NewServer(ps)
	w.t.Cleanup(psServer.Close)
	w.t.Setenv("AWS_ENDPOINT_URL_SSM", psServer.URL)
	param, err := awsparameterstore.New("/prod/openai", nil)
	w.move(&home{name: "parameter", source: param, publish: func(key string) { ps.PutString("/prod/openai", key) }, reads: ps.Reads, outage: func(on bool) {
		if on {
			ps.Fail(awstest.Fault{Status: 500})
		} else {
			ps.Heal()
		}
	}}, err)
	w.settleExtension()
	w.settleAzure()
	w.settleVault()
	w.settleLocal()
}

// settleExtension settles the Lambda extension, with a Secrets Manager behind it.
func (w *world) settleExtension() {
	sm := awstest.NewSecretsManager()
	ext := awstest.NewExtension(sm)
	server := httptest.NewServer(ext)
	w.t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", at.Port())
	ext.Token = os.Getenv("AWS_SESSION_TOKEN")
	src, err := awsextension.New("prod/extension", nil)
	w.move(&home{name: "extension", source: src, publish: func(key string) {
		sm.Put("prod/extension", key)
	}, outage: func(on bool) {
		if on {
			ext.Fail(awstest.Fault{Status: 500})
		} else {
			ext.Heal()
		}
	}}, err)
}

type entra string

func (e entra) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(e)}, nil
}

func (w *world) settleAzure() {
	const token = "CANARY-entra"
	vault := azuretest.NewVault(w.t, token)
	src, err := azurekeyvault.New(azuretest.VaultURL, "openai-key", &azurekeyvault.Options{
		Credential: entra(token), Transport: vault.Client().Transport,
	})
	w.move(&home{name: "keyvault", source: src, publish: func(key string) { vault.Put("openai-key", key) }, reads: vault.Reads, outage: func(on bool) {
		if on {
			vault.Fail(500, `{"error":{"code":"InternalError","message":"try again"}}`)
		} else {
			vault.Heal()
		}
	}}, err)
}

// A kv is the KV engine of a Vault.
type kv struct {
	mu             sync.Mutex
	key            string
	version, reads int
	sealed         bool
}

func (v *kv) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	rw.Header().Set("Content-Type", "application/json")
	switch {
	case v.sealed:
		rw.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(rw, `{"errors":["Vault is sealed"]}`)
	case r.Header.Get("X-Vault-Token") != "hvs.CANARY":
		rw.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(rw, `{"errors":["permission denied"]}`)
	case r.URL.Path == "/v1/auth/token/lookup-self":
		_, _ = io.WriteString(rw, `{"data":{"ttl":0,"renewable":false,"policies":["default"]}}`)
	case r.URL.Path == "/v1/secret/data/openai":
		v.reads++
		_ = json.NewEncoder(rw).Encode(map[string]any{"data": map[string]any{
			"data": map[string]string{"key": v.key}, "metadata": map[string]any{"version": v.version, "created_time": "2026-11-26T00:00:00Z"},
		}})
	default:
		rw.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(rw, `{"errors":[]}`)
	}
}

func (w *world) settleVault() {
	engine := &kv{}
	server := httptest.NewServer(engine)
	w.t.Cleanup(server.Close)
	cfg := api.DefaultConfig()
	cfg.Address, cfg.MaxRetries = server.URL, 0
	vault, err := api.NewClient(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	vault.SetToken("hvs.CANARY")
	src, err := hashivault.New("secret/openai", &hashivault.Options{Client: vault, Field: "key", KVVersion: 2})
	locked := func(f func()) {
		engine.mu.Lock()
		defer engine.mu.Unlock()
		f()
	}
	w.move(&home{
		name: "vault", source: src,
		publish: func(key string) { locked(func() { engine.key, engine.version = key, engine.version+1 }) },
		outage:  func(on bool) { locked(func() { engine.sealed = on }) },
		reads:   func() (n int) { locked(func() { n = engine.reads }); return n },
	}, err)
}

// settleLocal settles what has no server: a file, a command, and a workload whose
// token is exchanged.
func (w *world) settleLocal() {
	write := func(path string) func(string) {
		return func(key string) {
			if err := os.WriteFile(path+".new", []byte(key+"\n"), 0o600); err != nil {
				w.t.Error(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				w.t.Error(err)
			}
		}
	}
	dir := w.t.TempDir()
	file, program := filepath.Join(dir, "file"), filepath.Join(dir, "program")
	w.move(&home{name: "file", source: credential.File(file), publish: write(file)}, nil)
	command, err := execcommand.New("cat", []string{program}, nil)
	w.move(&home{name: "command", source: command, publish: write(program)}, err)

	issuer := &issuer{}
	src, err := openaiworkload.New(&openaiworkload.Options{
		IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", Transport: issuer,
		Token: func(context.Context) (credential.Secret, error) {
			return credential.NewSecret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.CANARY-signature"), nil
		},
	})
	w.move(&home{name: "workload", source: src, publish: issuer.set, outage: issuer.fail, reads: issuer.count}, err)
}

// An issuer exchanges any token for the current key.
type issuer struct {
	mu    sync.Mutex
	key   string
	down  bool
	reads int
}

func (i *issuer) set(key string) { i.mu.Lock(); defer i.mu.Unlock(); i.key = key }
func (i *issuer) fail(on bool)   { i.mu.Lock(); defer i.mu.Unlock(); i.down = on }
func (i *issuer) count() int     { i.mu.Lock(); defer i.mu.Unlock(); return i.reads }

func (i *issuer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	status, body := 200, fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":900}`, i.key)
	if i.down {
		status, body = 503, `{"error":"temporarily_unavailable"}`
	} else {
		i.reads++
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
	}, nil
}
