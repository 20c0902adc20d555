package hashivault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/document"
	"github.com/latchkey-go/latchkey/internal/hidden"
)

// sourceName stands in errors and in credential.Value.Source.
const sourceName = "hashivault"

// Options configures a [Source]. The zero value and nil are ready to use.
type Options struct {
	// Client gives the address, the TLS settings, the namespace, the headers
	// and, without Auth, the token. The Source uses a copy that has no token,
	// does not retry and follows no redirect. Nil is a client from the
	// VAULT_* environment, which is read at the first use: VAULT_ADDR or
	// VAULT_AGENT_ADDR has to be set.
	//
	// Only from the environment may the address be a Unix socket. For
	// one, vault/api changes how the transport of a Client dials, which also
	// takes out what a dialguard has put in; a Source with such a Client fails.
	Client *api.Client
	// Namespace is the namespace of Vault Enterprise and HCP. Empty is the
	// client's, which is VAULT_NAMESPACE.
	Namespace string
	// Auth logs in to Vault: [AppRole], [Kubernetes], [JWT], one of the packages
	// awsauth and azureauth, or one of github.com/hashicorp/vault/api/auth. Each
	// login has a client of its own, without a token. Nil takes a token that is
	// there: the client's, VAULT_TOKEN, or the file .vault-token in the home directory,
	// which "vault login" writes; without any, a Vault Agent on a loopback
	// address or at VAULT_AGENT_ADDR is expected to add its own.
	Auth api.AuthMethod

	// Field is the field of the secret that holds the key: the name of a
	// top-level field, or a JSON pointer (RFC 6901) if it begins with a slash.
	// Empty takes the only field that there is.
	Field string
	// StandbyField is the field of the same secret that holds another key for
	// the same service; see [credential.Standby]. Empty: there is none.
	StandbyField string
	// Version pins a version of a KV v2 secret, by its number. A pinned version
	// never rotates. Empty is the latest.
	Version string
	// Scheme is what kind of credential the secret is. Zero is an API key.
	Scheme credential.Scheme

	// ExpiryTag is a key in the custom metadata of a KV v2 secret that says when
	// its current key ends: a time as in RFC 3339, or a day. That is then the
	// Expires of the value, of which the Cache tells ahead of time; see
	// credential.CacheOptions.ExpiryWarning. Vault gives it with the secret. A
	// secret without it does not expire, and neither does one whose time is past:
	// whether the key still works, the service knows. The key of StandbyField and
	// those of a pinned Version do not expire either.
	ExpiryTag string

	// KVVersion is 1 or 2 where the engine is known to be KV of that version.
	// 0 asks Vault, at sys/internal/ui/mounts, which needs no right but one on
	// the secret, and also finds the engines of dynamic secrets.
	KVVersion int
	// Mount is where the engine is mounted, for a KVVersion that is not 0.
	// Empty is the first segment of the path.
	Mount string

	// RevokeOnClose makes [Source.Close] revoke what the Source has from
	// Vault: the token that it logged in for, and the lease of a dynamic secret.
	RevokeOnClose bool
	// Transport carries the requests, in the place of the one of Client or of the
	// VAULT_* environment, with whose TLS settings it has nothing to do. Redirects
	// are refused with any transport. The address must not be a Unix socket: use
	// http://localhost, with a Transport that dials the socket.
	Transport http.RoundTripper
	// PlainHTTP allows http to addresses other than loopback, where others on
	// the network can read the token and the secret.
	PlainHTTP bool
	// Now is the clock; nil is time.Now. Only its wall time is used.
	Now func() time.Time
}

// A Source reads an API key from HashiCorp Vault. It is safe for concurrent
// use. It does not cache: that is the work of the [credential.Cache] around
// it. What it keeps is its Vault token, how the engine is mounted, and the
// lease of a dynamic secret. It starts no goroutine that outlives a request
// and, unless Options.RevokeOnClose is set, need not be closed.
type Source struct {
	core hidden.Value[*core] // it holds the token
}

var (
	_ credential.Source  = (*Source)(nil)
	_ credential.Renewer = (*Source)(nil)
)

