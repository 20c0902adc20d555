package hashivault_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
)

// logins records the bodies of logins and answers them.
func (s *stub) logged(into *[]map[string]string, paths *[]string) {
	s.do(func() {
		s.script = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/login") {
				return false
			}
			var body map[string]string
			_ = json.NewDecoder(r.Body).Decode(&body)
			s.do(func() {
				*into, *paths = append(*into, body), append(*paths, strings.TrimPrefix(r.URL.Path, "/v1/"))
				s.tokens["hvs.CANARY-t"] = true
			})
			reply(w, 200, map[string]any{"auth": map[string]any{"client_token": "hvs.CANARY-t"}})
			return true
		}
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestALoginReadsItsFileEachTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	for name, c := range map[string]struct {
		auth  api.AuthMethod
		path  string
		field string
		rest  map[string]string // what else is sent, and nothing more
	}{
		"AppRole":            {&hashivault.AppRole{RoleID: "r", SecretIDFile: file}, "auth/approle/login", "secret_id", map[string]string{"role_id": "r"}},
		"AppRole elsewhere":  {&hashivault.AppRole{RoleID: "r", SecretIDFile: file, Mount: "/team/approle/"}, "auth/team/approle/login", "secret_id", map[string]string{"role_id": "r"}},
		"Kubernetes":         {&hashivault.Kubernetes{Role: "r", TokenFile: file}, "auth/kubernetes/login", "jwt", map[string]string{"role": "r"}},
		"JWT":                {&hashivault.JWT{TokenFile: file}, "auth/jwt/login", "jwt", map[string]string{}},
		"JWT with its mount": {&hashivault.JWT{Role: "r", TokenFile: file, Mount: "github"}, "auth/github/login", "jwt", map[string]string{"role": "r"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t)
			var bodies []map[string]string
			var paths []string
			s.logged(&bodies, &paths)
			src := s.source(&hashivault.Options{Auth: c.auth})
			for i, text := range []string{"CANARY-file-1", "CANARY-file-2"} {
				write(t, file, text+"\n")
				wants(t, src, firstKey)
				if len(bodies) != i+1 || bodies[i][c.field] != text || paths[i] != c.path {
					t.Fatalf("login %d went to %q, or without the content of the file", i+1, paths)
				}
				if delete(bodies[i], c.field); !maps.Equal(bodies[i], c.rest) {
					t.Errorf("login %d has %q as well, want %q", i+1, bodies[i], c.rest)
				}
				s.do(func() { clear(s.tokens) })
			}
		})
	}
}

func TestAMissingFileOfThePlatformIsUnavailableAndOthersAreErrors(t *testing.T) {
	s := newStub(t)
	dir := t.TempDir()
	missing, empty, large := filepath.Join(dir, "missing"), filepath.Join(dir, "empty"), filepath.Join(dir, "large")
	write(t, empty, " \n")
	write(t, large, strings.Repeat("CANARY", 20000))
	for name, c := range map[string]struct {
		auth        api.AuthMethod
		unavailable bool
		says        string
	}{
		"no pod":         {&hashivault.Kubernetes{Role: "r"}, true, "kubernetes.io/serviceaccount/token"},
		"no JWT":         {&hashivault.JWT{TokenFile: missing}, true, missing},
		"no secret id":   {&hashivault.AppRole{RoleID: "r", SecretIDFile: missing}, false, missing},
		"empty":          {&hashivault.JWT{TokenFile: empty}, false, "it is empty"},
		"large":          {&hashivault.JWT{TokenFile: large}, false, "at most 65536 are read"},
		"no regular one": {&hashivault.JWT{TokenFile: dir}, false, "not a regular file"},
	} {
		if err := refuses(t, s.source(&hashivault.Options{Auth: c.auth}), false, c.says); errors.Is(err, credential.ErrUnavailable) != c.unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wrapped answers for a wrapping token that wraps a secret id once.
func (s *stub) wrapped(path string) {
	used := false
	s.do(func() {
		s.script = func(w http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case "/v1/sys/wrapping/lookup":
				if used {
					refuse(w, 400, "wrapping token is not valid or does not exist")
				} else {
					reply(w, 200, map[string]any{"data": map[string]any{"creation_path": path}})
				}
			case "/v1/sys/wrapping/unwrap":
				if used || r.Header.Get("X-Vault-Token") != "hvs.CANARY-wrap" {
					refuse(w, 400, "wrapping token is not valid or does not exist")
				} else {
					reply(w, 200, map[string]any{"data": map[string]any{"secret_id": "CANARY-sid"}})
				}
				used = true
			default:
				return false
			}
			return true
		}
	})
}

func TestAWrappedSecretIDIsUnwrappedOnceForAllSources(t *testing.T) {
	s := newStub(t)
	s.wrapped("auth/approle/role/app/secret-id")
	auth := &hashivault.AppRole{RoleID: "r", SecretID: credential.NewSecret("hvs.CANARY-wrap"), Wrapped: true}
	sources := make([]*hashivault.Source, 10)
	for i := range sources {
		sources[i] = s.source(&hashivault.Options{Auth: auth})
	}
	for range 3 { // each time another login
		var wg sync.WaitGroup
		for _, src := range sources {
			wg.Go(func() {
				if _, err := src.Retrieve(t.Context()); err != nil {
					t.Errorf("Retrieve: %v", err)
				}
			})
		}
		wg.Wait()
		s.do(func() { clear(s.tokens) })
	}
	s.wantCounts(map[string]int{login: 30})
	s.wantCounts(map[string]int{"sys/wrapping/unwrap": 1})
	silent(t, auth)
}

func TestAWrappingTokenThatWasUsedOrReplacedIsAnAttack(t *testing.T) {
	auth := func() api.AuthMethod {
		return &hashivault.AppRole{RoleID: "r", SecretID: credential.NewSecret("hvs.CANARY-wrap"), Wrapped: true}
	}
	s := newStub(t)
	s.wrapped("auth/approle/role/app/secret-id")
	wants(t, s.source(&hashivault.Options{Auth: auth()}), firstKey)
	refuses(t, s.source(&hashivault.Options{Auth: auth()}), false, "unwrap the secret id: the wrapping token was used before, or has expired", "somebody has the secret id")
	for _, path := range []string{"sys/wrapping/wrap", "auth/other/role/app/secret-id", "auth/approle/role/app/role-id"} {
		s = newStub(t)
		s.wrapped(path)
		refuses(t, s.source(&hashivault.Options{Auth: auth()}), false, "does not wrap a secret id", "attack")
		s.wantCounts(map[string]int{"sys/wrapping/unwrap": 0})
	}
	s = newStub(t)
	s.on("sys/wrapping", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 503, "Vault is sealed") })
	refuses(t, s.source(&hashivault.Options{Auth: auth()}), true, "Vault is sealed")
}
