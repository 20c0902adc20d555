package azuretest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// perPage is how many versions Key Vault lists in one answer at the most.
const perPage = 25

// A VaultVersion is a version as the vault has it.
type VaultVersion struct {
	ID, Value        string
	Enabled          bool
	Created, Expires time.Time
	Tags             map[string]string
}

// Versions returns the versions of a secret, oldest first.
func (v *Vault) Versions(name string) (all []VaultVersion) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.secrets[name] {
		all = append(all, VaultVersion{ID: s.id, Value: s.value, Enabled: s.enabled, Created: s.created, Expires: s.end, Tags: s.tags})
	}
	return all
}

// SetNow sets the clock of the vault, which is in its answers and in the attribute
// created.
func (v *Vault) SetNow(now func() time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now = now
}

// Deny refuses a method, or "LIST", as an identity without that right is refused.
func (v *Vault) Deny(method string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.denied[method] = true
}

// Recover ends a soft deletion.
func (v *Vault) Recover(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets[name] = v.deleted[name]
	delete(v.deleted, name)
}

func (v *Vault) refused(w http.ResponseWriter, r *http.Request, parts []string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := len(parts) == 3 && parts[2] == "versions"
	if !v.denied[r.Method] && !(list && v.denied["LIST"]) {
		return false
	}
	refuse(w, http.StatusForbidden, "Forbidden", "ForbiddenByRbac", "Caller is not authorized to perform action on resource. CANARY")
	return true
}

// written is the body of a request that makes or changes a version.
type written struct {
	Value       *string
	ContentType *string
	Attributes  struct {
		Enabled  *bool
		Nbf, Exp *int64
	}
	Tags map[string]string
}

func (b *written) change(s *vaultSecret) {
	if b.Attributes.Enabled != nil {
		s.enabled = *b.Attributes.Enabled
	}
	if b.Attributes.Nbf != nil {
		s.begin = time.Unix(*b.Attributes.Nbf, 0)
	}
	if b.Attributes.Exp != nil {
		s.end = time.Unix(*b.Attributes.Exp, 0)
	}
	if b.ContentType != nil {
		s.kind = *b.ContentType
	}
	if b.Tags != nil {
		s.tags = b.Tags
	}
}

// read reads the body before the vault is locked.
func (b *written) read(w http.ResponseWriter, r *http.Request) bool {
	if json.NewDecoder(r.Body).Decode(b) != nil || len(b.Tags) > 15 {
		refuse(w, http.StatusBadRequest, "BadParameter", "", "malformed")
		return false
	}
	for name, value := range b.Tags {
		if len(name) > 256 || len(value) > 256 {
			refuse(w, http.StatusBadRequest, "BadParameter", "", "tag")
			return false
		}
	}
	return true
}

// set makes a version, whatever there is.
// https://learn.microsoft.com/rest/api/keyvault/secrets/set-secret/set-secret
func (v *Vault) set(w http.ResponseWriter, r *http.Request, name string) {
	var b written
	if !b.read(w, r) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case b.Value == nil:
		refuse(w, http.StatusBadRequest, "BadParameter", "", "value")
		return
	case v.deleted[name] != nil:
		refuse(w, http.StatusConflict, "Conflict", "ObjectIsDeletedButRecoverable", "Secret "+name+" is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged.")
		return
	}
	s := &vaultSecret{value: *b.Value, enabled: true}
	b.change(s)
	v.add(name, s)
	writeJSON(w, http.StatusOK, s.bundle(name, true))
}

// patch changes the attributes and tags of a version; the last one wins.
func (v *Vault) patch(w http.ResponseWriter, r *http.Request, name, version string) {
	var b written
	if !b.read(w, r) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.find(name, version)
	if s == nil {
		refuse(w, http.StatusNotFound, "SecretNotFound", "", "no such version")
		return
	}
	b.change(s)
	writeJSON(w, http.StatusOK, s.bundle(name, false))
}

// list lists the versions by their identifiers, which is in no order of time; of a
// secret that is not there, none.
func (v *Vault) list(w http.ResponseWriter, r *http.Request, name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := slices.Clone(v.secrets[name])
	slices.SortFunc(all, func(a, b *vaultSecret) int { return strings.Compare(a.id, b.id) })
	after := r.URL.Query().Get("$skiptoken")
	all = slices.DeleteFunc(all, func(s *vaultSecret) bool { return s.id <= after })
	answer := map[string]any{"nextLink": nil}
	if len(all) > perPage {
		all = all[:perPage]
		answer["nextLink"] = VaultURL + "/secrets/" + name + "/versions?api-version=" + r.URL.Query().Get("api-version") + "&$skiptoken=" + all[perPage-1].id + "&maxresults=" + strconv.Itoa(perPage)
	}
	items := []any{}
	for _, s := range all {
		items = append(items, s.bundle(name, false))
	}
	answer["value"] = items
	writeJSON(w, http.StatusOK, answer)
}

// bundle is a version in Key Vault's form.
func (s *vaultSecret) bundle(name string, value bool) map[string]any {
	attributes := map[string]any{"enabled": s.enabled, "created": s.created.Unix(), "updated": s.created.Unix(), "recoveryLevel": "Recoverable+Purgeable"}
	if !s.begin.IsZero() {
		attributes["nbf"] = s.begin.Unix()
	}
	if !s.end.IsZero() {
		attributes["exp"] = s.end.Unix()
	}
	b := map[string]any{"id": VaultURL + "/secrets/" + name + "/" + s.id, "attributes": attributes}
	if value {
		b["value"] = s.value
	}
	if s.kind != "" {
		b["contentType"] = s.kind
	}
	if s.tags != nil {
		b["tags"] = s.tags
	}
	return b
}
