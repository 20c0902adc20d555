package azureidentity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/azurecred"
	"github.com/latchkey-go/latchkey/internal/azurename"
)

const (
	// DefaultScope is what tokens are asked for: Azure OpenAI in the public
	// cloud.
	DefaultScope = azurename.DefaultScope
	// FoundryScope is the scope of Azure AI Foundry's endpoints, which newer
	// documentation names for Azure OpenAI as well.
	FoundryScope = azurename.FoundryScope
)

// Options configures a [Source]. The zero value and nil are ready to use.
type Options struct {
	// Credential gives the tokens. Nil is the identity of the environment; see
	// [New]. A Credential excludes the options below Scope.
	Credential azcore.TokenCredential
	// Scope is what tokens are for; see DefaultScope and FoundryScope. Empty is
	// the scope of Endpoint. If that does not tell, it is DefaultScope, or its
	// counterpart in the cloud of ClientOptions.Cloud or AZURE_AUTHORITY_HOST:
	// https://cognitiveservices.azure.us/.default (Azure Government) or
	// https://cognitiveservices.azure.cn/.default (21Vianet).
	Scope string
	// Endpoint is the address that the tokens go to, as package client takes it
	// for BaseURL; it tells the cloud, and a project of Azure AI Foundry. Empty is
	// AZURE_OPENAI_ENDPOINT, or else OPENAI_BASE_URL. It is not asked.
	Endpoint string
	// TenantID is the tenant to get tokens from. Empty is AZURE_TENANT_ID, or
	// for a developer's identity the tenant of the login. A managed identity
	// has the tenant of its resource, whatever stands here.
	TenantID string
	// ClientID is the application, or the user-assigned managed identity. Empty
	// is AZURE_CLIENT_ID, or else the system-assigned identity.
	ClientID string
	// Transport carries the requests to identity endpoints. Nil is a private
	// transport, which uses the environment's proxies for the authority only.
	// Redirects are refused with any transport, and so is plain http beyond the
	// machine's own network. It excludes Credential.
	Transport http.RoundTripper
	// ClientOptions are for the rest of those requests, a cloud and retries for
	// example. Without Retry a request to an authority is repeated twice, because
	// the Cache repeats as well, and one for a managed identity for about as long
	// as the SDK does, 97 s. Its Transport has to be nil.
	ClientOptions azcore.ClientOptions
	// DisableInstanceDiscovery is for clouds that the public authority does
	// not know, such as Azure Stack.
	DisableInstanceDiscovery bool
}

// A Source supplies bearer tokens. It keeps none: that is the work of the one
// [credential.Cache] around it, also for the Azure CLI, of which the SDK starts
// a process for each token. It is safe for concurrent use.
type Source struct {
	// Funcs hide the credential, as package hidden tells.
	token func(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, string, error)
	reset func()
	scope string

	mu   sync.Mutex
	last struct { // the challenge that was passed on, and its token
		claims string
		token  credential.Secret
	}
}

var _ credential.Renewer = (*Source)(nil)

// New returns a Source. It does no I/O; what the environment lacks is told by
// Retrieve. It fails if an option is malformed or contradicts another.
//
// Without a Credential the identity is chosen by configuration, and then kept:
//
//  1. a service principal: AZURE_TENANT_ID, AZURE_CLIENT_ID and
//     AZURE_CLIENT_SECRET, or AZURE_CLIENT_CERTIFICATE_PATH (and
//     AZURE_CLIENT_CERTIFICATE_PASSWORD);
//  2. a workload identity: AZURE_FEDERATED_TOKEN_FILE, with the first two;
//  3. a managed identity, where the platform says so with IDENTITY_ENDPOINT or
//     MSI_ENDPOINT: Functions, App Service, Container Apps, Arc, and others;
//  4. the developer's identity, by az, azd or PowerShell, whichever is logged
//     in: only where no platform (Azure, AWS, Google Cloud, Kubernetes) has
//     left its variables;
//  5. the managed identity of a virtual machine, at 169.254.169.254. It is
//     configured, and comes before 4, if the firmware says that the machine is
//     in Azure, or if a client id or AZURE_TOKEN_CREDENTIALS asks for it.
//     A machine that is known to be another is not asked. One of which nothing
//     is known has a second to show that the endpoint is there; that it is not
//     is then a guess (see [credential.SourceError]).
//
// Where one that is configured fails, nothing else is tried. An endpoint of a
// virtual machine that has no identity leaves 4, unless it is asked for by name.
// AZURE_TOKEN_CREDENTIALS (dev, prod, or the name of one of azidentity's
// credentials) narrows the list; "prod" is right for virtual machines.
//
// The SDK: https://learn.microsoft.com/azure/developer/go/sdk/authentication/credential-chains
func New(opts *Options) (*Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	o := *opts
	scope, err := o.scope()
	if err != nil {
		return nil, fmt.Errorf("azureidentity: Endpoint: %w", err)
	}
	if err := checkScope(scope); err != nil {
		return nil, fmt.Errorf("azureidentity: Scope: %w", err)
	}
	s := &Source{scope: scope, reset: func() {}}
	if own := o.Credential; own != nil {
		if o.TenantID != "" || o.ClientID != "" || o.DisableInstanceDiscovery || o.Transport != nil {
			return nil, errors.New("azureidentity: TenantID, ClientID, Transport and DisableInstanceDiscovery have no effect on a Credential of your own; give them to it")
		}
		s.token = func(ctx context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, string, error) {
			token, seen, err := azurecred.Detached(ctx, func(ctx context.Context) (azcore.AccessToken, error) { return own.GetToken(ctx, tro) })
			if err != nil && ctx.Err() == nil {
				err = azurecred.Explain(sourceName, tro.Scopes, seen, err)
			}
			return token, "", err
		}
		return s, nil
	}
	cred, err := azurecred.New(azurecred.Options{
		Source: sourceName, TenantID: o.TenantID, ClientID: o.ClientID,
		Transport: o.Transport, ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.DisableInstanceDiscovery,
	})
	if err != nil {
		return nil, fmt.Errorf("azureidentity: %w", err)
	}
	s.token, s.reset = cred.Token, cred.Reset
	return s, nil
}

