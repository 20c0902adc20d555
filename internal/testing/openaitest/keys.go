package openaitest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// create makes a key. s.mu is held.
func (s *Service) create(w http.ResponseWriter, r *http.Request, account string) {
	s.calls["create"]++
	var asked struct {
		Name             string   `json:"name"`
		ExpiresInSeconds int64    `json:"expires_in_seconds"`
		Scopes           []string `json:"scopes"`
	}
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&asked) != nil {
		refuse(w, http.StatusBadRequest, "invalid_json", "We could not parse the JSON body of your request.")
		return
	}
	b, life := &s.behavior, time.Duration(asked.ExpiresInSeconds)*time.Second
	alive := 0
	for _, k := range s.keys {
		if k.Account == account && k.Deleted.IsZero() {
			alive++
		}
	}
	switch {
	case b.Status != 0:
		refuse(w, b.Status, b.Code, "The request was refused: "+b.Code+".")
		return
	case life < 0 || life > 365*24*time.Hour:
		refuse(w, http.StatusBadRequest, "invalid_value", "expires_in_seconds must be between 1 and 31536000.")
		return
	case b.NeedExpiry && life == 0:
		refuse(w, http.StatusBadRequest, "expiration_required", "The policy of this organization requires API keys to expire.")
		return
	case b.Longest > 0 && (life == 0 || life > b.Longest):
		refuse(w, http.StatusBadRequest, "expiration_too_long", "The policy of this organization allows API keys to live for at most "+strconv.Itoa(int(b.Longest.Seconds()))+" seconds.")
		return
	case b.Most > 0 && alive >= b.Most:
		refuse(w, http.StatusBadRequest, "api_key_limit_reached", "The account has reached its limit of API keys.")
		return
	}
	now := s.now()
	k := &Key{
		ID: fmt.Sprintf("key_%d", len(s.keys)), Name: asked.Name, Account: account, Scopes: asked.Scopes,
		Created: now, Life: life, secret: newSecret(account),
	}
	if life > 0 {
		k.Expires = now.Add(life)
	}
	s.keys = append(s.keys, k)
	answer := map[string]any{"object": "organization.project.service_account.api_key", "id": k.ID, "name": k.Name, "created_at": now.Unix(), "value": k.secret}
	if account == "" {
		answer = s.listed(k)
		answer["value"] = k.secret
	} else if life > 0 {
		answer["expires_at"] = k.Expires.Unix()
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// listed is a key in a list.
func (s *Service) listed(k *Key) map[string]any {
	l := map[string]any{
		"object": "organization.project.api_key", "id": k.ID, "name": k.Name, "created_at": k.Created.Unix(), "last_used_at": nil, "redacted_value": "sk-...",
		"owner_project_access": "active",
		"owner": map[string]any{"type": "service_account", "service_account": map[string]any{
			"id": k.Account, "name": "latchkey", "object": "organization.project.service_account", "role": "member", "created_at": 1,
		}},
	}
	if k.Account == "" {
		l["object"] = "organization.admin_api_key"
		l["owner"] = map[string]any{"type": "user", "object": "organization.user", "id": "user_1", "name": "An Owner", "created_at": 1, "role": "owner"}
		delete(l, "owner_project_access")
	}
	if !k.Expires.IsZero() {
		l["expires_at"] = k.Expires.Unix()
	}
	if !k.LastUsed.IsZero() {
		l["last_used_at"] = k.LastUsed.Unix()
	}
	return l
}

// list gives the keys of all service accounts, or the admin keys, a page at a time. s.mu
// is held.
func (s *Service) list(w http.ResponseWriter, r *http.Request, account string) {
	s.calls["list"]++
	now, page := s.now(), []map[string]any{}
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	if limit <= 0 {
		limit = 20
	}
	if limit = min(limit, 100); s.behavior.Page > 0 {
		limit = min(limit, s.behavior.Page)
	}
	from := 0
	if after := r.URL.Query().Get("after"); after != "" {
		from = 1 + slices.IndexFunc(s.keys, func(k *Key) bool { return k.ID == after })
	}
	more, last := false, ""
	for _, k := range s.keys[from:] {
		if (k.Account == "") != (account == "") || !s.there(k, now) || !k.lives(now) {
			continue
		}
		if more = len(page) == limit; more {
			break
		}
		page, last = append(page, s.listed(k)), k.ID
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": page, "has_more": more, "last_id": last})
}

// remove deletes a key. s.mu is held.
func (s *Service) remove(w http.ResponseWriter, id, account string) {
	s.calls["delete"]++
	for _, k := range s.keys {
		if k.ID != id || (k.Account == "") != (account == "") || !k.Deleted.IsZero() {
			continue
		}
		k.Deleted = s.now()
		object := "organization.project.api_key.deleted"
		if account == "" {
			object = "organization.admin_api_key.deleted"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"object": object, "id": id, "deleted": true})
		return
	}
	refuse(w, http.StatusNotFound, "not_found", "No such API key.")
}
