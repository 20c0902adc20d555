package azureauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/azurecred"
)

const (
	source          = "hashivault/azureauth"
	defaultMount    = "azure"
	defaultResource = "https://management.azure.com/"
)

// Options configures an [Auth]. The zero value and nil are ready to use.
type Options struct {
	// Credential gives the token. Nil is the identity of the environment, chosen
	// as package azureidentity's New tells.
	Credential azcore.TokenCredential
	// ClientID is the application, or the user-assigned managed identity. Empty
	// is AZURE_CLIENT_ID, or else the one that the system assigned. It has no
	// meaning with Credential.
	ClientID string
	// Transport carries the requests to identity endpoints, not those to Vault.
	// Nil is a private transport. It has no meaning with Credential.
	Transport http.RoundTripper
	// Resource is the audience of the token: the resource in the configuration of
	// the azure method in Vault. Empty is "https://management.azure.com/";
	// the slash at the end counts.
	Resource string
	// Mount is where the method is mounted; empty is "azure".
	Mount string

	// SubscriptionID is, with the fields below, what the program runs on, for
	// a role that is bound to it. Vault asks Azure whether it is true.
	SubscriptionID string
	// ResourceGroup is the resource group.
	ResourceGroup string
	// VMName is the name of a virtual machine.
	VMName string
	// VMSSName is the name of a scale set.
	VMSSName string
	// ResourceID is the id of anything else, for example a function app.
	ResourceID string
}

// An Auth logs in with a Microsoft Entra identity. It is safe for concurrent use.
type Auth struct {
	// Funcs hide the tokens, as package hidden tells.
	token func(context.Context) (string, error)
	login func() (path string, data map[string]any)
}

var _ api.AuthMethod = (*Auth)(nil)

// New returns an Auth for the role of the azure method in Vault. New does no I/O.
// It fails if role is empty or an option is not valid.
func New(role string, opts *Options) (*Auth, error) {
	if opts == nil {
		opts = &Options{}
	}
	o := *opts
	o.Mount = strings.Trim(o.Mount, "/")
	if o.Mount == "" {
		o.Mount = defaultMount
	}
	if o.Resource == "" {
		o.Resource = defaultResource
	}
	switch {
	case role == "":
		return nil, errors.New("hashivault/azureauth: the role is empty")
	case strings.Contains(o.Mount, "..") || strings.ContainsAny(o.Mount, "?#"):
		return nil, fmt.Errorf("hashivault/azureauth: %q cannot be a mount", o.Mount)
	case o.Credential != nil && (o.ClientID != "" || o.Transport != nil):
		return nil, errors.New("hashivault/azureauth: ClientID and Transport have no meaning with Credential; leave them out")
	}
	token, err := o.tokens()
	if err != nil {
		return nil, fmt.Errorf("hashivault/azureauth: %w", err)
	}
	return &Auth{
		token: token,
		login: func() (string, map[string]any) {
			data := map[string]any{"role": role}
			for name, value := range map[string]string{
				"subscription_id": o.SubscriptionID, "resource_group_name": o.ResourceGroup,
				"vm_name": o.VMName, "vmss_name": o.VMSSName, "resource_id": o.ResourceID,
			} {
				if value != "" {
					data[name] = value
				}
			}
			return "auth/" + o.Mount + "/login", data
		},
	}, nil
}

// tokens returns what gets a token: of the Credential that is given, or of the
// identity of the environment.
func (o *Options) tokens() (func(context.Context) (string, error), error) {
	scopes := []string{o.Resource + "/.default"}
	get := func(ctx context.Context) (azcore.AccessToken, error) {
		own := o.Credential
		token, seen, err := azurecred.Detached(ctx, func(ctx context.Context) (azcore.AccessToken, error) {
			return own.GetToken(ctx, policy.TokenRequestOptions{Scopes: scopes})
		})
		if err != nil && ctx.Err() == nil {
			err = azurecred.Explain(source, scopes, seen, err)
		}
		return token, err //nolint:wrapcheck // Login does
	}
	if o.Credential == nil {
		cred, err := azurecred.New(azurecred.Options{Source: source, ClientID: o.ClientID, Transport: o.Transport})
		if err != nil {
			return nil, err //nolint:wrapcheck // New does
		}
		get = func(ctx context.Context) (azcore.AccessToken, error) {
			return cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: scopes})
		}
	}
	return func(ctx context.Context) (string, error) {
		token, err := get(ctx)
		return token.Token, err
	}, nil
}

// Login implements api.AuthMethod: it gives a token of the identity to Vault. The error
// is a [*credential.SourceError] if there is no token, and that of Vault otherwise.
func (a *Auth) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	if a == nil || a.token == nil {
		return nil, fail(errors.New("the zero Auth has no role"), "make one with New", false)
	}
	token, err := a.token(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, fail(context.Cause(ctx), "", true)
	case err != nil:
		return nil, err
	case token == "":
		return nil, fail(errors.New("the Credential gave an empty token"), "check the Credential", true)
	}
	path, data := a.login()
	data["jwt"] = token
	return client.Logical().WriteWithContext(ctx, path, data)
}

func fail(err error, hint string, transient bool) error {
	return &credential.SourceError{Source: source, Op: "log in", Err: err, Hint: hint, Transient: transient}
}
