package azureauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
)

const (
	source          = "hashivault/azureauth"
	defaultMount    = "azure"
	defaultResource = "https://management.azure.com/"
)

// Options configures an [Auth]. The zero value and nil are ready to use.
type Options struct {
	// Credential gives the token. Nil is the managed identity of the platform.
	Credential azcore.TokenCredential
	// ClientID chooses a user-assigned managed identity. Empty is the one that
	// the system assigned. It has no meaning with Credential.
	ClientID string
	// Resource is for whom the token is made out, the resource in the
	// configuration of Vault's method. Empty is "https://management.azure.com/";
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

// An Auth logs in with a managed identity. It is safe for concurrent use.
type Auth struct {
	// Funcs, so that no printer by reflection finds a token.
	token func(context.Context) (string, error)
	login func() (path string, data map[string]any)
}

var _ api.AuthMethod = (*Auth)(nil)

// New returns an Auth for the role of Vault's azure method. New does no I/O.
// It fails without a role, or if an option cannot be what it is for.
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
	case o.Credential != nil && o.ClientID != "":
		return nil, errors.New("hashivault/azureauth: ClientID has no meaning with Credential; set one")
	}
	return &Auth{
		token: o.tokens(),
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

// tokens makes the managed identity once, when it is needed.
func (o *Options) tokens() func(context.Context) (string, error) {
	var mu sync.Mutex
	cred, id := o.Credential, o.ClientID
	get := func() (azcore.TokenCredential, error) {
		mu.Lock()
		defer mu.Unlock()
		if cred != nil {
			return cred, nil
		}
		opts := &azidentity.ManagedIdentityCredentialOptions{}
		if id != "" {
			opts.ID = azidentity.ClientID(id)
		}
		made, err := azidentity.NewManagedIdentityCredential(opts)
		if err != nil {
			return nil, err
		}
		cred = made
		return cred, nil
	}
	scope := o.Resource + "/.default"
	return func(ctx context.Context) (string, error) {
		c, err := get()
		if err != nil {
			return "", err
		}
		t, err := c.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
		return t.Token, err
	}
}

// Login implements api.AuthMethod: it gives a token of the managed identity to
// Vault. The error is a [*credential.SourceError] if there is no token, and
// Vault's otherwise.
func (a *Auth) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	if a == nil || a.token == nil {
		return nil, fail(errors.New("the zero Auth has no role"), "make one with New", false)
	}
	token, err := a.token(ctx)
	if ctx.Err() != nil {
		return nil, fail(context.Cause(ctx), "", true)
	}
	if err != nil || token == "" {
		return nil, fail(cause(err), "assign a managed identity to the resource, or set ClientID to the one that is assigned", true)
	}
	path, data := a.login()
	data["jwt"] = token
	return client.Logical().WriteWithContext(ctx, path, data)
}

// cause keeps the status only: the SDK's texts quote the endpoint's answer.
func cause(err error) error {
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) && failed.RawResponse != nil {
		return fmt.Errorf("the managed identity endpoint answered with status %d", failed.RawResponse.StatusCode)
	}
	return errors.New("there is no token of a managed identity")
}

func fail(err error, hint string, transient bool) error {
	return &credential.SourceError{Source: source, Op: "log in", Err: err, Hint: hint, Transient: transient}
}
