package azuretest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// ResourceID is the id of a [Resource] at Resource Manager.
const ResourceID = "/subscriptions/sub/resourceGroups/group/providers/Microsoft.CognitiveServices/accounts/account"

// A Resource is an Azure OpenAI resource with its two keys, and Resource Manager in
// front of it, under one address. All methods are safe for concurrent use.
// https://learn.microsoft.com/rest/api/aiservices/accountmanagement/accounts/regenerate-key
type Resource struct {
	mu     sync.Mutex
	token  string
	n      int
	keys   map[string]string
	made   []string
	lose   int
	drop   int
	status int
	format string
}

// NewResource returns one whose Resource Manager takes token.
func NewResource(token string) *Resource {
	return &Resource{token: token, keys: map[string]string{"Key1": "CANARY-key1-0", "Key2": "CANARY-key2-0"}}
}

// Key returns the key of that name, "Key1" or "Key2".
func (r *Resource) Key(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[name]
}

// Accepts reports whether the service takes the key.
func (r *Resource) Accepts(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return key == r.keys["Key1"] || key == r.keys["Key2"]
}

// Made returns the names of the keys that were regenerated since the last call.
func (r *Resource) Made() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	made := slices.Clone(r.made)
	r.made = nil
	return made
}

// Lose makes the next regenerateKey lose its request, or its answer.
func (r *Resource) Lose(answer bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if answer {
		r.lose++
	} else {
		r.drop++
	}
}

// Answer sets what Resource Manager answers: a status in place of its own, or format,
// which gets a key.
func (r *Resource) Answer(status int, format string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.format = status, format
}

// ServeHTTP answers one request.
func (r *Resource) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if req.URL.Path == "/openai/v1/models" {
		if key := req.Header.Get("Api-Key"); key != r.keys["Key1"] && key != r.keys["Key2"] {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = w.Write([]byte(`{}`))
		return
	}
	if req.Method != http.MethodPost || req.URL.Query().Get("api-version") == "" || req.Header.Get("Authorization") != "Bearer "+r.token {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	switch {
	case r.status != 0:
		w.WriteHeader(r.status)
		_, _ = fmt.Fprintf(w, `{"error":{"code":"x","message":"%s"}}`, r.keys["Key1"])
		return
	case req.URL.Path == ResourceID+"/regenerateKey":
		if r.regenerate(w, req) {
			return
		}
	case req.URL.Path != ResourceID+"/listKeys":
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.format != "" {
		_, _ = fmt.Fprintf(w, r.format, r.keys["Key1"])
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"key1": r.keys["Key1"], "key2": r.keys["Key2"]})
}

// regenerate reports whether there is nothing more to answer.
func (r *Resource) regenerate(w http.ResponseWriter, req *http.Request) bool {
	var asked struct {
		KeyName string `json:"keyName"`
	}
	if json.NewDecoder(req.Body).Decode(&asked) != nil || r.keys[asked.KeyName] == "" {
		w.WriteHeader(http.StatusBadRequest)
		return true
	}
	if r.drop > 0 {
		r.drop--
		hangUp(w)
		return true
	}
	r.n++
	r.keys[asked.KeyName] = fmt.Sprintf("CANARY-%s-%d", strings.ToLower(asked.KeyName), r.n)
	r.made = append(r.made, asked.KeyName)
	if r.lose > 0 {
		r.lose--
		hangUp(w)
		return true
	}
	return false
}

// hangUp closes the connection without an answer.
func hangUp(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}
