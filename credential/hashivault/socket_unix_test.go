//go:build unix

package hashivault_test

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/dialguard"
)

// onSocket has s answer at a Unix socket as well, and returns the socket's path.
func (s *stub) onSocket() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		s.t.Fatal(err)
	}
	srv := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	s.t.Cleanup(func() { _ = srv.Close() })
	return path
}

func TestASocketOfTheEnvironmentIsDialed(t *testing.T) {
	for name, env := range map[string]func(socket string) (server, agent string){
		"of Vault":    func(socket string) (string, string) { return "unix://" + socket, "" },
		"of an agent": func(socket string) (string, string) { return "https://vault.test", "unix://" + socket },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t)
			server, agent := env(s.onSocket())
			t.Setenv("VAULT_ADDR", server)
			t.Setenv("VAULT_AGENT_ADDR", agent)
			t.Setenv("VAULT_TOKEN", firstToken)
			wants(t, newSource(t, nil), firstKey)
		})
	}
}

// vault/api would put its own dialer in the place of the guard's, and a
// Transport would look for Vault at localhost.
func TestASocketIsNotDialedAroundWhatTheOperatorGave(t *testing.T) {
	guard, err := dialguard.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	guarded := func(t *testing.T) *api.Client {
		t.Helper()
		cfg := api.DefaultConfig()
		own, ok := cfg.HttpClient.Transport.(*http.Transport)
		if !ok {
			t.Fatal("another transport")
		}
		if cfg.HttpClient.Transport, err = guard.Transport(own); err != nil {
			t.Fatal(err)
		}
		client, err := api.NewClient(cfg)
		if err != nil {
			t.Fatal("no client")
		}
		client.SetToken(firstToken)
		return client
	}
	asked := 0
	counting := roundTripper(func(*http.Request) (*http.Response, error) {
		asked++
		return nil, net.ErrClosed
	})
	for name, c := range map[string]struct {
		variable string
		options  func(t *testing.T) *hashivault.Options
	}{
		"a client":            {"VAULT_ADDR", func(t *testing.T) *hashivault.Options { return &hashivault.Options{Client: guarded(t)} }},
		"a client, an agent":  {"VAULT_AGENT_ADDR", func(t *testing.T) *hashivault.Options { return &hashivault.Options{Client: guarded(t)} }},
		"a transport":         {"VAULT_ADDR", func(*testing.T) *hashivault.Options { return &hashivault.Options{Transport: counting} }},
		"a transport, agent":  {"VAULT_AGENT_ADDR", func(*testing.T) *hashivault.Options { return &hashivault.Options{Transport: counting} }},
		"plain http is meant": {"VAULT_ADDR", func(*testing.T) *hashivault.Options { return &hashivault.Options{Transport: counting, PlainHTTP: true} }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t)
			t.Setenv(c.variable, "unix://"+s.onSocket())
			t.Setenv("VAULT_TOKEN", firstToken)
			refuses(t, newSource(t, c.options(t)), false, "it is a Unix socket", "VAULT_AGENT_ADDR", "http://localhost")
			if s.mu.Lock(); len(s.seen) > 0 || asked > 0 {
				t.Errorf("Vault was asked at %q, and the transport %d times", s.seen, asked)
			}
			s.mu.Unlock()
		})
	}
}

// What the error advises.
func TestATransportMayDialASocketByItself(t *testing.T) {
	s := newStub(t)
	socket := s.onSocket()
	t.Setenv("VAULT_ADDR", "http://localhost")
	t.Setenv("VAULT_TOKEN", firstToken)
	wants(t, newSource(t, &hashivault.Options{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}), firstKey)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func newSource(t *testing.T, o *hashivault.Options) *hashivault.Source {
	t.Helper()
	src, err := hashivault.New("secret/openai", o)
	if err != nil {
		t.Fatal(err)
	}
	return src
}
