package hashivault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	source "github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/hashivault"
)

// A vault is one secret of KV version 2, as Vault answers for it. The tests with a real
// Vault are in internal/testing/vaulttest.
type vault struct {
	mu      sync.Mutex
	version int
	data    map[string]any
}

func (v *vault) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if req.URL.Path != "/v1/secret/data/openai" {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"errors":["permission denied"]}`))
		return
	}
	meta := func() map[string]any {
		return map[string]any{"version": v.version, "created_time": "2026-11-26T12:00:00Z", "deletion_time": "", "destroyed": false}
	}
	switch req.Method {
	case http.MethodGet:
		if v.version == 0 {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"errors":[]}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"data": v.data, "metadata": meta()}})
	case http.MethodPut, http.MethodPost:
		var body struct {
			Data    map[string]any
			Options struct{ CAS *int }
		}
		if json.NewDecoder(req.Body).Decode(&body) != nil || body.Options.CAS == nil || *body.Options.CAS != v.version {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"errors":["check-and-set parameter did not match the current version"]}`))
			return
		}
		v.data, v.version = body.Data, v.version+1
		_ = json.NewEncoder(w).Encode(map[string]any{"data": meta()})
	}
}

func newVault(t *testing.T) (*vault, *api.Client) {
	t.Helper()
	v := &vault{}
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	conf := api.DefaultConfig()
	conf.Address, conf.MaxRetries = server.URL, 0
	c, err := api.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	c.SetToken("hvs.CANARY-token")
	return v, c
}

func newStore(t *testing.T, c *api.Client) *hashivault.Store {
	t.Helper()
	s, err := hashivault.New(c, "secret", "openai")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// issuer makes keys that are accepted at once.
type issuer struct{ n int }

func (i *issuer) Issue(_ context.Context, pending rotation.Version, _ *rotation.Version, expires time.Time) (rotation.Key, error) {
	i.n++
	return rotation.Key{ID: fmt.Sprint(i.n), Name: pending.Token, Secret: credential.NewSecret(fmt.Sprintf("sk-CANARY-%d", i.n)), Expires: expires}, nil
}

func (*issuer) Prove(context.Context, credential.Secret) error { return nil }
func (*issuer) Keys(context.Context) ([]rotation.Key, error)   { return nil, nil }
func (*issuer) Revoke(context.Context, string) error           { return nil }

func TestReadersFindTheKeyAndTheNextOne(t *testing.T) {
	v, c := newVault(t)
	v.version, v.data = 3, map[string]any{"key": "sk-CANARY-by-hand", "team": "search"}
	store := newStore(t, c)
	read := func() (string, string) {
		t.Helper()
		src, err := source.New("secret/openai", &source.Options{Client: c, Field: "key", KVVersion: 2})
		if err != nil {
			t.Fatal(err)
		}
		value, err := src.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		next, _ := v.data["pending"].(string)
		return value.Secret.Reveal(), next
	}
	pendings := []string{}
	r, err := rotation.New(&issuer{}, store, &rotation.Options{OnStep: func(rotation.Step, rotation.State) {
		_, next := read()
		pendings = append(pendings, next)
	}})
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Run(t.Context())
	if err != nil || strings.Contains(fmt.Sprintf("%+v %+v", report, store), "CANARY") {
		t.Fatal(err)
	}
	if key, next := read(); key != "sk-CANARY-1" || next != "" || v.data["team"] != "search" {
		t.Errorf("after the rotation: the right key %t, another one pending %t, team %v", key == "sk-CANARY-1", next != "", v.data["team"])
	}
	if fmt.Sprint(pendings) != "[  sk-CANARY-1 sk-CANARY-1]" {
		t.Errorf("the pending key was seen %d times", strings.Count(fmt.Sprint(pendings), "sk-"))
	}
	state, err := store.Load(t.Context())
	if err != nil || state.Previous == nil || state.Previous.Secret.Reveal() != "sk-CANARY-by-hand" || state.Current.KeyID != "1" {
		t.Errorf("%v", err)
	}
}

func TestAChangeInBetweenIsAConflict(t *testing.T) {
	v, c := newVault(t)
	store := newStore(t, c)
	from, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Stage(t.Context(), from, rotation.Version{Token: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := store.Stage(t.Context(), from, rotation.Version{Token: "b"}); !errors.Is(err, rotation.ErrConflict) {
		t.Errorf("%v, want ErrConflict", err)
	}
	if from, err = store.Load(t.Context()); err != nil || from.Pending.Token != "a" || from.Revision != "1" {
		t.Errorf("%+v, %v", from, err)
	}
	if err := store.Promote(t.Context(), from, time.Now()); err == nil || v.version != 1 {
		t.Error("a version without a key was promoted")
	}
}

func TestErrorsHoldNoKey(t *testing.T) {
	v, c := newVault(t)
	v.version, v.data = 1, map[string]any{"rotation": "CANARY no state"}
	if _, err := newStore(t, c).Load(t.Context()); err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Error("no error, or one with the text")
	}
	other, err := hashivault.New(c, "secret", "another")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "permission denied") || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("%v", err)
	}
	if _, err := hashivault.New(nil, "secret", "x"); err == nil {
		t.Error("no client: accepted")
	}
}

func Example() {
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := hashivault.New(client, "secret", "prod/openai")
	if err != nil {
		fmt.Println(err)
		return
	}
	var _ rotation.Store = store
	fmt.Println("ready")
	// Output: ready
}
