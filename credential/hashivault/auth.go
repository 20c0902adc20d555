package hashivault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/smallfile"
)

const (
	defaultAppRoleMount    = "approle"
	defaultKubernetesMount = "kubernetes"
	defaultJWTMount        = "jwt"
	// defaultServiceAccount is where a kubelet mounts the token of a pod's
	// service account, and replaces it.
	defaultServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// AppRole logs in with a role id and a secret id
// (https://developer.hashicorp.com/vault/docs/auth/approle). One AppRole
// serves any number of sources; it is safe for concurrent use, and must not be
// changed or copied once it is in use.
type AppRole struct {
	// RoleID names the role. It is not secret, but not for everybody.
	RoleID string
	// SecretID is the secret id. It is empty if SecretIDFile is set, or if the
	// role has bind_secret_id=false.
	SecretID credential.Secret
	// SecretIDFile names a file with the secret id, which is read at each login.
	SecretIDFile string
	// Wrapped says that SecretID or the file is not the secret id but a
	// wrapping token, with which it is fetched once ("vault write -wrap-ttl=60s
	// -f auth/approle/role/ROLE/secret-id"). The secret id is kept in memory for
	// later logins; another wrapping token in the file is used at the next one.
	// A wrapping token that was used already, or that wraps something else, is
	// an error that says so: somebody may have taken the secret id.
	Wrapped bool
	// Mount is where the method is mounted; empty is "approle".
	Mount string

	mu       sync.Mutex
	unwrap   leaf.Group[struct{}]
	wrapping credential.Secret // the wrapping token that was used last
	secretID credential.Secret // and what was in it
}

// Kubernetes logs in with the token of a pod's service account
// (https://developer.hashicorp.com/vault/docs/auth/kubernetes).
type Kubernetes struct {
	// Role is the role of the method.
	Role string
	// TokenFile holds the token and is read at each login, because the kubelet
	// replaces it. Empty is the file that it mounts into every pod. If there is
	// no such file the source is not available: this is no pod.
	TokenFile string
	// Mount is where the method is mounted; empty is "kubernetes".
	Mount string
}

// JWT logs in with a JSON web token that a platform writes to a file
// (https://developer.hashicorp.com/vault/docs/auth/jwt).
type JWT struct {
	// Role is the role of the method; empty is its default role.
	Role string
	// TokenFile holds the token and is read at each login. Required. If there
	// is no such file the source is not available.
	TokenFile string
	// Mount is where the method is mounted; empty is "jwt".
	Mount string
}

var (
	_ api.AuthMethod = (*AppRole)(nil)
	_ api.AuthMethod = (*Kubernetes)(nil)
	_ api.AuthMethod = (*JWT)(nil)
)

func (a *AppRole) check() error {
	switch {
	case a == nil || a.RoleID == "":
		return errors.New("AppRole: RoleID is empty")
	case !a.SecretID.IsZero() && a.SecretIDFile != "":
		return errors.New("AppRole: SecretID and SecretIDFile; set one")
	case a.Wrapped && a.SecretID.IsZero() && a.SecretIDFile == "":
		return errors.New("AppRole: Wrapped without SecretID or SecretIDFile")
	}
	return checkMount(a.Mount)
}

func (k *Kubernetes) check() error {
	if k == nil || k.Role == "" {
		return errors.New("Kubernetes: Role is empty")
	}
	return checkMount(k.Mount)
}

func (j *JWT) check() error {
	if j == nil || j.TokenFile == "" {
		return errors.New("JWT: TokenFile is empty")
	}
	return checkMount(j.Mount)
}

func checkMount(mount string) error {
	if mount == "" {
		return nil
	}
	if err := checkPath(strings.Trim(mount, "/")); err != nil {
		return fmt.Errorf("the mount %w", err)
	}
	return nil
}

// Login implements api.AuthMethod. Its errors name the file and the cause, and
// never what is in the file.
func (a *AppRole) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	if err := a.check(); err != nil {
		return nil, final(err.Error())
	}
	secretID := a.SecretID
	if a.SecretIDFile != "" {
		text, err := readAuthFile(a.SecretIDFile)
		if err != nil {
			return nil, err
		}
		secretID = credential.NewSecret(text)
	}
	if a.Wrapped {
		var err error
		if secretID, err = a.unwrapped(ctx, client, secretID); err != nil {
			return nil, err
		}
	}
	body := map[string]any{"role_id": a.RoleID}
	if !secretID.IsZero() {
		body["secret_id"] = secretID.Reveal()
	}
	return login(ctx, client, a.mount(), body)
}

func (a *AppRole) mount() string { return mountOr(a.Mount, defaultAppRoleMount) }

// Login implements api.AuthMethod.
func (k *Kubernetes) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	if err := k.check(); err != nil {
		return nil, final(err.Error())
	}
	file := k.TokenFile
	if file == "" {
		file = defaultServiceAccount
	}
	jwt, err := readPlatformFile(file)
	if err != nil {
		return nil, err
	}
	return login(ctx, client, mountOr(k.Mount, defaultKubernetesMount), map[string]any{"role": k.Role, "jwt": jwt})
}

// Login implements api.AuthMethod.
func (j *JWT) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	if err := j.check(); err != nil {
		return nil, final(err.Error())
	}
	jwt, err := readPlatformFile(j.TokenFile)
	if err != nil {
		return nil, err
	}
	body := map[string]any{"jwt": jwt}
	if j.Role != "" {
		body["role"] = j.Role
	}
	return login(ctx, client, mountOr(j.Mount, defaultJWTMount), body)
}

