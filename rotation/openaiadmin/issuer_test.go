package openaiadmin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/file"
	"github.com/latchkey-go/latchkey/rotation/openaiadmin"
)

const (
	adminKey = "sk-admin-CANARY-0123456789"
	keysPath = "/v1/organization/projects/proj_1/api_keys"
	newPath  = "/v1/organization/projects/proj_1/service_accounts/svc_1/api_keys"
)

// An api is the Admin API, as far as an issuer needs it, and the list of models.
type api struct {
	t       *testing.T
	mu      sync.Mutex
	keys    []map[string]any
	secrets map[string]string // by id
	created []map[string]any  // what was asked for
	pages   int
	refuse  int    // a status for requests that make a key
	garble  string // in place of the answer to one
}

func newAPI(t *testing.T) (*api, string) {
	t.Helper()
	a := &api{t: t, secrets: map[string]string{}}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return a, server.URL + "/v1/"
}

func (a *api) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	if req.URL.Path == "/v1/models" {
		a.models(w, token)
		return
	}
	if token != adminKey {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":{"code":"invalid_api_key","message":"no"}}`))
		return
	}
	switch id, one := strings.CutPrefix(req.URL.Path, keysPath+"/"); {
	case req.Method == http.MethodPost && req.URL.Path == newPath:
		a.create(w, req)
	case req.Method == http.MethodGet && req.URL.Path == keysPath:
		a.list(w, req)
	case req.Method == http.MethodDelete && one:
		a.remove(w, id)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":{"message":"no such thing"}}`))
	}
}

func (a *api) models(w http.ResponseWriter, token string) {
	for id, secret := range a.secrets {
		if secret != token {
			continue
		}
		for _, k := range a.keys {
			if k["id"] == id {
				k["last_used_at"] = time.Now().Unix()
			}
		}
		w.WriteHeader(http.StatusForbidden) // the key has one scope, and this is another
		_, _ = w.Write([]byte(`{"error":{"message":"missing scope"}}`))
		return
	}
	w.WriteHeader(http.StatusUnauthorized)
}