// New returns a Source of the secret at path, as "vault kv get" takes it: the
// mount and the path in it, without "data/". For a dynamic secret it is the
// path that "vault read" takes, for example "database/creds/app". New does no
// I/O. It fails if the path or an option is out of range.
func New(path string, opts *Options) (*Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	o := *opts
	o.Mount = strings.Trim(o.Mount, "/")
	clean := strings.Trim(path, "/")
	if err := o.check(clean); err != nil {
		return nil, fmt.Errorf("credential: hashivault: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &core{path: clean, opts: &o, session: newSession(&o)}
	c.standby = &standby{core: hidden.Of(c)}
	return &Source{core: hidden.Of(c)}, nil
}

func (o *Options) check(path string) error {
	if err := checkPath(path); err != nil {
		return fmt.Errorf("the path %w", err)
	}
	for name, field := range map[string]string{"Field": o.Field, "StandbyField": o.StandbyField} {
		if err := document.Check(field); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	switch {
	case o.StandbyField != "" && o.StandbyField == o.Field:
		return errors.New("StandbyField is Field; name the field of the other key")
	case o.StandbyField != "" && o.Field == "":
		return errors.New("StandbyField without Field: name both, as the secret has more than one field")
	case strings.Trim(o.Version, "0123456789") != "" || len(o.Version) > 9 || strings.HasPrefix(o.Version, "0"):
		return errors.New("the Version is not a number from 1 on; empty is the latest")
	case o.KVVersion < 0 || o.KVVersion > 2:
		return fmt.Errorf("KVVersion %d; it is 1, 2, or 0 to ask Vault", o.KVVersion)
	case o.KVVersion == 1 && o.Version != "":
		return errors.New("a Version with KVVersion 1, which keeps no versions")
	case o.KVVersion == 1 && o.ExpiryTag != "":
		return errors.New("an ExpiryTag with KVVersion 1, which keeps no metadata")
	case o.Mount != "" && o.KVVersion == 0:
		return errors.New("a Mount without KVVersion: Vault is asked for both; set both or neither")
	case o.Mount != "" && !strings.HasPrefix(path, o.Mount+"/"):
		return fmt.Errorf("the path is not below Mount %q", o.Mount)
	case o.KVVersion == 2 && !strings.Contains(path, "/"):
		return errors.New("the path is a mount; name the secret in it")
	case o.Scheme > credential.BearerToken:
		return fmt.Errorf("unknown Scheme %d", o.Scheme)
	}
	return o.checkAuth()
}

func (o *Options) checkAuth() error {
	if o.Auth == nil {
		return nil
	}
	if v := reflect.ValueOf(o.Auth); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("option Auth is a nil %T; leave it out or fill it in", o.Auth)
	}
	if c, ok := o.Auth.(interface{ check() error }); ok {
		if err := c.check(); err != nil {
			return fmt.Errorf("option Auth: %w", err)
		}
	}
	return nil
}

// checkPath refuses what would be another path for Vault than for the reader.
func checkPath(path string) error {
	if path == "" {
		return errors.New("is empty; name the secret, for example secret/openai")
	}
	for _, segment := range strings.Split(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return errors.New("has an empty segment, or one of dots")
		}
	}
	for i := range len(path) {
		if path[i] < ' ' || path[i] == 0x7f || path[i] == '?' || path[i] == '#' {
			return fmt.Errorf("has a character that no path has at byte %d", i+1)
		}
	}
	return nil
}

// Retrieve reads the secret. It logs in first if there is no token that is
// valid by the wall clock, renews the token once two thirds of its time have
// passed, and logs in again, once, if Vault refuses a token that does not
// know itself any more. All callers share one login.
//
// Of a dynamic secret it returns the credential of the lease that it holds, and
// renews the lease once two thirds of its time have passed. It reads another
// one when the lease, or the token that it hangs on, cannot be renewed.
//
// The error is a [*credential.SourceError]. It wraps [credential.ErrUnavailable]
// if no Vault is configured in this environment, or no token and no Auth;
// [credential.ErrNotFound] if there is no such secret, version or field, or it
// is deleted. Transient is set while Vault is sealed, a standby, lagging,
// throttling or out of reach. If ctx is done first it wraps the cause.
func (s *Source) Retrieve(ctx context.Context) (credential.Value, error) {
	c := s.inner()
	if c == nil {
		return credential.Value{}, zero()
	}
	return c.retrieve(ctx, nil)
}

// Renew is Retrieve after a rejection: it has the Vault Lambda extension read
// its copy again, and lets go of the lease of a dynamic secret whose credential
// was rejected.
func (s *Source) Renew(ctx context.Context, r credential.Rejection) (credential.Value, error) {
	c := s.inner()
	if c == nil {
		return credential.Value{}, zero()
	}
	return c.retrieve(ctx, &r)
}

// Standby returns the source of StandbyField, or nil if there is none. It
// shares its reads with s: right after a read by s it reads nothing itself.
func (s *Source) Standby() credential.Source {
	c := s.inner()
	if c == nil || c.opts.StandbyField == "" {
		return nil
	}
	return c.standby
}

// Close ends the use of s: what is retrieved later fails. With
// Options.RevokeOnClose it revokes the token that s logged in for, with which
// its leases end, and a lease that hangs on a token from elsewhere. It returns
// why Vault did not; both then end by themselves. A second Close does nothing.
func (s *Source) Close(ctx context.Context) error {
	c := s.inner()
	if c == nil {
		return nil
	}
	return c.close(ctx)
}

// String names the source and the path.
func (s *Source) String() string {
	c := s.inner()
	if c == nil {
		return sourceName
	}
	return c.name()
}

func (s *Source) inner() *core {
	if s == nil || s.core == nil {
		return nil
	}
	return s.core()
}

// A standby is the second field of the same secret.
type standby struct{ core hidden.Value[*core] }

func (s *standby) Retrieve(ctx context.Context) (credential.Value, error) {
	return s.core().retrieveStandby(ctx)
}

func (s *standby) String() string { return s.core().name() + "#standby" }
