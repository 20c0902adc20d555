// Package openaitest is the part of the OpenAI Admin API that makes, lists and deletes
// keys, and the check of keys in front of the API itself, with the shapes of
// github.com/openai/openai-go/v3. It can be slow, lossy and late, as the real one can.
package openaitest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// The account of a [Service].
const (
	Project        = "proj_1"
	ServiceAccount = "svc_1"
)

const (
	adminPath   = "/v1/organization/admin_api_keys"
	projectPath = "/v1/organization/projects/" + Project + "/api_keys"
	accountPath = "/v1/organization/projects/" + Project + "/service_accounts/" + ServiceAccount + "/api_keys"
)

// A Behavior is how a Service is. The zero Behavior is a good one.
type Behavior struct {
	// Lag is how long it takes until a new key is accepted.
	Lag time.Duration
	// Linger is for how long a deleted key is still accepted and listed.
	Linger time.Duration
	// Slow passes before each answer of the Admin API.
	Slow time.Duration
	// NeedExpiry refuses keys without an expiry, and Longest, if it is not zero, those
	// that live longer.
	NeedExpiry bool
	Longest    time.Duration
	// Most is how many keys an account can have; 0 is no bound.
	Most int
	// Status and Code, if Status is not zero, refuse each request for a new key.
	Status int
	Code   string
	// Page is how many keys a list has at most; 0 is what is asked for.
	Page int
	// Lose, if not nil, is asked about each request. What it returns may be nil; else
	// the connection is cut: before the request is carried out if it returns Request,
	// after it if it returns Answer.
	Lose func(*http.Request) Loss
}

// A Loss is what gets lost of a request.
type Loss int

// The losses.
const (
	Nothing Loss = iota
	Request
	Answer
)

// A Key is a key of the Service. Account is the id of its service account; empty is an
// admin key.
type Key struct {
	ID, Name, Account                   string
	Scopes                              []string
	Created, Expires, Deleted, LastUsed time.Time
	// Life is the life that was asked for; zero is none.
	Life time.Duration

	secret string
}

// A Service is the Admin API at /v1/organization and, behind the check of keys, the API
// at the other paths. It is safe for concurrent use.
type Service struct {
	api http.Handler
	now func() time.Time

	mu       sync.Mutex
	keys     []*Key
	behavior Behavior
	calls    map[string]int
}

// New returns a Service with one admin key. Requests with a key of the service account
// go on to api, as they came; nil answers them with 403, as if the key lacked a scope.
// now is the clock; nil is time.Now.
func New(adminKey string, api http.Handler, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	if api == nil {
		api = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusForbidden, "missing_scope", "You have insufficient permissions for this operation.")
		})
	}
	return &Service{
		api: api, now: now, calls: map[string]int{},
		keys: []*Key{{ID: "key_first_admin", Name: "first", secret: adminKey, Created: now().Add(-time.Hour)}},
	}
}

// Behave makes the Service be so from now on.
func (s *Service) Behave(b Behavior) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behavior = b
}

// Keys returns the keys of an account that are not deleted and have not expired.
func (s *Service) Keys(account string) []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []Key
	for _, k := range s.keys {
		if k.Account == account && k.Deleted.IsZero() && k.lives(s.now()) {
			keys = append(keys, *k)
		}
	}
	return keys
}

// Calls returns how many requests of a kind there were: "create", "list" and "delete"
// of the Admin API, "accepted" and "refused" by the check of keys.
func (s *Service) Calls(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[kind]
}

// Put adds a key of an account that somebody else has made.
func (s *Service) Put(account, name, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, &Key{ID: fmt.Sprintf("key_put_%d", len(s.keys)), Name: name, Account: account, Created: s.now().Add(-24 * time.Hour), secret: secret})
}

// Accepts reports whether a secret is that of a key of the service account that works.
func (s *Service) Accepts(secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.find(secret)
	return k != nil && k.Account != ""
}

func (k *Key) lives(now time.Time) bool { return k.Expires.IsZero() || now.Before(k.Expires) }

// find returns the key that is accepted now, or nil. s.mu is held.
func (s *Service) find(secret string) *Key {
	now := s.now()
	for _, k := range s.keys {
		if secret == "" || k.secret != secret {
			continue
		}
		if now.Before(k.Created.Add(s.behavior.Lag)) && k.Life > 0 || !k.lives(now) || !s.there(k, now) {
			return nil
		}
		return k
	}
	return nil
}

// there reports whether a key is not deleted, as far as it has got about. s.mu is held.
func (s *Service) there(k *Key, now time.Time) bool {
	return k.Deleted.IsZero() || now.Before(k.Deleted.Add(s.behavior.Linger))
}

// ServeHTTP answers a request. It panics with http.ErrAbortHandler to cut a connection.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	b := s.behavior
	s.mu.Unlock()
	lost := Nothing
	if b.Lose != nil {
		lost = b.Lose(r)
	}
	if lost == Request {
		panic(http.ErrAbortHandler) //nolint:forbidigo // as net/http asks for
	}
	admin := strings.HasPrefix(r.URL.Path, "/v1/organization/")
	if admin && b.Slow > 0 {
		select {
		case <-time.After(b.Slow):
		case <-r.Context().Done():
		}
	}
	if lost == Answer {
		w = discard{http.Header{}}
		defer panic(http.ErrAbortHandler) //nolint:forbidigo // as net/http asks for
	}
	if !s.known(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), admin) {
		refuse(w, http.StatusUnauthorized, "invalid_api_key", "Incorrect API key provided.")
		return
	}
	if !admin {
		s.api.ServeHTTP(w, r)
		return
	}
	s.route(w, r)
}

// RoundTrip answers a request in memory, so that a test inside of a testing/synctest
// bubble needs no connection.
func (s *Service) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, errCut
		}
	}()
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, r); r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	resp = w.Result()
	resp.Request = r
	return resp, nil
}

var errCut = errors.New("openaitest: the connection was cut")

// known checks a key, and notes its use.
func (s *Service) known(secret string, admin bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.find(secret)
	if k == nil || admin != (k.Account == "") {
		s.calls["refused"]++
		return false
	}
	s.calls["accepted"]++
	k.LastUsed = s.now()
	return true
}

func (s *Service) route(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	for path, account := range map[string]string{adminPath: "", accountPath: ServiceAccount, projectPath: ServiceAccount} {
		id, one := strings.CutPrefix(r.URL.Path, path+"/")
		switch {
		case r.Method == http.MethodPost && r.URL.Path == path && path != projectPath:
			s.create(w, r, account)
		case r.Method == http.MethodGet && r.URL.Path == path && path != accountPath:
			s.list(w, r, account)
		case r.Method == http.MethodDelete && one && path != accountPath:
			s.remove(w, id, account)
		default:
			continue
		}
		return
	}
	refuse(w, http.StatusNotFound, "not_found", "No such project, service account or key.")
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message, "type": "invalid_request_error", "param": nil, "code": code}})
}

// discard is an answer that nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// newSecret holds the word that tests look for in all that is printed.
func newSecret(account string) string {
	if account == "" {
		return "sk-admin-CANARY-" + rand.Text()
	}
	return "sk-svcacct-CANARY-" + rand.Text()
}
