package vaulttest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	log "github.com/hashicorp/go-hclog"
	jwtauth "github.com/hashicorp/vault-plugin-auth-jwt"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/builtin/credential/approle"
	awsauth "github.com/hashicorp/vault/builtin/credential/aws"
	"github.com/hashicorp/vault/builtin/credential/userpass"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/vault"
)

// A Server is a Vault server on loopback with its storage in files. Its
// methods fail the test when they cannot do what they say.
type Server struct {
	t    testing.TB
	dir  string
	addr string
	key  []byte

	mu   sync.Mutex
	core *vault.Core
	http *http.Server
	seen map[string]int

	root string
	keys *keysBackend
}

// Start runs a new server, initialized and unsealed, until the test ends. It
// has KV version 2 at secret/, version 1 at kv1/, and at keys/ an engine whose
// every read is another credential with a lease.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, dir: filepath.Join(t.TempDir(), "vault"), seen: map[string]int{}, keys: newKeysBackend()}
	s.must(os.Mkdir(s.dir, 0o700))
	s.boot("127.0.0.1:0")
	t.Cleanup(s.Stop)
	result, err := s.core.Initialize(context.Background(), &vault.InitParams{
		BarrierConfig:  &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
		RecoveryConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
	})
	s.must(err)
	s.key, s.root = result.SecretShares[0], result.RootToken
	s.Unseal()
	s.Mount("secret", "kv", map[string]string{"version": "2"})
	s.Mount("kv1", "kv", map[string]string{"version": "1"})
	s.Mount("keys", "keys", nil)
	return s
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("vaulttest: %v", err)
	}
}

// boot makes a core on the storage and serves it at addr, sealed.
func (s *Server) boot(addr string) {
	s.t.Helper()
	logger := log.NewNullLogger()
	storage, err := file.NewFileBackend(map[string]string{"path": s.dir}, logger)
	s.must(err)
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical: storage, DisableMlock: true, Logger: logger, BuiltinRegistry: builtins{},
		LogicalBackends: map[string]logical.Factory{
			"kv":   kv.Factory,
			"keys": s.keys.factory,
		},
		CredentialBackends: map[string]logical.Factory{
			"approle": approle.Factory, "userpass": userpass.Factory, "jwt": jwtauth.Factory, "aws": awsauth.Factory,
		},
	})
	s.must(err)
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core})
	listener, err := net.Listen("tcp", addr)
	s.must(err)
	s.addr = listener.Addr().String()
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			s.seen[strings.TrimPrefix(r.URL.Path, "/v1/")]++
			s.mu.Unlock()
			handler.ServeHTTP(w, r)
		}),
	}
	s.mu.Lock()
	s.core, s.http = core, server
	s.mu.Unlock()
	go func() { _ = server.Serve(listener) }()
}

// Address is where the server is, also after a restart.
func (s *Server) Address() string { return "http://" + s.addr }

// Count is how many requests there were for a path without /v1/. One that
// ends in a slash counts all below it.
func (s *Server) Count(path string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, times := range s.seen {
		if p == path || strings.HasSuffix(path, "/") && strings.HasPrefix(p, path) {
			n += times
		}
	}
	return n
}

// ResetCounts forgets all requests.
func (s *Server) ResetCounts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.seen)
}

// Stop takes the server off the network, with its connections. The storage stays.
func (s *Server) Stop() {
	s.mu.Lock()
	core, server := s.core, s.http
	s.core, s.http = nil, nil
	s.mu.Unlock()
	if core == nil {
		return
	}
	_ = server.Close()
	_ = core.Shutdown()
}

// Boot starts a stopped server again, at its address and on its storage. It
// comes up sealed.
func (s *Server) Boot() { s.boot(s.addr) }

// Seal seals the server.
func (s *Server) Seal() { s.must(s.Client("").Sys().Seal()) }

// Unseal unseals it and waits until it answers.
func (s *Server) Unseal() {
	s.t.Helper()
	s.mu.Lock()
	core := s.core
	s.mu.Unlock()
	if core == nil {
		s.must(errors.New("the server is stopped"))
	}
	if _, err := core.Unseal(append([]byte(nil), s.key...)); err != nil {
		s.must(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); core.Sealed() || core.ActiveTime().IsZero(); <-tick.C {
		if time.Now().After(end) {
			s.must(errors.New("the server does not unseal"))
		}
	}
}

// Client returns a client with that token; empty is the root token.
func (s *Server) Client(token string) *api.Client {
	s.t.Helper()
	cfg := api.DefaultConfig()
	s.must(cfg.Error)
	cfg.Address = s.Address()
	client, err := api.NewClient(cfg)
	s.must(err)
	if token == "" {
		token = s.root
	}
	client.SetToken(token)
	return client
}

// Write writes as root and returns the answer.
func (s *Server) Write(path string, data map[string]any) *api.Secret {
	s.t.Helper()
	secret, err := s.Client("").Logical().Write(path, data)
	s.must(err)
	return secret
}

// Put writes a secret of KV version 2 at secret/ and returns its version.
func (s *Server) Put(path string, data map[string]any) int {
	s.t.Helper()
	secret, err := s.Client("").KVv2("secret").Put(context.Background(), path, data)
	s.must(err)
	return secret.VersionMetadata.Version
}

// Mount mounts an engine.
func (s *Server) Mount(path, engine string, options map[string]string) {
	s.t.Helper()
	s.must(s.Client("").Sys().Mount(path, &api.MountInput{Type: engine, Options: options}))
}

// Enable enables an auth method.
func (s *Server) Enable(path, method string) {
	s.t.Helper()
	s.must(s.Client("").Sys().EnableAuthWithOptions(path, &api.EnableAuthOptions{Type: method}))
}

// Policy writes a policy.
func (s *Server) Policy(name, rules string) {
	s.t.Helper()
	s.must(s.Client("").Sys().PutPolicy(name, rules))
}

// Token makes a token with those policies.
func (s *Server) Token(request *api.TokenCreateRequest) string {
	s.t.Helper()
	secret, err := s.Client("").Auth().Token().Create(request)
	s.must(err)
	return secret.Auth.ClientToken
}

// builtins is the registry that a core asks which plugins it was built with.
type builtins struct{}

func (builtins) Contains(string, consts.PluginType) bool { return true }

func (builtins) Get(string, consts.PluginType) (func() (any, error), bool) { return nil, false }

func (builtins) Keys(consts.PluginType) []string { return nil }

func (builtins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, true
}

func (builtins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
