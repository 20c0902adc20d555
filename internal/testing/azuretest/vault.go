package azuretest

import (
	"crypto/sha256"
	"encoding/hex"
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

// A Vault is a Key Vault: the challenge before the first token, versions, tags,
// attributes, deleted secrets. All methods are safe for concurrent use.
// https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret
type Vault struct {
	Script
	server *httptest.Server
	cert   *Certificate

	mu       sync.Mutex
	secrets  map[string][]*vaultSecret
	deleted  map[string][]*vaultSecret
	tokens   map[string]bool
	denied   map[string]bool // methods, and "LIST"
	resource string
	reads    int
	versions int
	now      func() time.Time
}

type vaultSecret struct {
	id, value, kind     string
	enabled             bool
	begin, end, created time.Time
	tags                map[string]string
}

// Attributes are those of one version. The zero Attributes are an enabled
// version without limits in time.
type Attributes struct {
	Disabled           bool
	NotBefore, Expires time.Time
	Tags               map[string]string
}

// NewVault starts a vault that lets tokens read and write.
func NewVault(t testing.TB, tokens ...string) *Vault {
	t.Helper()
	v := newVault(tokens)
	v.cert = NewCertificate(t, time.Now().Add(time.Hour), "*.vault.azure.net")
	v.server = serveTLS(t, v.cert, v.ServeHTTP)
	return v
}

// NewPipedVault is NewVault behind a [Pipe]. It has no Client.
func NewPipedVault(t testing.TB, tokens ...string) (*Vault, http.RoundTripper) {
	t.Helper()
	v := newVault(tokens)
	return v, Pipe(t, v)
}

func newVault(tokens []string) *Vault {
	v := &Vault{
		resource: "https://vault.azure.net", secrets: map[string][]*vaultSecret{}, deleted: map[string][]*vaultSecret{},
		tokens: map[string]bool{}, denied: map[string]bool{}, now: time.Now,
	}
	for _, token := range tokens {
		v.tokens[token] = true
	}
	return v
}

// Client returns a client that trusts the vault and reaches it under the name
// of VaultURL.
func (v *Vault) Client() *http.Client { return pinned(v.cert, v.server.Listener.Addr().String()) }

// Put publishes a new version of a secret and returns its id.
func (v *Vault) Put(name, value string, attributes ...Attributes) (version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := &vaultSecret{value: value, enabled: true}
	for _, a := range attributes {
		s.enabled, s.begin, s.end, s.tags = !a.Disabled, a.NotBefore, a.Expires, a.Tags
	}
	return v.add(name, s)
}

// add makes s the newest version. Its identifier says nothing about the order.
func (v *Vault) add(name string, s *vaultSecret) (version string) {
	v.versions++
	sum := sha256.Sum256([]byte(fmt.Sprint(v.versions)))
	s.id, s.created = hex.EncodeToString(sum[:16]), v.now().Truncate(time.Second)
	v.secrets[name] = append(v.secrets[name], s)
	return s.id
}

// Delete deletes a secret softly; purge for good.
func (v *Vault) Delete(name string, purge bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.deleted[name] = v.secrets[name]
	delete(v.secrets, name)
	if purge {
		delete(v.deleted, name)
	}
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

// ServeHTTP answers one request of a client.
func (v *Vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	w.Header().Set("Date", v.now().UTC().Format(http.TimeFormat))
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
	case v.refused(w, r, parts):
	case r.Method == http.MethodPut && len(parts) == 2:
		v.set(w, r, parts[1])
	case r.Method == http.MethodPatch && len(parts) == 3:
		v.patch(w, r, parts[1], parts[2])
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, "BadParameter", "", "method")
	case len(parts) == 3 && parts[2] == "versions":
		v.list(w, r, parts[1])
	default:
		v.serveSecret(w, parts[1], strings.Join(parts[2:], ""))
	}
}

// Tenant is the tenant of the vault.
const Tenant = "00000000-0000-4000-8000-00000000feed"

func (v *Vault) serveDeleted(w http.ResponseWriter, name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.deleted[name] == nil {
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
	s := v.find(name, version)
	switch {
	case s == nil:
		refuse(w, http.StatusNotFound, "SecretNotFound", "", "A secret with (name/id) "+name+" was not found in this key vault. If you recently deleted this secret you may be able to recover it using the correct recovery command.")
		return
	case !s.enabled:
		refuse(w, http.StatusForbidden, "Forbidden", "SecretDisabled", "Operation get is not allowed on a disabled secret.")
		return
	}
	v.reads++
	writeJSON(w, http.StatusOK, s.bundle(name, true))
}

// find returns a version; the newest, also if it is disabled, if version is empty.
func (v *Vault) find(name, version string) (found *vaultSecret) {
	for _, one := range v.secrets[name] {
		if version == "" || version == one.id {
			found = one
		}
	}
	return found
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
