package vaulttest_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/internal/testing/vaulttest"
)

const (
	kvRead = "secret/data/openai"
	login  = "auth/approle/login"
)

// The least privilege that hashivault documents: one path, one capability.
const leastPolicy = `path "secret/data/openai" { capabilities = ["read"] }`

func key(n int) string { return fmt.Sprintf("sk-CANARY-round-%04d", n) }

func start(t *testing.T) *vaulttest.Server {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "VAULT_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
	s := vaulttest.Start(t)
	s.Policy("openai-read", leastPolicy)
	s.Put("openai", map[string]any{"key": key(0)})
	return s
}

// role makes an AppRole and returns a login for it. A secret id serves any
// number of times.
func role(t *testing.T, s *vaulttest.Server, options map[string]any) *hashivault.AppRole {
	t.Helper()
	s.Enable("approle", "approle")
	params := map[string]any{"token_policies": "openai-read", "secret_id_num_uses": 0}
	for k, v := range options {
		params[k] = v
	}
	s.Write("auth/approle/role/app", params)
	id, err := s.Client("").Logical().Read("auth/approle/role/app/role-id")
	if err != nil {
		t.Fatalf("role-id: %v", err)
	}
	secret := s.Write("auth/approle/role/app/secret-id", nil)
	return &hashivault.AppRole{RoleID: id.Data["role_id"].(string), SecretID: credential.NewSecret(secret.Data["secret_id"].(string))}
}

// source makes a source of path that has no token but its own.
func source(t *testing.T, s *vaulttest.Server, path string, opts *hashivault.Options) *hashivault.Source {
	t.Helper()
	if opts.Client == nil {
		opts.Client = s.Client("no-token-for-the-source")
		opts.Client.ClearToken()
	}
	src, err := hashivault.New(path, opts)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return src
}

func wants(t *testing.T, src credential.Source, want string) credential.Value {
	t.Helper()
	v, err := src.Retrieve(context.Background())
	if err != nil {
		t.Fatalf("Retrieve: %v", err)
	}
	if v.Secret.Reveal() != want {
		t.Fatal("Retrieve gave another key")
	}
	return v
}

// refuses checks that a read fails, and says what is wrong.
func refuses(t *testing.T, src credential.Source, says ...string) error {
	t.Helper()
	_, err := src.Retrieve(context.Background())
	if err == nil {
		t.Fatal("Retrieve gave a value")
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v: does not say %q", err, text)
		}
	}
	return err
}

// A load is callers that call when they are let: in memory they would leave no
// processor to Vault.
type load struct {
	wg      sync.WaitGroup
	permits chan struct{}
	once    sync.Once
	given   atomic.Int64 // permits, and the calls that have ended
	calls   atomic.Int64
	failed  atomic.Int64
	first   atomic.Pointer[error]
}

func newLoad(t *testing.T, callers int, call func() error) *load {
	t.Helper()
	l := &load{permits: make(chan struct{}, 1<<20)}
	for range callers {
		l.wg.Go(func() {
			for range l.permits {
				if err := call(); err != nil {
					l.failed.Add(1)
					l.first.CompareAndSwap(nil, &err)
				}
				l.calls.Add(1)
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

// let lets that many calls begin.
func (l *load) let(calls int) {
	l.given.Add(int64(calls))
	for range calls {
		l.permits <- struct{}{}
	}
}

func (l *load) stop() {
	l.once.Do(func() { close(l.permits) })
	l.wg.Wait()
}

// nobodyFailed waits for all calls to end.
func (l *load) nobodyFailed(t *testing.T) {
	t.Helper()
	l.stop()
	t.Logf("%d calls", l.calls.Load())
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d of %d calls failed, the first: %v", n, l.calls.Load(), *l.first.Load())
	}
}

// more makes that many more calls, and waits for the end of all that were let
// begin: what a test does next must not meet them under way.
func (l *load) more(t *testing.T, calls int) {
	t.Helper()
	l.let(calls)
	until(t, "the calls are over", func() bool { return l.calls.Load() >= l.given.Load() })
}

// until goes on with the calls until something happens.
func (l *load) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	until(t, what, func() bool {
		if len(l.permits) == 0 {
			l.let(40)
		}
		return ok()
	})
}

// until waits for a condition. The bound is no measure of speed.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// service is an OpenAI-compatible service in memory and a call of it through
// latchkey.
func service(t *testing.T, src credential.Source, opts *credential.CacheOptions, keys ...string) (*clienttest.Service, func() error) {
	t.Helper()
	svc := clienttest.NewService(keys...)
	c, err := client.New(client.Config{Source: src, Cache: opts, BaseURL: "http://127.0.0.1/v1/", Transport: svc})
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	return svc, func() error {
		_, err := c.Post(context.Background(), "chat/completions", map[string]any{
			"model": "m", "messages": []map[string]string{{"role": "user", "content": "hello"}},
		}, nil)
		return err
	}
}

func tokenFor(t *testing.T, s *vaulttest.Server, request *api.TokenCreateRequest) *api.Client {
	t.Helper()
	return s.Client(s.Token(request))
}
