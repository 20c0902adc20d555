package azuretest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// VaultURL is the name of the vault.
const VaultURL = "https://myvault.vault.azure.net"

// A Vault is a Key Vault: the challenge before the first token, versions,
// attributes, deleted secrets. All methods are safe for concurrent use.
// https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret
type Vault struct {
	Script
	server *httptest.Server
	cert   *Certificate

	mu       sync.Mutex
	secrets  map[string][]*vaultSecret
	deleted  map[string]bool
	tokens   map[string]bool
	resource string
	reads    int
	versions int
}

type vaultSecret struct {
	id, value  string
	enabled    bool
	begin, end time.Time
}

// Attributes are those of one version. The zero Attributes are an enabled
// version without limits in time.
type Attributes struct {
	Disabled           bool
	NotBefore, Expires time.Time
}

// NewVault starts a vault that lets tokens read.
func NewVault(t testing.TB, tokens ...string) *Vault {
	t.Helper()
	v := &Vault{
		cert: NewCertificate(t, time.Now().Add(time.Hour), "*.vault.azure.net"), resource: "https://vault.azure.net",
		secrets: map[string][]*vaultSecret{}, deleted: map[string]bool{}, tokens: map[string]bool{},
	}
	for _, token := range tokens {
		v.tokens[token] = true
	}
	v.server = serveTLS(t, v.cert, v.serve)
	return v
}

// Client returns a client that trusts the vault and reaches it under the name
// of VaultURL.
func (v *Vault) Client() *http.Client { return pinned(v.cert, v.server.Listener.Addr().String()) }

// Put publishes a new version of a secret and returns its id.
func (v *Vault) Put(name, value string, attributes ...Attributes) (version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.versions++
	s := &vaultSecret{id: fmt.Sprintf("%032x", v.versions), value: value, enabled: true}
	for _, a := range attributes {
		s.enabled, s.begin, s.end = !a.Disabled, a.NotBefore, a.Expires
	}
	v.secrets[name] = append(v.secrets[name], s)
	return s.id
}

// Delete deletes a secret softly; purge for good.
func (v *Vault) Delete(name string, purge bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.secrets, name)
	v.deleted[name] = !purge
}

// Challenge sets the resource that the vault asks tokens for.
func (v *Vault) Challenge(resource string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.resource = resource
}

// Reads returns how many answers held a secret.
func (v *Vault) Reads() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.reads
}

func (v *Vault) serve(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	token, known := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	known = known && v.tokens[token]
	resource := v.resource
	v.mu.Unlock()
	w.Header().Set("X-Ms-Keyvault-Region", "westeurope")
	if !known {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization="https://login.microsoftonline.com/%s", resource="%s"`, Tenant, resource))
		if token == "" {
			refuse(w, http.StatusUnauthorized, "Unauthorized", "", "AKV10000: Request is missing a Bearer or PoP token.")
			return
		}
		refuse(w, http.StatusUnauthorized, "Unauthorized", "", "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/"+Tenant+"/, found "+token+".")
		return
	}
	if v.handled(w, r) {
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Query().Get("api-version") == "" || len(parts) < 2 || len(parts) > 3:
		refuse(w, http.StatusBadRequest, "BadParameter", "", "malformed")
	case parts[0] == "deletedsecrets":
		v.serveDeleted(w, parts[1])
	default:
		version := ""
		if len(parts) == 3 {
			version = parts[2]
		}
		v.serveSecret(w, parts[1], version)
	}
}

// Tenant is the tenant of the vault.
const Tenant = "00000000-0000-4000-8000-00000000feed"

func (v *Vault) serveDeleted(w http.ResponseWriter, name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.deleted[name] {
		refuse(w, http.StatusNotFound, "SecretNotFound", "", "Deleted Secret not found: "+name)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"recoveryId": VaultURL + "/deletedsecrets/" + name, "id": VaultURL + "/secrets/" + name,
		"deletedDate": time.Now().Unix(), "scheduledPurgeDate": time.Now().Add(90 * 24 * time.Hour).Unix(),
	})
}

func (v *Vault) serveSecret(w http.ResponseWriter, name, version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var s *vaultSecret
	for _, one := range v.secrets[name] {
		if version == "" || version == one.id {
			s = one
		}
	}
	switch {
	case s == nil:
		refuse(w, http.StatusNotFound, "SecretNotFound", "", "A secret with (name/id) "+name+" was not found in this key vault. If you recently deleted this secret you may be able to recover it using the correct recovery command.")
		return
	case !s.enabled:
		refuse(w, http.StatusForbidden, "Forbidden", "SecretDisabled", "Operation get is not allowed on a disabled secret.")
		return
	}
	v.reads++
	attributes := map[string]any{"enabled": true, "created": 1767225600, "updated": 1767225600, "recoveryLevel": "Recoverable+Purgeable"}
	if !s.begin.IsZero() {
		attributes["nbf"] = s.begin.Unix()
	}
	if !s.end.IsZero() {
		attributes["exp"] = s.end.Unix()
	}
	writeJSON(w, http.StatusOK, map[string]any{"value": s.value, "id": VaultURL + "/secrets/" + name + "/" + s.id, "attributes": attributes})
}

// VaultError is a refusal in Key Vault's form.
func VaultError(code, inner, message string) string {
	if inner != "" {
		return fmt.Sprintf(`{"error":{"code":%q,"message":%q,"innererror":{"code":%q}}}`, code, message, inner)
	}
	return fmt.Sprintf(`{"error":{"code":%q,"message":%q}}`, code, message)
}

func refuse(w http.ResponseWriter, status int, code, inner, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(VaultError(code, inner, message)))
}
