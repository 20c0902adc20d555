package azurekeyvault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/latchkey-go/latchkey/internal/azurecred"
	"github.com/latchkey-go/latchkey/internal/azurename"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/rotationdoc"
	"github.com/latchkey-go/latchkey/rotation"
)

// longestName: https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#vault-name-and-object-name
const longestName = 127

// Options configure a [Store]. Nil is the zero Options.
type Options struct {
	// Credential authenticates to the vault. Nil is the identity of the environment,
	// chosen as New of package credential/azureidentity tells.
	Credential azcore.TokenCredential
	// Journal is the name of the secret with the state of the rotation; empty is the
	// name of the secret and "-rotation".
	Journal string
	// ProviderAddress is the resource id of the account that the key is for. It becomes
	// the tag ProviderAddress, which Microsoft's rotation functions read; empty is no tag.
	ProviderAddress string
	// ValidityPeriodDays is how long after the promotion the secret of readers expires
	// (the attribute exp), and becomes the tag of that name. Key Vault announces the end
	// 30 days before (Microsoft.KeyVault.SecretNearExpiry), and readers refuse the
	// version after it: it has to be longer than rotation.Options.Every, and by 30 days
	// if a rotation is to begin with the event. 0 is the end of the key itself, where
	// the issuer gives it one, and otherwise no end.
	ValidityPeriodDays int
	// Transport carries the requests to the vault, and to identity endpoints unless
	// Credential is set. Nil is a private transport. Redirects are refused.
	Transport http.RoundTripper
	// ClientOptions are for the rest of those requests, a cloud and retries for
	// example. Without Retry a request is repeated twice. Its Transport has to be nil.
	ClientOptions azcore.ClientOptions
}

// A Store is one secret and its journal. It is a [rotation.Store], and safe for
// concurrent use.
type Store struct {
	host, name, journal, provider string
	days                          int
	sdk                           hidden.Value[*azsecrets.Client]
}

var _ rotation.Store = (*Store)(nil)

// New returns the Store of the secret with that name. vaultURL is the vault's, for
// example "https://myvault.vault.azure.net". New does no I/O. It fails if the URL is
// not of that form or not https, or if name or an option is malformed.
func New(vaultURL, name string, opts *Options) (*Store, error) {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.Journal == "" {
		o.Journal = name + "-rotation"
	}
	host, err := o.check(vaultURL, name)
	if err != nil {
		return nil, fmt.Errorf("rotation/azurekeyvault: %w", err)
	}
	if own := o.Credential; own != nil {
		o.Credential = explained(own.GetToken)
	} else if o.Credential, err = azurecred.New(azurecred.Options{Source: "rotation/azurekeyvault", Transport: o.Transport, ClientOptions: o.ClientOptions}); err != nil {
		return nil, fmt.Errorf("rotation/azurekeyvault: %w", err)
	}
	clientOptions := &azsecrets.ClientOptions{ClientOptions: o.ClientOptions}
	clientOptions.Transport = azurecred.Transporter(o.Transport)
	if r := &clientOptions.Retry; r.MaxRetries == 0 && r.RetryDelay == 0 && r.MaxRetryDelay == 0 {
		*r = azurecred.Retries(*r)
	}
	sdk, err := azsecrets.NewClient("https://"+host, o.Credential, clientOptions)
	if err != nil {
		return nil, errors.New("rotation/azurekeyvault: the SDK refuses ClientOptions; check its Cloud")
	}
	return &Store{host: host, name: name, journal: o.Journal, provider: o.ProviderAddress, days: o.ValidityPeriodDays, sdk: hidden.Of(sdk)}, nil
}

// check returns the host of the vault.
func (o *Options) check(vaultURL, name string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(vaultURL))
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", errors.New("the vault's URL is malformed; want https://NAME.vault.azure.net")
	}
	for what, name := range map[string]string{"the name of the secret": name, "the name of the journal": o.Journal} {
		if name == "" || len(name) > longestName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
			return "", fmt.Errorf("%s has to have 1 to %d letters, digits and -", what, longestName)
		}
	}
	switch {
	case strings.EqualFold(name, o.Journal):
		return "", errors.New("the journal has to be another secret than that of readers")
	case o.ValidityPeriodDays < 0 || o.ValidityPeriodDays > 3650:
		return "", errors.New("option ValidityPeriodDays has to be 0 to 3650")
	case len(o.ProviderAddress) > mostTag:
		return "", fmt.Errorf("option ProviderAddress has more than %d bytes", mostTag)
	}
	host, _, _ := azurename.Vault(u.Host)
	return host, azurecred.CheckClientOptions(o.ClientOptions) //nolint:wrapcheck // New does
}

// explained is a credential whose errors are ours.
type explained func(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error)

// GetToken gets a token.
func (get explained) GetToken(ctx context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := get(ctx, tro)
	if err != nil {
		return azcore.AccessToken{}, azurecred.Explain("rotation/azurekeyvault", tro.Scopes, nil, err)
	}
	return token, nil
}

// Load reads the state, and publishes the current key if readers have another one. A
// key that somebody else has put there is the current one, and is due.
func (s *Store) Load(ctx context.Context) (rotation.State, error) {
	// First what readers have: a key that is published is in the journal already.
	seen, err := s.published(ctx)
	if err != nil {
		return rotation.State{}, err
	}
	now, err := s.read(ctx)
	if err != nil {
		return rotation.State{}, err
	}
	return s.agree(ctx, now, seen)
}

// Stage writes pending.
func (s *Store) Stage(ctx context.Context, from rotation.State, pending rotation.Version) error {
	from.Pending = &pending
	return s.save(ctx, from)
}

// Promote makes the pending version current, and publishes it. If that fails, the next
// Load publishes it.
func (s *Store) Promote(ctx context.Context, from rotation.State, now time.Time) error {
	next, err := rotationdoc.Promoted(from, now)
	if err != nil {
		return fmt.Errorf("rotation/azurekeyvault: %w", err)
	}
	if err := s.save(ctx, next); err != nil {
		return err
	}
	seen, err := s.published(ctx)
	if err == nil {
		_, taken := parse(from.Revision)
		_, err = s.agree(ctx, entry{state: next, taken: taken}, seen)
	}
	return err
}

// Retire forgets the previous version.
func (s *Store) Retire(ctx context.Context, from rotation.State) error {
	from.Previous = nil
	return s.save(ctx, from)
}

// Abandon forgets the pending version.
func (s *Store) Abandon(ctx context.Context, from rotation.State) error {
	from.Pending = nil
	return s.save(ctx, from)
}
