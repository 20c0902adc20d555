package azurekeyvault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/azurecred"
	"github.com/latchkey-go/latchkey/internal/document"
	"github.com/latchkey-go/latchkey/internal/hidden"
)

// Options configures a [Source]. The zero value and nil are ready to use: the
// whole text of the newest version is the key.
type Options struct {
	// Credential authenticates to the vault. Nil is the identity of the
	// environment, chosen as package azureidentity's New tells.
	Credential azcore.TokenCredential
	// Version pins one version of the secret. When the service rejects its key,
	// the error says so, for there is nothing to read again. Empty is the
	// newest version.
	Version string
	// StandbyName is another secret of the same vault with a second key for the
	// same service. When the service rejects the first, this one is next. It is
	// read in its newest version; Field holds for it as well.
	StandbyName string
	// Field takes the key out of a secret that is a JSON document: the name of
	// a member, or a JSON pointer (RFC 6901). Empty is the whole secret.
	Field string
	// Scheme is what kind of credential the secret is. Zero is an API key.
	Scheme credential.Scheme
	// Transport carries the requests to the vault, and to identity endpoints
	// unless Credential is set. Nil is a private transport. Redirects are refused
	// with any transport.
	Transport http.RoundTripper
	// ClientOptions are for the rest of those requests, a cloud and retries for
	// example. Without Retry a request is repeated twice. Its Transport has to be
	// nil.
	ClientOptions azcore.ClientOptions
	// DisableInstanceDiscovery is for clouds that the public authority does
	// not know, such as Azure Stack. It excludes Credential.
	DisableInstanceDiscovery bool
}

// A Source reads one secret. Under a [credential.Cache] it is read once per TTL
// and on a rejection. A Source is safe for concurrent use and immutable.
type Source struct {
	vault, name, pin, field string
	scheme                  credential.Scheme
	// Funcs hide what the SDK holds, as package hidden tells.
	read    func(ctx context.Context, name, version string) (azsecrets.Secret, error)
	deleted func(ctx context.Context, name string) (azsecrets.DeletedSecret, error)
	standby hidden.Value[*Source]
}

var _ credential.Renewer = (*Source)(nil)

// New returns a Source of the secret with that name. vaultURL is the vault's,
// for example "https://myvault.vault.azure.net"; or it is the identifier of the
// secret, ".../secrets/NAME" or ".../secrets/NAME/VERSION", and name is empty.
//
// New does no I/O. It fails if the URL is not of that form or not https, if
// name or an option is malformed, or if they contradict each other. A value
// that begins with "@Microsoft.KeyVault(" is a reference that the platform
// should have replaced by the secret, and is refused as such.
func New(vaultURL, name string, opts *Options) (*Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	o := *opts
	ref, err := parse(vaultURL, name, o.Version)
	if err == nil {
		err = o.check(ref)
	}
	if err != nil {
		return nil, fmt.Errorf("azurekeyvault: %w", err)
	}
	if own := o.Credential; own != nil {
		o.Credential = explained(own.GetToken)
	} else if o.Credential, err = azurecred.New(azurecred.Options{Source: sourceName, Transport: o.Transport, ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.DisableInstanceDiscovery}); err != nil {
		return nil, fmt.Errorf("azurekeyvault: %w", err)
	}
	clientOptions := &azsecrets.ClientOptions{ClientOptions: o.ClientOptions}
	clientOptions.Transport = azurecred.Transporter(o.Transport)
	if r := &clientOptions.Retry; r.MaxRetries == 0 && r.RetryDelay == 0 && r.MaxRetryDelay == 0 {
		*r = azurecred.Retries(*r)
	}
	sdk, err := azsecrets.NewClient(ref.vault, o.Credential, clientOptions)
	if err != nil {
		return nil, errors.New("azurekeyvault: the SDK refuses ClientOptions; check its Cloud")
	}
	s := &Source{
		vault: ref.vault, name: ref.name, pin: ref.version, field: o.Field, scheme: o.Scheme,
		read: func(ctx context.Context, name, version string) (azsecrets.Secret, error) {
			out, err := sdk.GetSecret(ctx, name, version, nil)
			return out.Secret, err //nolint:wrapcheck // explain does
		},
		deleted: func(ctx context.Context, name string) (azsecrets.DeletedSecret, error) {
			out, err := sdk.GetDeletedSecret(ctx, name, nil)
			return out.DeletedSecret, err //nolint:wrapcheck // explain does
		},
	}
	if o.StandbyName != "" {
		other := *s
		other.name, other.pin = o.StandbyName, ""
		s.standby = hidden.Of(&other)
	}
	return s, nil
}

