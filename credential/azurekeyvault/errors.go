package azurekeyvault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/azurecred"
	"github.com/latchkey-go/latchkey/internal/azurename"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

const (
	hintRole = "assign the role Key Vault Secrets User on the vault to the identity; it takes some minutes to come into effect. " +
		"A vault with access policies needs Get for secrets instead"
	hintBetween = "look for a proxy or firewall that answers in the vault's place, and check the vault's URL"
)

// hintNetwork names the zone of the cloud that the vault is in.
func (s *Source) hintNetwork() string {
	c, ok := azurename.OfVault(s.host())
	if !ok {
		c = azurename.Clouds()[0]
	}
	return "call it through a private endpoint, with the DNS zone " + c.VaultZone + " linked to the virtual network, or allow this network in the vault's firewall"
}

func (s *Source) fail(err error, hint string) *credential.SourceError {
	op := fmt.Sprintf("read %q", s.name)
	if s.pin != "" {
		op += fmt.Sprintf(" version %q", s.pin)
	}
	return &credential.SourceError{Source: sourceName, Op: op + " in " + s.host(), Err: err, Hint: hint}
}

// explain returns an error of our own in place of the error of the SDK, which
// holds the whole answer.
func (s *Source) explain(ctx context.Context, seen *azurecred.Seen, err error) error {
	if ctx.Err() != nil {
		out := s.fail(context.Cause(ctx), "")
		out.Transient = true
		return out
	}
	if se := (*credential.SourceError)(nil); errors.As(err, &se) {
		return s.unidentified(se)
	}
	re := (*azcore.ResponseError)(nil)
	switch {
	case strings.Contains(err.Error(), "doesn't match the requested domain"):
		return s.fail(errors.New("the answer asks for a token of another service (challenge resource)"),
			"check that the URL is the name that Azure gave the vault; another name for it is refused")
	case errors.As(err, &re) && seen.Status != 0:
		return s.refused(ctx, seen)
	case seen.Err != nil:
		f := leaf.Hints{DNS: "check the vault's name; " + s.hintNetwork()}.Explain(seen.Err, seen.Host)
		out := s.fail(f.Err, f.Hint)
		out.Transient = f.Transient
		return out
	case seen.Status == http.StatusUnauthorized:
		return s.fail(errors.New("the vault's challenge (401) is malformed"), hintBetween)
	case seen.Status != 0:
		return s.foreign(seen.Status)
	}
	return s.foreign(seen.Good)
}

// foreign is an answer that is not one of Key Vault.
func (s *Source) foreign(status int) error {
	out := s.fail(fmt.Errorf("the answer (status %d) is not one of Key Vault", status), hintBetween)
	out.Transient = status < 300 || leaf.Passing(status)
	return out
}

// explained is a credential whose errors are ours.
type explained func(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error)

// GetToken gets a token.
func (get explained) GetToken(ctx context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := get(ctx, tro)
	if err != nil {
		return azcore.AccessToken{}, azurecred.Explain(sourceName, tro.Scopes, nil, err)
	}
	return token, nil
}

// unidentified is an error of the identity, with the secret that it was for.
func (s *Source) unidentified(se *credential.SourceError) error {
	out := *se
	out.Op = fmt.Sprintf("read %q in %s: %s", s.name, s.host(), se.Op)
	return &out
}

// refused explains an answer of the vault.
// https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
func (s *Source) refused(ctx context.Context, seen *azurecred.Seen) error {
	what := fmt.Errorf("the vault answered %d, %s", seen.Status, seen.Code)
	switch inner := strings.ToLower(seen.Inner); {
	case seen.Status == http.StatusUnauthorized:
		return s.unauthorized(seen)
	case seen.Code == "":
		return s.foreign(seen.Status)
	case inner == "secretdisabled":
		return s.fail(errors.New("the version is disabled"), "enable it, or publish a new one")
	case seen.Status == http.StatusForbidden && (inner == "forbiddenbyfirewall" || inner == "forbiddenbyconnection"):
		return s.fail(fmt.Errorf("the vault's firewall refuses this network (403, %s)", seen.Inner), s.hintNetwork())
	case seen.Status == http.StatusForbidden && (inner == "forbiddenbyrbac" || inner == "accessdenied" || inner == "forbiddenbypolicy"):
		return s.fail(errors.New("the identity may not read secrets (403)"), hintRole)
	case seen.Status == http.StatusForbidden:
		return s.fail(errors.New("the vault refuses the read (403) and does not say why: the version is disabled or has expired, or the identity has no role"),
			"look whether the version is enabled and has not expired: az keyvault secret list-versions "+s.where()+". If so, "+hintRole)
	case seen.Status == http.StatusNotFound:
		return s.missing(ctx)
	case seen.Status == http.StatusTooManyRequests:
		out := s.fail(errors.New("the vault throttles (429)"), "it is read again; a Cache reads once per TTL: look who else reads")
		out.Transient = true
		return out
	case leaf.Passing(seen.Status):
		out := s.fail(what, "it is read again")
		out.Transient = true
		return out
	}
	return s.fail(what, "check the vault's URL, the name and the version")
}

// hintCloud says where tokens for the vault come from.
func (s *Source) hintCloud() string {
	c, ok := azurename.OfVault(s.host())
	if !ok {
		return "set ClientOptions.Cloud to the cloud of the vault"
	}
	return "the vault is in " + c.Name + ": set AZURE_AUTHORITY_HOST to " + c.Authority() + ", or ClientOptions.Cloud"
}

func (s *Source) unauthorized(seen *azurecred.Seen) error {
	switch seen.AKV {
	case 10032:
		return s.fail(errors.New("AKV10032: the token is from another tenant than the vault's"), "set AZURE_TENANT_ID to the vault's tenant, or log in there")
	case 10022:
		return s.fail(errors.New("AKV10022: the token is for another audience"), s.hintCloud())
	case 0:
		return s.fail(errors.New("the vault refuses the token (401)"), "check the identity and its tenant; "+s.hintCloud())
	}
	return s.fail(fmt.Errorf("AKV%d: the vault refuses the token (401)", seen.AKV), "check the identity and its tenant; "+s.hintCloud())
}

// where is what tells az the secret.
func (s *Source) where() string {
	return "--vault-name " + strings.SplitN(s.host(), ".", 2)[0] + " --name " + s.name
}

// missing tells a deleted secret from one that never was. If the
// identity may not ask, the error names both.
func (s *Source) missing(ctx context.Context) error {
	where := s.where()
	gone, _, err := azurecred.Detached(ctx, func(ctx context.Context) (azsecrets.DeletedSecret, error) { return s.deleted(ctx, s.name) })
	switch {
	case err == nil && gone.DeletedDate != nil:
		return s.fail(fmt.Errorf("%w: the secret was deleted at %s", credential.ErrNotFound, stamp(*gone.DeletedDate)), "az keyvault secret recover "+where)
	case err == nil:
		return s.fail(fmt.Errorf("%w: the secret is deleted", credential.ErrNotFound), "az keyvault secret recover "+where)
	case s.pin != "":
		return s.fail(fmt.Errorf("%w: the vault has no such secret or version", credential.ErrNotFound), "az keyvault secret list-versions "+where)
	}
	return s.fail(fmt.Errorf("%w: the vault has no such secret", credential.ErrNotFound), "check the name; if it was deleted: az keyvault secret recover "+where)
}
