package openaiworkload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
)

// DefaultAudience is the audience that Google is asked for a token for.
const DefaultAudience = "https://api.openai.com/v1"

// Options configures a [Source]. IdentityProviderID, ServiceAccountID and one
// of From and Token are required.
type Options struct {
	// IdentityProviderID is the id of the Workload Identity Provider at OpenAI.
	IdentityProviderID string
	// ServiceAccountID is the id of the OpenAI service account to act as.
	ServiceAccountID string
	// ClientID is the OAuth client id, if OpenAI gave you one. It is optional.
	ClientID string
	// From is where the subject token comes from: "kubernetes", "aws", "azure",
	// "azure-imds" or "gcp"; see the package documentation. Empty means Token.
	From string
	// TokenFile is the file that holds the subject token, read at each exchange.
	// "kubernetes" requires it: the token that a pod has by default is made for
	// the cluster's own API server, and another has to be projected for OpenAI.
	// For "aws" the empty string is the file that AWS_WEB_IDENTITY_TOKEN_FILE
	// names. Others have no file.
	TokenFile string
	// Audience is what the subject token is asked for. For "gcp" the empty string
	// is DefaultAudience. For "azure" and "azure-imds" it is the Application ID
	// URI of an app registration of yours, such as "api://openai", and
	// required: a token for a service of Azure itself would be valid there.
	// The token in a file has its audience already.
	Audience string
	// ManagedIdentityID is the client id of a user-assigned managed identity, for
	// "azure" and "azure-imds". The empty string is the system-assigned one.
	ManagedIdentityID string
	// Token returns a subject token, a JWT. It is called for each exchange, must
	// be safe for concurrent use and should honor its context. Its errors are
	// shown: they must not hold the token. One that wraps
	// [credential.ErrUnavailable] lets a chain go on.
	Token func(context.Context) (credential.Secret, error)
	// IDToken says that Token returns an OpenID Connect ID token, and the exchange
	// names that type. The tokens of "gcp" are ID tokens.
	IDToken bool
	// Transport carries the requests to OpenAI, and those of "azure",
	// "azure-imds" and "gcp". Nil is a private transport: TLS 1.2 or later, and
	// the proxies of the environment for OpenAI alone. Redirects are refused with
	// any transport, and so is plain http beyond the machine's own network.
	Transport http.RoundTripper
}

// origins are the values of Options.From.
func origins() []string { return []string{"kubernetes", "aws", "azure", "azure-imds", "gcp"} }

func (o *Options) check() error {
	for name, id := range map[string]string{
		"IdentityProviderID": o.IdentityProviderID, "ServiceAccountID": o.ServiceAccountID,
		"ClientID": o.ClientID, "ManagedIdentityID": o.ManagedIdentityID, "Audience": o.Audience,
	} {
		if len(id) > 1024 || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return fmt.Errorf("%s is malformed: want up to 1024 characters of ASCII without spaces", name)
		}
		if strings.HasPrefix(id, "sk-") {
			return fmt.Errorf("%s starts like a key: want an id", name)
		}
	}
	azure := strings.HasPrefix(o.From, "azure")
	switch {
	case o.IdentityProviderID == "":
		return errors.New("IdentityProviderID is empty: want the id of the Workload Identity Provider in OpenAI's settings")
	case o.ServiceAccountID == "":
		return errors.New("ServiceAccountID is empty: want the id of the service account that the workload is mapped to")
	case o.From == "" && o.Token == nil:
		return fmt.Errorf("neither From nor Token is set: say where the subject token comes from, one of %s", strings.Join(origins(), ", "))
	case o.From != "" && o.Token != nil:
		return errors.New("both From and Token are set: leave one of them out")
	case o.From != "" && !slices.Contains(origins(), o.From):
		return fmt.Errorf("unknown From %q: want one of %s", o.From, strings.Join(origins(), ", "))
	case o.TokenFile != "" && o.From != "kubernetes" && o.From != "aws":
		return errors.New(`TokenFile needs From "kubernetes" or "aws"`)
	case o.From == "kubernetes" && o.TokenFile == "":
		return errors.New(`"kubernetes" needs TokenFile: the path of a service account token that is projected for OpenAI's audience`)
	case azure && o.Audience == "":
		return fmt.Errorf("%q needs Audience: the Application ID URI of an app registration of yours, for example api://openai", o.From)
	case o.Audience != "" && !azure && o.From != "gcp":
		return errors.New(`an Audience is for From "azure", "azure-imds" or "gcp"`)
	case o.ManagedIdentityID != "" && !azure:
		return errors.New(`ManagedIdentityID needs From "azure" or "azure-imds"`)
	case o.IDToken && o.Token == nil:
		return errors.New("IDToken needs Token")
	}
	return nil
}