const sourceName = "azurekeyvault"

// String names the vault and the secret.
func (s *Source) String() string {
	if s == nil || s.name == "" {
		return sourceName
	}
	return sourceName + ":" + s.host() + "/" + s.name
}

// Standby returns the source of Options.StandbyName; nil if there is none. The
// [credential.Cache] asks for it.
func (s *Source) Standby() credential.Source {
	if s == nil || s.standby == nil {
		return nil
	}
	return s.standby()
}

// Retrieve reads the secret with one request, and before the first with one
// more for the vault's challenge. Expires is the attribute exp of the secret,
// and Version is its version in the vault.
//
// Its errors are [*credential.SourceError]s that name the fix and wrap
//
//   - [credential.ErrUnavailable] if no identity is configured here;
//   - [credential.ErrNotFound] if there is no such secret, version or field, or
//     the secret is deleted, which costs another request to find out;
//   - the cause of ctx, when it ends.
//
// Transient is set for throttling, 5xx, whatever the network does, and a
// version whose attribute nbf is in the future. Disabled and expired versions,
// a missing role and the vault's firewall are errors of their own.
func (s *Source) Retrieve(ctx context.Context) (credential.Value, error) {
	if s == nil || s.read == nil {
		return credential.Value{}, &credential.SourceError{Source: sourceName, Op: "read",
			Err: errors.New("the zero Source names no secret"), Hint: "make one with New"}
	}
	if ctx.Err() != nil {
		return credential.Value{}, context.Cause(ctx)
	}
	secret, seen, err := azurecred.Detached(ctx, func(ctx context.Context) (azsecrets.Secret, error) { return s.read(ctx, s.name, s.pin) })
	if err != nil {
		return credential.Value{}, s.explain(ctx, seen, err)
	}
	if err := s.usable(&secret); err != nil {
		return credential.Value{}, err
	}
	v := credential.Value{Source: s.String(), Fixed: s.pin != ""}
	if secret.ID != nil {
		v.Version = secret.ID.Version()
	}
	if a := secret.Attributes; a != nil && a.Expires != nil {
		v.Expires = *a.Expires
	}
	text, err := document.Field(*secret.Value, s.field)
	if err != nil {
		return credential.Value{}, s.fail(err, "name the field that holds the key as text")
	}
	v.Secret = credential.NewSecret(text)
	return v, nil
}

// Renew is Retrieve, but for a pinned version, of which there is no other.
func (s *Source) Renew(ctx context.Context, _ credential.Rejection) (credential.Value, error) {
	if s != nil && s.pin != "" {
		return credential.Value{}, s.fail(errors.New("the service rejects the version that is pinned"), "pin another, or leave the version out")
	}
	return s.Retrieve(ctx)
}

// usable checks the attributes. Key Vault gives out versions outside of their
// time; only disabled ones it keeps.
// https://learn.microsoft.com/azure/key-vault/secrets/about-secrets#secret-attributes
func (s *Source) usable(secret *azsecrets.Secret) error {
	if secret.Value == nil {
		return s.fail(errors.New("the answer (status 200) has no value, as Key Vault's would"), hintBetween)
	}
	a, now := secret.Attributes, time.Now()
	switch {
	case a == nil:
	case a.Expires != nil && !a.Expires.After(now):
		return s.fail(fmt.Errorf("the version expired at %s (attribute exp)", stamp(*a.Expires)), "publish a new version, or correct the attribute")
	case a.NotBefore != nil && a.NotBefore.After(now):
		err := s.fail(fmt.Errorf("the version is not to be used before %s (attribute nbf)", stamp(*a.NotBefore)), "wait, correct the attribute, or pin the version before with Options.Version")
		err.Transient = true
		return err
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
