package hashivault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
)

const (
	firstToken = "hvs.CANARY-token-1"
	firstKey   = "sk-CANARY-1"
)

// A stub answers like Vault, as far as the source asks, and does what a test
// scripts. The real server is in internal/testing/vaulttest.
type stub struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	tokens map[string]bool
	fields map[string]any
	custom any // metadata of a KV v2 secret
	kv     int // the version of the engine; 0 is one with leases
	logins int
	ttl    int // of a login, in seconds
	lease  map[string]any
	seen   []string
	script func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

func newStub(t *testing.T) *stub {
	t.Helper()
	cleanEnv(t)
	s := &stub{t: t, tokens: map[string]bool{firstToken: true}, fields: map[string]any{"key": firstKey}, kv: 2}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// cleanEnv takes away what the developer's shell is logged in to.
func cleanEnv(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "VAULT_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
}

func (s *stub) client() *api.Client {
	s.t.Helper()
	cfg := api.DefaultConfig()
	cfg.Address = s.URL
	client, err := api.NewClient(cfg)
	if err != nil {
		s.t.Fatal("no client")
	}
	client.SetToken(firstToken)
	return client
}

func (s *stub) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// count is how often a path was asked for.
func (s *stub) count(path string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.seen {
		if p == path {
			n++
		}
	}
	return n
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	s.mu.Lock()
	s.seen = append(s.seen, path)
	script := s.script
	s.mu.Unlock()
	if script != nil && script(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if strings.HasSuffix(path, "/login") {
		s.logins++
		token := fmt.Sprintf("hvs.CANARY-login-%d", s.logins)
		s.tokens[token] = true
		reply(w, 200, map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": s.ttl, "renewable": true}})
		return
	}
	token := r.Header.Get("X-Vault-Token")
	if !s.tokens[token] {
		refuse(w, 403, "permission denied")
		return
	}
	switch {
	case path == "auth/token/lookup-self":
		reply(w, 200, map[string]any{"data": map[string]any{"ttl": s.ttl, "renewable": s.ttl > 0, "id": token}})
	case path == "auth/token/renew-self":
		reply(w, 200, map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": s.ttl, "renewable": true}})
	case path == "auth/token/revoke-self":
		delete(s.tokens, token)
		w.WriteHeader(http.StatusNoContent)
	case strings.HasPrefix(path, "sys/internal/ui/mounts/"):
		kind, options := "kv", map[string]any{"version": fmt.Sprint(s.kv)}
		if s.kv == 0 {
			kind, options = "keys", nil
		}
		reply(w, 200, map[string]any{"data": map[string]any{"path": "secret/", "type": kind, "options": options}})
	case path == "sys/leases/renew" || path == "sys/leases/revoke":
		var asked map[string]any
		_ = json.Unmarshal(body, &asked)
		if asked["lease_id"] != s.lease["lease_id"] {
			refuse(w, 400, "lease not found")
			return
		}
		reply(w, 200, s.lease)
	case s.kv == 2 && path == "secret/data/openai":
		reply(w, 200, map[string]any{"data": map[string]any{"data": s.fields, "metadata": map[string]any{"version": 7, "custom_metadata": s.custom}}})
	case s.kv != 2 && path == "secret/openai":
		out := map[string]any{"data": s.fields}
		for k, v := range s.lease {
			out[k] = v
		}
		reply(w, 200, out)
	default:
		refuse(w, 404)
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, messages ...string) {
	reply(w, status, map[string]any{"errors": append([]string{}, messages...)})
}

// on scripts an answer for the paths with that prefix.
func (s *stub) on(prefix string, answer http.HandlerFunc) {
	s.do(func() {
		s.script = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/v1/"+prefix) {
				return false
			}
			answer(w, r)
			return true
		}
	})
}

func (s *stub) heal() { s.do(func() { s.script = nil }) }

func (s *stub) source(opts *hashivault.Options) *hashivault.Source {
	s.t.Helper()
	if opts == nil {
		opts = &hashivault.Options{}
	}
	if opts.Client == nil {
		opts.Client = s.client()
	}
	src, err := hashivault.New("secret/openai", opts)
	if err != nil {
		s.t.Fatalf("New: %v", err)
	}
	return src
}

// wants checks what a read gives, without ever printing it.
func wants(t *testing.T, src credential.Source, key string) credential.Value {
	t.Helper()
	v, err := src.Retrieve(context.Background())
	if err != nil {
		t.Fatalf("Retrieve: %v", err)
	}
	if v.Secret.Reveal() != key {
		t.Fatal("Retrieve gave another key")
	}
	return v
}

// refuses checks the error of a read: its text, whether it passes by itself,
// and that no form of it shows a secret.
func refuses(t *testing.T, src credential.Source, transient bool, says ...string) error {
	t.Helper()
	v, err := src.Retrieve(context.Background())
	if err == nil || !v.Secret.IsZero() {
		t.Fatalf("Retrieve gave a value")
	}
	var se *credential.SourceError
	if !errors.As(err, &se) {
		t.Fatalf("%v: not a SourceError", err)
	}
	silent(t, err)
	if se.Transient != transient {
		t.Errorf("%v: Transient is %v", err, se.Transient)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v: does not say %q", err, text)
		}
	}
	return err
}

// silent checks that nothing that x prints or wraps has a secret in it.
func silent(t *testing.T, x any) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%q", "%x"} {
		text := fmt.Sprintf(verb, x)
		if strings.Contains(text, "CANARY") || strings.Contains(text, fmt.Sprintf("%x", "CANARY")) {
			t.Errorf("%s of a %T shows a secret", verb, x)
		}
	}
	if err, ok := x.(error); ok {
		if inner := errors.Unwrap(err); inner != nil {
			silent(t, inner)
		}
	}
}

// A clock is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