const sourceName = "azureidentity"

// authority is the host that tokens come from.
func authority(o *Options) string {
	if host := o.ClientOptions.Cloud.ActiveDirectoryAuthorityHost; host != "" {
		return host
	}
	return os.Getenv("AZURE_AUTHORITY_HOST")
}

// scope is the one that the options and the environment tell.
func (o *Options) scope() (string, error) {
	if o.Scope != "" {
		return o.Scope, nil
	}
	endpoint := o.Endpoint
	for _, name := range [...]string{"AZURE_OPENAI_ENDPOINT", "OPENAI_BASE_URL"} {
		if endpoint == "" {
			endpoint = os.Getenv(name)
		}
	}
	if endpoint != "" {
		address, err := azurename.Parse(endpoint)
		switch {
		case err != nil && o.Endpoint != "":
			return "", err //nolint:wrapcheck // New does
		case err == nil && address.Scope() != "": // package client reports one that is not valid
			return address.Scope(), nil
		}
	}
	return scopeOf(authority(o)), nil
}

// https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
func scopeOf(authority string) string {
	if c, ok := azurename.OfAuthority(authority); ok {
		return c.Scope
	}
	return DefaultScope
}

// checkScope admits what azidentity does: a scope stands in a command line.
func checkScope(scope string) error {
	for i := range len(scope) {
		c := scope[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".-_/:", c) >= 0) {
			return fmt.Errorf("byte %d cannot stand in a scope; want one such as %s", i+1, DefaultScope)
		}
	}
	if !strings.HasSuffix(scope, "/.default") {
		return fmt.Errorf("it does not end in /.default; want one such as %s", DefaultScope)
	}
	return nil
}

// String returns "azureidentity".
func (s *Source) String() string { return sourceName }

// Retrieve returns a new token, or the same one again where the platform has a
// cache of its own. Expires and RefreshAfter are the issuer's; Version is the
// time of expiry; Source names the identity, for example "azureidentity:az".
//
// Its errors are [*credential.SourceError]s that wrap
//
//   - [credential.ErrUnavailable] if no identity is configured here, with all
//     that was looked for;
//   - [credential.ErrNotFound] if the platform has no such managed identity;
//   - the cause of ctx, when it ends: also while the SDK ignores it.
//
// Others name the cause, for example by the number that Entra gives it (AADSTS7000222), and the
// fix. Transient is set for throttling, 5xx and whatever the network does.
func (s *Source) Retrieve(ctx context.Context) (credential.Value, error) {
	return s.get(ctx, "")
}

func (s *Source) get(ctx context.Context, claims string) (credential.Value, error) {
	if s == nil || s.token == nil {
		return credential.Value{}, &credential.SourceError{Source: sourceName, Op: "get a token",
			Err: errors.New("the zero Source has no identity"), Hint: "make one with New"}
	}
	if ctx.Err() != nil {
		return credential.Value{}, context.Cause(ctx)
	}
	token, name, err := s.token(ctx, policy.TokenRequestOptions{Scopes: []string{s.scope}, EnableCAE: true, Claims: claims})
	if err != nil {
		return credential.Value{}, err
	}
	v := credential.Value{
		Secret:       credential.NewSecret(token.Token),
		Scheme:       credential.BearerToken,
		Expires:      token.ExpiresOn,
		RefreshAfter: token.RefreshOn,
		Source:       sourceName,
	}
	if name != "" {
		v.Source += ":" + strings.ReplaceAll(name, " ", "-")
	}
	if !v.Expires.IsZero() {
		v.Version = v.Expires.UTC().Format(time.RFC3339)
	}
	return v, nil
}

// Renew returns another token for a rejected one. The claims of a challenge
// (https://learn.microsoft.com/entra/identity-platform/claims-challenge) are
// passed on, once for each challenge; otherwise the SDK's own cache is passed
// over, if the identity is the environment's. An identity that has the same
// token again is asked no more: the error is final, and tells what to check.
func (s *Source) Renew(ctx context.Context, r credential.Rejection) (credential.Value, error) {
	if s == nil || s.token == nil {
		return s.get(ctx, "")
	}
	claims := claimsOf(r.Challenge)
	if claims == "" {
		s.reset()
	} else if s.passedOn(claims, r.Value.Secret) {
		return credential.Value{}, s.same("the service refuses the token that was issued for its own challenge",
			"the identity is barred: look at its sign-in log and the conditional access policies")
	}
	v, err := s.get(ctx, claims)
	if err != nil {
		return v, err
	}
	if v.Secret.Equal(r.Value.Secret) {
		return credential.Value{}, s.same("the identity provider has the same token again",
			"check that the tenant is the resource's and the scope is "+s.scope+"; an identity of which access was revoked gets a new token when this one expires")
	}
	if claims != "" {
		s.mu.Lock()
		s.last.claims, s.last.token = claims, v.Secret
		s.mu.Unlock()
	}
	return v, nil
}

func (s *Source) passedOn(claims string, rejected credential.Secret) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.claims == claims && s.last.token.Equal(rejected)
}

func (s *Source) same(what, hint string) error {
	return &credential.SourceError{Source: sourceName, Op: "get another token", Err: errors.New(what), Hint: hint}
}