func (a *api) create(w http.ResponseWriter, req *http.Request) {
	var asked map[string]any
	if json.NewDecoder(req.Body).Decode(&asked) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a.created = append(a.created, asked)
	if a.refuse != 0 {
		w.WriteHeader(a.refuse)
		_, _ = w.Write([]byte(`{"error":{"code":"policy","message":"the policy demands a shorter life"}}`))
		return
	}
	id := fmt.Sprintf("key_%d", len(a.created))
	a.secrets[id] = "sk-svcacct-CANARY-" + id
	life, _ := asked["expires_in_seconds"].(float64)
	key := map[string]any{
		"id": id, "name": asked["name"], "created_at": time.Now().Unix(), "expires_at": time.Now().Unix() + int64(life), "last_used_at": nil,
		"object": "organization.project.api_key", "redacted_value": "sk-...", "owner": map[string]any{"type": "service_account", "service_account": map[string]any{"id": "svc_1"}},
	}
	a.keys = append(a.keys, key)
	if a.garble != "" {
		_, _ = fmt.Fprintf(w, a.garble, a.secrets[id])
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id": id, "name": asked["name"], "created_at": key["created_at"], "expires_at": key["expires_at"], "value": a.secrets[id], "object": "organization.project.service_account.api_key"})
}

// list gives two keys a page, whatever is asked for.
func (a *api) list(w http.ResponseWriter, req *http.Request) {
	a.pages++
	from := 0
	if after := req.URL.Query().Get("after"); after != "" {
		from = 1 + slices.IndexFunc(a.keys, func(k map[string]any) bool { return k["id"] == after })
	}
	page := a.keys[from:min(from+2, len(a.keys))]
	last := ""
	if len(page) > 0 {
		last, _ = page[len(page)-1]["id"].(string)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": page, "has_more": from+2 < len(a.keys), "last_id": last})
}

func (a *api) remove(w http.ResponseWriter, id string) {
	at := slices.IndexFunc(a.keys, func(k map[string]any) bool { return k["id"] == id })
	if at < 0 {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":{"message":"no such key"}}`))
		return
	}
	a.keys = slices.Delete(a.keys, at, at+1)
	delete(a.secrets, id)
	_ = json.NewEncoder(w).Encode(map[string]any{"object": "organization.project.api_key.deleted", "id": id, "deleted": true})
}

// other adds a key that somebody else has made.
func (a *api) other(id, account string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = append(a.keys, map[string]any{
		"id": id, "name": "latchkey/theirs", "created_at": 1, "last_used_at": 1, "object": "organization.project.api_key", "redacted_value": "sk-...",
		"owner": map[string]any{"type": "service_account", "service_account": map[string]any{"id": account}},
	})
}

func issuer(t *testing.T, base, key string) *openaiadmin.Issuer {
	t.Helper()
	i, err := openaiadmin.New(credential.Static(credential.NewSecret(key), credential.APIKey), &openaiadmin.Options{
		Project: "proj_1", ServiceAccount: "svc_1", Scopes: []string{"api.model.request"}, BaseURL: base,
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// A whole rotation, through the official SDK's admin services: the key of another
// account stays, the list has several pages, and the old key goes.
func TestARotationThroughTheAdminAPI(t *testing.T) {
	a, base := newAPI(t)
	for n := range 5 {
		a.other(fmt.Sprintf("other_%d", n), "svc_2")
	}
	dir := t.TempDir()
	store, err := file.New(private(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r, err := rotation.New(issuer(t, base, adminKey), store, &rotation.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for turn := range 3 {
		report, err := r.Run(t.Context())
		if err != nil || strings.Contains(fmt.Sprintf("%+v", report), "CANARY") {
			t.Fatalf("turn %d: %v", turn, err)
		}
		now = now.Add(30 * 24 * time.Hour)
		// The overlap is over, and what was proved is not used any more.
		if report, err = r.Run(t.Context()); err != nil {
			t.Fatalf("turn %d: %+v, %v", turn, report, err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.keys) != 5+2 || a.pages < 6 {
		t.Errorf("%d keys, %d pages", len(a.keys), a.pages)
	}
	for _, asked := range a.created {
		name, _ := asked["name"].(string)
		life, _ := asked["expires_in_seconds"].(float64)
		if !strings.HasPrefix(name, "latchkey/") || life <= 0 || life > 365*86400 || fmt.Sprint(asked["scopes"]) != "[api.model.request]" {
			t.Errorf("asked for %v", asked)
		}
	}
}

func TestRefusalsSayWhatToDoAndShowNoKey(t *testing.T) {
	a, base := newAPI(t)
	version := rotation.Version{Token: "latchkey/x"}
	year := time.Now().Add(1000 * 24 * time.Hour)
	for name, test := range map[string]struct {
		refuse int
		garble string
		key    string
		says   string
	}{
		"policy":         {400, "", adminKey, "policy demands"},
		"no permission":  {403, "", adminKey, "api.management.write"},
		"wrong key":      {0, "", "sk-admin-CANARY-other", "admin key"},
		"no such":        {404, "", adminKey, "service account"},
		"garbled answer": {0, `{"value": "%s", "created_at": "yesterday"`, adminKey, "could not be read"},
		"wrong types":    {0, `["%s"]`, adminKey, "could not be read"},
	} {
		a.refuse, a.garble = test.refuse, test.garble
		_, err := issuer(t, base, test.key).Issue(t.Context(), version, nil, year)
		switch {
		case err == nil:
			t.Errorf("%s: no error", name)
		case strings.Contains(err.Error(), "CANARY"):
			t.Errorf("%s: the error shows a key", name)
		case !strings.Contains(err.Error(), test.says):
			t.Errorf("%s: %v", name, err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, asked := range a.created {
		if life, _ := asked["expires_in_seconds"].(float64); life != 365*86400 {
			t.Errorf("asked for %v seconds, want a year", life)
		}
	}
	if len(a.created) != 5 {
		t.Errorf("%d requests that make a key, want one for each try that reached it", len(a.created))
	}
}

func TestAKeyIsProvedByAnyAnswerThatKnowsIt(t *testing.T) {
	a, base := newAPI(t)
	i := issuer(t, base, adminKey)
	k, err := i.Issue(t.Context(), rotation.Version{Token: "latchkey/x"}, nil, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Prove(t.Context(), k.Secret); err != nil {
		t.Errorf("a key with other scopes: %v", err)
	}
	for range 2 {
		if err := i.Revoke(t.Context(), k.ID); err != nil {
			t.Errorf("revoke: %v", err)
		}
	}
	if err := i.Prove(t.Context(), k.Secret); !errors.Is(err, rotation.ErrNotAccepted) {
		t.Errorf("a key that is gone: %v", err)
	}
	if len(a.secrets) != 0 {
		t.Error("the key is still there")
	}
}

func TestAnIssuerThatWouldMakeTooMuchIsRefused(t *testing.T) {
	key := credential.Static(credential.NewSecret(adminKey), credential.APIKey)
	for name, opts := range map[string]*openaiadmin.Options{
		"nil": nil, "no account": {Project: "p", AllScopes: true}, "no scopes": {Project: "p", ServiceAccount: "s"},
		"both": {Project: "p", ServiceAccount: "s", Scopes: []string{"a"}, AllScopes: true}, "plain http": {Project: "p", ServiceAccount: "s", AllScopes: true, BaseURL: "http://example.com/v1/"},
	} {
		if _, err := openaiadmin.New(key, opts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := openaiadmin.New(nil, &openaiadmin.Options{Project: "p", ServiceAccount: "s", AllScopes: true}); err == nil {
		t.Error("no admin key: accepted")
	}
}