func mountOr(mount, byDefault string) string {
	if mount = strings.Trim(mount, "/"); mount == "" {
		return byDefault
	}
	return mount
}

func login(ctx context.Context, client *api.Client, mount string, body map[string]any) (*api.Secret, error) {
	return client.Logical().WriteWithContext(ctx, "auth/"+mount+"/login", body)
}

// unwrapped trades the wrapping token for the secret id, once for all callers.
func (a *AppRole) unwrapped(ctx context.Context, client *api.Client, wrapping credential.Secret) (credential.Secret, error) {
	last := func() (credential.Secret, bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.secretID, !a.wrapping.IsZero() && a.wrapping.Equal(wrapping)
	}
	for range 3 {
		if secretID, ok := last(); ok {
			return secretID, nil
		}
		if _, err := join(ctx, &a.unwrap, time.Now(), func(ctx context.Context) (struct{}, error) {
			if _, ok := last(); ok {
				return struct{}{}, nil
			}
			secretID, err := a.fetch(ctx, client, wrapping)
			if err == nil {
				a.mu.Lock()
				a.wrapping, a.secretID = wrapping, secretID
				a.mu.Unlock()
			}
			return struct{}{}, err
		}); err != nil {
			return credential.Secret{}, err
		}
	}
	return credential.Secret{}, final("the wrapping token was replaced again and again")
}

func (a *AppRole) fetch(ctx context.Context, client *api.Client, wrapping credential.Secret) (credential.Secret, error) {
	own := client.WithRequestCallbacks(func(r *api.Request) { r.ClientToken = "" })
	about, err := own.Logical().WriteWithContext(ctx, "sys/wrapping/lookup", map[string]any{"token": wrapping.Reveal()})
	if err != nil {
		return credential.Secret{}, unwrapError(err)
	}
	// Anyone can wrap something and put it here; only Vault writes this path.
	made := ""
	if about != nil {
		made, _ = about.Data["creation_path"].(string)
	}
	if !strings.HasPrefix(made, "auth/"+a.mount()+"/role/") || !strings.HasSuffix(made, "/secret-id") {
		return credential.Secret{}, &credential.SourceError{
			Source: sourceName, Op: "unwrap the secret id",
			Err:  final("the wrapping token does not wrap a secret id of " + a.mount() + ": somebody may have replaced it"),
			Hint: "treat it as an attack: find out who wrote the token, and issue a new secret id with vault write -wrap-ttl",
		}
	}
	own = client.WithRequestCallbacks(func(r *api.Request) { r.ClientToken = wrapping.Reveal() })
	secret, err := own.Logical().WriteWithContext(ctx, "sys/wrapping/unwrap", nil)
	if err != nil {
		return credential.Secret{}, unwrapError(err)
	}
	text := ""
	if secret != nil {
		text, _ = secret.Data["secret_id"].(string)
	}
	if text == "" {
		return credential.Secret{}, final("the wrapping token holds no secret id")
	}
	return credential.NewSecret(text), nil
}

func unwrapError(err error) error {
	cause := known(err)
	r := (*refusal)(nil)
	if !errors.As(cause, &r) || r.transient() {
		return cause
	}
	return &credential.SourceError{
		Source: sourceName, Op: "unwrap the secret id", Err: final("the wrapping token was used before, or has expired"),
		Hint: "if it was not this program that used it, somebody has the secret id: destroy it (secret-id-accessor/destroy), look for its logins in the audit log, and issue a new one with vault write -wrap-ttl",
	}
}

// readPlatformFile is readAuthFile where a missing file means that the program
// runs elsewhere.
func readPlatformFile(path string) (string, error) {
	text, err := readAuthFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", &credential.SourceError{
			Source: sourceName, Err: &plain{fmt.Sprintf("%v: there is no file %s", credential.ErrUnavailable, path), credential.ErrUnavailable},
			Hint: "mount the token, or name the file that has it",
		}
	}
	return text, err
}

func readAuthFile(path string) (string, error) {
	file, err := smallfile.Read(path, smallfile.Max)
	text := strings.TrimSpace(string(file.Text))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", &credential.SourceError{Source: sourceName, Op: "log in", Err: &plain{"there is no file " + path, os.ErrNotExist}, Hint: "mount or write it"}
	case err != nil:
		return "", &credential.SourceError{Source: sourceName, Op: "read " + path, Err: final(err.Error()), Hint: "let the process read it"}
	case text == "":
		return "", &credential.SourceError{Source: sourceName, Op: "read " + path, Err: final("it is empty"), Hint: "write the credential of the login into it"}
	}
	return text, nil
}

// loginCause reduces the error of a login, which may be foreign code.
func loginCause(err error) error {
	var se *credential.SourceError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &se):
		return se
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return errGarbled
	case errors.As(err, new(*api.ResponseError)), errors.As(err, new(*plain)), errors.As(err, new(*refusal)):
		return known(err)
	}
	if leaf.OnWire(err) {
		return known(err)
	}
	return fmt.Errorf("it failed with a %T", err)
}

func loginHint(err error) string {
	switch status := refused(err); {
	case status == http.StatusBadRequest, status == http.StatusForbidden, status == http.StatusUnauthorized:
		return "check the role and the credential of the login, and that the method is mounted there"
	case status == http.StatusNotFound:
		return "check where the method is mounted, and the namespace"
	}
	return "look at Vault's log"
}
