package hashivault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
)

func TestNewRefusesNonsense(t *testing.T) {
	for _, path := range []string{"", "/", "secret//openai", "secret/../sys/seal", "./secret", "secret/a?version=1", "secret/a#b", "secret/\x00", "secret/\n"} {
		if _, err := hashivault.New(path, nil); err == nil {
			t.Errorf("New took the path %q", path)
		}
	}
	for name, o := range map[string]hashivault.Options{
		"bad pointer":        {Field: "/a~2"},
		"bad standby":        {Field: "a", StandbyField: "/~"},
		"same field":         {Field: "a", StandbyField: "a"},
		"standby alone":      {StandbyField: "b"},
		"negative version":   {Version: "-1"},
		"version zero":       {Version: "0"},
		"a named version":    {Version: "CANARY"},
		"a huge version":     {Version: "9999999999"},
		"KV v3":              {KVVersion: 3},
		"KV v1 with version": {KVVersion: 1, Version: "2"},
		"mount alone":        {Mount: "secret"},
		"another mount":      {Mount: "kv", KVVersion: 2},
		"unknown scheme":     {Scheme: 7},
		"nil auth":           {Auth: (*hashivault.AppRole)(nil)},
		"nil foreign auth":   {Auth: (*foreign)(nil)},
		"no role id":         {Auth: &hashivault.AppRole{}},
		"two secret ids":     {Auth: &hashivault.AppRole{RoleID: "r", SecretID: credential.NewSecret("CANARY"), SecretIDFile: "f"}},
		"wrapped nothing":    {Auth: &hashivault.AppRole{RoleID: "r", Wrapped: true}},
		"no role":            {Auth: &hashivault.Kubernetes{}},
		"no file":            {Auth: &hashivault.JWT{Role: "r"}},
		"a mount with dots":  {Auth: &hashivault.JWT{TokenFile: "f", Mount: "a/../b"}},
	} {
		if _, err := hashivault.New("secret/openai", &o); err == nil || !strings.HasPrefix(err.Error(), "credential: hashivault: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := hashivault.New("secret", &hashivault.Options{KVVersion: 2}); err == nil {
		t.Error("New took a mount for a secret")
	}
}

// A foreign login is one that hashivault knows nothing of.
type foreign struct{ mount string }

func (f *foreign) Login(context.Context, *api.Client) (*api.Secret, error) {
	return nil, errors.New(f.mount)
}

func TestTheZeroSourceFailsAndDoesNotPanic(t *testing.T) {
	for _, src := range []*hashivault.Source{nil, {}} {
		refuses(t, src, false, "make one with New")
		if _, err := src.Renew(context.Background(), credential.Rejection{}); err == nil {
			t.Error("Renew gave a value")
		}
		if src.Standby() != nil || src.Close(context.Background()) != nil || src.String() != "hashivault" {
			t.Error("the zero Source has something")
		}
	}
}

func TestFieldsAreFoundAndNeverShown(t *testing.T) {
	for _, c := range []struct {
		field  string
		fields map[string]any
		says   string
	}{
		{"", map[string]any{"a/~b": firstKey}, ""},
		{"key", map[string]any{"key": firstKey, "other": "CANARY"}, ""},
		{"/nested/key", map[string]any{"nested": map[string]any{"key": firstKey}}, ""},
		{"", map[string]any{"key": firstKey, "other": "CANARY"}, "2 fields, and none is named"},
		{"", map[string]any{}, "0 fields"},
		{"", map[string]any{"key": 7777}, "empty or not a string"},
		{"missing", map[string]any{"key": firstKey}, "no such member"},
		{"key", map[string]any{"key": []string{"CANARY"}}, "an array"},
	} {
		s := newStub(t)
		s.do(func() { s.fields = c.fields })
		src := s.source(&hashivault.Options{Field: c.field})
		if c.says == "" {
			wants(t, src, firstKey)
		} else if err := refuses(t, src, false, c.says, "name the field"); strings.Contains(err.Error(), "7777") {
			t.Error("the content is shown")
		}
	}
}

func TestTheStandbySharesTheReadOfThePrimary(t *testing.T) {
	s := newStub(t)
	set := func(a, b string) { s.do(func() { s.fields = map[string]any{"a": a, "b": b} }) }
	set("sk-CANARY-a1", "sk-CANARY-b1")
	src := s.source(&hashivault.Options{Field: "a", StandbyField: "b"})
	cache, err := credential.NewCache(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := wants(t, cache, "sk-CANARY-a1")
	cache.Accept(v)
	s.wantCounts(map[string]int{"secret/data/openai": 1})
	reject := func(v credential.Value, want string) credential.Value {
		t.Helper()
		v, err := cache.Replace(context.Background(), credential.Rejection{Value: v, StatusCode: 401})
		if err != nil || v.Secret.Reveal() != want {
			t.Fatalf("Replace gave another key: %v", err)
		}
		cache.Accept(v)
		return v
	}
	v = reject(v, "sk-CANARY-b1") // the same document has it
	s.wantCounts(map[string]int{"secret/data/openai": 2})
	if v.Source != "hashivault:secret/openai#standby" || v.Version != "7" {
		t.Errorf("source %q, version %q", v.Source, v.Version)
	}
	set("sk-CANARY-a2", "sk-CANARY-b1")
	v = reject(v, "sk-CANARY-a2")
	s.wantCounts(map[string]int{"secret/data/openai": 3})
	set("sk-CANARY-a2", "sk-CANARY-b2")
	reject(v, "sk-CANARY-b2")
	s.wantCounts(map[string]int{"secret/data/openai": 4})
}

func TestTheStandbyReadsByItselfWhenThePrimaryHasNot(t *testing.T) {
	s, c := newStub(t), newClock()
	s.do(func() { s.fields = map[string]any{"a": "sk-CANARY-a1", "b": "sk-CANARY-b1"} })
	src := s.source(&hashivault.Options{Field: "a", StandbyField: "b", Now: c.now})
	wants(t, src.Standby(), "sk-CANARY-b1")
	wants(t, src, "sk-CANARY-a1")
	c.pass(3 * time.Second)
	s.do(func() { s.fields["b"] = "sk-CANARY-b2" })
	wants(t, src.Standby(), "sk-CANARY-b2")
	s.wantCounts(map[string]int{"secret/data/openai": 3})
	if src.Standby() != src.Standby() {
		t.Error("the standby is another one each time, so that the Cache does not know it again")
	}
	if s.source(nil).Standby() != nil {
		t.Error("a source without StandbyField has a standby")
	}
}

func TestRenewGoesPastTheCacheOfTheLambdaExtension(t *testing.T) {
	s := newStub(t)
	src := s.source(nil)
	var headers []string
	s.on("secret/", func(w http.ResponseWriter, r *http.Request) {
		headers = append(headers, r.Header.Get("X-Vault-Cache-Control"))
		reply(w, 200, map[string]any{"data": map[string]any{"data": map[string]any{"key": firstKey}}})
	})
	v := wants(t, src, firstKey)
	if _, err := src.Renew(context.Background(), credential.Rejection{Value: v}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(headers) != "[ recache]" {
		t.Errorf("the headers were %q", headers)
	}
}

func TestNeitherTokenNorSecretIsEverPrinted(t *testing.T) {
	s := newStub(t)
	auth := &hashivault.AppRole{RoleID: "r", SecretID: credential.NewSecret("CANARY-sid")}
	src := s.source(&hashivault.Options{Auth: auth, Field: "key", StandbyField: "b"})
	v := wants(t, src, firstKey)
	type holder struct{ x any }
	for _, x := range []any{src, *src, src.Standby(), auth, &hashivault.Options{Auth: auth}, v, holder{src}, &holder{auth}, []any{src}, map[string]any{"k": src.Standby()}} {
		silent(t, x)
		if b, err := json.Marshal(x); err == nil && strings.Contains(string(b), "CANARY") {
			t.Errorf("the JSON of a %T shows a secret", x)
		}
	}
	// The client that a program hands in does print its token: that is Vault's.
	if !strings.Contains(fmt.Sprintf("%+v", s.client()), "CANARY") {
		t.Error("vault/api has learned to hide its token: hashivault need not hide the client any more")
	}
}

func TestTheClientOfTheProgramIsNotChanged(t *testing.T) {
	s := newStub(t)
	client := s.client()
	client.SetMaxRetries(7)
	wants(t, s.source(&hashivault.Options{Client: client, Namespace: "a", Auth: &hashivault.AppRole{RoleID: "r"}}), firstKey)
	if client.Token() != firstToken || client.Namespace() != "" || client.MaxRetries() != 7 {
		t.Error("the client has another token, namespace or number of retries")
	}
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{`{"data":{"data":{"key":"k"},"metadata":{"version":1}}}`, `{"lease_id":"x","lease_duration":-1,"data":{"key":"k"}}`, `{"auth":{}}`, `[]`, ``, `{"errors":["x"]}`} {
		f.Add(200, []byte(seed))
		f.Add(404, []byte(seed))
	}
	var status int
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	f.Cleanup(server.Close)
	cfg := api.DefaultConfig()
	cfg.Address = server.URL
	client, err := api.NewClient(cfg)
	if err != nil {
		f.Fatal("no client")
	}
	client.SetToken(firstToken)
	f.Fuzz(func(t *testing.T, code int, data []byte) {
		status, body = 200+(code%400+400)%400, data
		src, err := hashivault.New("secret/openai", &hashivault.Options{Client: client, Auth: &hashivault.AppRole{RoleID: "r"}})
		if err != nil {
			t.Fatal(err)
		}
		v, err := src.Retrieve(context.Background())
		if err == nil && v.Secret.IsZero() {
			t.Error("neither a value nor an error")
		}
		var se *credential.SourceError
		if err != nil && !errors.As(err, &se) {
			t.Errorf("%T: not a SourceError", err)
		}
	})
}
