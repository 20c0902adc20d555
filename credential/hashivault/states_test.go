package hashivault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
)

func TestStatesOfVaultAreToldApart(t *testing.T) {
	const echo = "sk-CANARY-echo hvs.CANARY-echo"
	for _, c := range []struct {
		status    int
		message   string
		transient bool
		says      string
	}{
		{503, "Vault is sealed " + echo, true, "status 503: Vault is sealed (unseal it)"},
		{503, echo, true, "status 503"},
		{500, echo, true, "status 500"},
		{502, "", true, "status 502"},
		{429, echo, true, "a standby, or a rate limit"},
		{472, "", true, "a standby of replication"},
		{473, "", true, "a standby of replication"},
		{412, "required index state not present", true, "lags behind"},
		{400, echo, false, "status 400"},
		{403, "1 error occurred: permission denied " + echo, false, `the token lacks "read" on "secret/data/openai"`},
		{404, echo, false, "not found: there is no such secret"},
		{405, echo, false, "status 405"},
		{501, echo, false, "status 501"},
	} {
		t.Run(fmt.Sprint(c.status, c.transient), func(t *testing.T) {
			s := newStub(t)
			src := s.source(nil)
			s.on("secret/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, c.status, c.message) })
			err := refuses(t, src, c.transient, c.says, `credential: hashivault: read "secret/openai": `)
			if errors.Is(err, credential.ErrNotFound) != (c.status == 404) || errors.Is(err, credential.ErrUnavailable) {
				t.Errorf("%v: wraps another sentinel", err)
			}
			s.heal()
			wants(t, src, firstKey)
		})
	}
}

func TestOddAnswersAreOutagesAndNotShown(t *testing.T) {
	for name, body := range map[string]string{
		"empty":          ``,
		"no JSON":        `<html>sk-CANARY</html>`,
		"another shape":  `["sk-CANARY"]`,
		"no data":        `{}`,
		"null data":      `{"data":{"data":null,"metadata":{"version":3}}}`,
		"data is a text": `{"data":{"data":"sk-CANARY"}}`,
		"cut off":        `{"data":{"data":{"key":"sk-CANARY`,
		"metadata":       `{"data":{"data":{"key":"sk-CANARY"},"metadata":["sk-CANARY"]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t)
			src := s.source(nil)
			s.on("secret/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
			refuses(t, src, true, "not JSON as Vault writes it")
		})
	}
}

func TestAnAnswerIsReadUpToALimit(t *testing.T) {
	s := newStub(t)
	src := s.source(nil)
	for _, status := range []int{200, 500} {
		s.on("secret/", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			block := []byte(strings.Repeat("CANARY  ", 8<<10))
			for range 1 << 10 { // 64 MiB, if anyone takes them
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		})
		refuses(t, src, true, "the answer has more than 2162688 bytes")
	}
}

func TestADeletedVersionSaysSo(t *testing.T) {
	for name, c := range map[string]struct{ metadata, says string }{
		"deleted":   {`{"version":3,"deletion_time":"2026-01-02T03:04:05.6Z","destroyed":false}`, "version 3 was deleted at 2026-01-02T03:04:05Z (vault kv undelete"},
		"destroyed": {`{"version":3,"deletion_time":"","destroyed":true}`, "version 3 was destroyed"},
		"odd":       {`{"version":"CANARY","deletion_time":"CANARY"}`, "there is no such secret"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t)
			src := s.source(nil)
			s.on("secret/", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(404)
				fmt.Fprintf(w, `{"data":{"data":null,"metadata":%s}}`, c.metadata)
			})
			if err := refuses(t, src, false, c.says); !errors.Is(err, credential.ErrNotFound) {
				t.Errorf("%v: not ErrNotFound", err)
			}
		})
	}
}

func TestALaggingNodeIsAskedAgainWithTheIndexOfTheLogin(t *testing.T) {
	s := newStub(t)
	src := s.source(&hashivault.Options{Auth: &hashivault.AppRole{RoleID: "r"}})
	lag := 2
	s.do(func() {
		s.script = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/login") {
				w.Header().Set("X-Vault-Index", "index-of-login")
				return false
			}
			if r.Header.Get("X-Vault-Index") != "index-of-login" || r.Header.Get("X-Vault-Inconsistent") != "forward-active-node" {
				refuse(w, 403, "the token is not here yet")
				return true
			}
			if strings.HasPrefix(r.URL.Path, "/v1/secret/") && lag > 0 {
				lag--
				refuse(w, 412, "required index state not present")
				return true
			}
			return false
		}
	})
	wants(t, src, firstKey)
	if n := s.count("secret/data/openai"); n != 3 {
		t.Errorf("%d reads, want 3", n)
	}
	if s.logins != 1 {
		t.Errorf("%d logins", s.logins)
	}
}

func TestATokenNeverFollowsARedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := newStub(t)
		elsewhere := 0
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			elsewhere++
			reply(w, 200, map[string]any{})
		}))
		away := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", other.URL+r.URL.Path)
			w.WriteHeader(status)
		}
		given, own := s.source(nil), s.source(&hashivault.Options{Auth: &hashivault.AppRole{RoleID: "r", SecretID: credential.NewSecret("CANARY-sid")}})
		s.on("secret/", away)
		refuses(t, given, true, "follows no redirect")
		s.on("auth/", away)
		refuses(t, own, true, "follows no redirect")
		other.Close()
		if elsewhere > 0 {
			t.Errorf("%d: %d requests went to the other server", status, elsewhere)
		}
	}
}

func TestAServerThatIsAwayIsAnOutage(t *testing.T) {
	s := newStub(t)
	src := s.source(nil)
	s.Close()
	refuses(t, src, true, "refused")
}

func TestTheEngineIsAskedForOnceAndAgainWhenTheSecretIsGone(t *testing.T) {
	const mounts = "sys/internal/ui/mounts/secret/openai"
	s := newStub(t)
	src := s.source(nil)
	for range 3 {
		wants(t, src, firstKey)
	}
	if n := s.count(mounts); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
	s.do(func() { s.kv = 1 }) // mounted anew
	refuses(t, src, false, "not found")
	if v := wants(t, src, firstKey); v.Version != "" {
		t.Errorf("KV v1 has version %q", v.Version)
	}
	if n := s.count(mounts); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
}

func TestAKnownEngineIsNotAskedFor(t *testing.T) {
	for _, c := range []struct {
		path string
		opts hashivault.Options
		want string
	}{
		{"secret/openai", hashivault.Options{KVVersion: 2}, "secret/data/openai"},
		{"/secret/openai/", hashivault.Options{KVVersion: 2, Mount: "/secret/"}, "secret/data/openai"},
		{"team/kv/a/b", hashivault.Options{KVVersion: 2, Mount: "team/kv"}, "team/kv/data/a/b"},
		{"secret/openai", hashivault.Options{KVVersion: 1}, "secret/openai"},
	} {
		s := newStub(t)
		c.opts.Client = s.client()
		src, err := hashivault.New(c.path, &c.opts)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = src.Retrieve(context.Background())
		if s.count(c.want) != 1 || s.count("sys/internal/ui/mounts/"+strings.Trim(c.path, "/")) != 0 {
			t.Errorf("%s: asked for %q, want %q only", c.path, s.seen, c.want)
		}
	}
}

func TestTheMountThatVaultNamesDecidesWhereDataGoes(t *testing.T) {
	for _, c := range []struct{ path, mount, want string }{
		{"team/kv/a/b", "team/kv/", "team/kv/data/a/b"},
		{"kv/a", "ns1/ns2/kv/", "kv/data/a"},               // the namespace is in a header
		{"ns1/kv/a", "ns1/kv/", "ns1/kv/data/a"},           // or in the path
		{"secret/data/x", "secret/", "secret/data/data/x"}, // as vault kv get has it
	} {
		s := newStub(t)
		s.on("sys/internal/ui/mounts/", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, map[string]any{"data": map[string]any{"path": c.mount, "type": "kv", "options": map[string]any{"version": "2"}}})
		})
		src, err := hashivault.New(c.path, &hashivault.Options{Client: s.client()})
		if err != nil {
			t.Fatal(err)
		}
		err = refuses(t, src, false, "not found")
		if s.count(c.want) != 1 {
			t.Errorf("%s: asked for %q, want %q", c.path, s.seen, c.want)
		}
		if strings.Contains(c.path, "/data/") != strings.Contains(err.Error(), `leave "data/" out`) {
			t.Errorf("%s: %v", c.path, err)
		}
	}
}

func TestAPinnedVersionIsReadAndNeedsKVv2(t *testing.T) {
	s := newStub(t)
	src := s.source(&hashivault.Options{Version: "4"})
	asked := ""
	s.do(func() {
		s.script = func(_ http.ResponseWriter, r *http.Request) bool {
			asked = r.URL.Query().Get("version")
			return false
		}
	})
	if v := wants(t, src, firstKey); v.Version != "7" || asked != "4" {
		t.Errorf("version %q was asked for, the answer has %q", asked, v.Version)
	}
	s.do(func() { s.kv = 1 })
	refuses(t, s.source(&hashivault.Options{Version: "4"}), false, "not KV version 2")
}
