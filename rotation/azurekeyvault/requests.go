package azurekeyvault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/azurecred"
	"github.com/latchkey-go/latchkey/internal/azurename"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

// errAbsent is a 404 of Key Vault.
var errAbsent = errors.New("the vault has no such secret")

// The operations.
const (
	reading = "read"
	writing = "write"
	listing = "list the versions of"
)

// right is what an operation needs, as a data action and as an access policy calls it.
func right(op string) (action, permission string) {
	switch op {
	case writing:
		return "setSecret/action", "Set"
	case listing:
		return "readMetadata/action", "List"
	}
	return "getSecret/action", "Get"
}

// get reads a version; an empty one is the newest. Its Value is not nil.
func (s *Store) get(ctx context.Context, name, version string) (azsecrets.Secret, error) {
	return ask(ctx, s, reading, name, func(ctx context.Context) (azsecrets.Secret, error) {
		out, err := s.sdk().GetSecret(ctx, name, version, nil)
		if err == nil && out.Value == nil {
			err = errForeign
		}
		return out.Secret, err //nolint:wrapcheck // ask does
	})
}

// set makes a version. Its Value is not nil.
func (s *Store) set(ctx context.Context, name string, p azsecrets.SetSecretParameters) (azsecrets.Secret, error) {
	return ask(ctx, s, writing, name, func(ctx context.Context) (azsecrets.Secret, error) {
		out, err := s.sdk().SetSecret(ctx, name, p, nil)
		if err == nil && out.Value == nil {
			err = errForeign
		}
		return out.Secret, err //nolint:wrapcheck // ask does
	})
}

// gone returns an error if the secret was deleted, and nil if it never was there, or if
// the identity may not know.
func (s *Store) gone(ctx context.Context, name string) error {
	_, seen, err := azurecred.Detached(ctx, func(ctx context.Context) (azsecrets.GetDeletedSecretResponse, error) {
		return s.sdk().GetDeletedSecret(ctx, name, nil) //nolint:wrapcheck // it is looked at here
	})
	switch {
	case err == nil:
		return s.deleted(reading, name)
	case ctx.Err() != nil || seen.Status != http.StatusNotFound && seen.Status != http.StatusForbidden:
		return s.explain(ctx, reading, name, seen, err)
	}
	return nil
}

func (s *Store) deleted(op, name string) error {
	return s.fail(op, name, fmt.Errorf("the secret is deleted, and its name is kept for it: az keyvault secret recover --vault-name %s --name %s", strings.SplitN(s.host, ".", 2)[0], name))
}

func (s *Store) fail(op, name string, err error) error {
	return fmt.Errorf("rotation/azurekeyvault: %s %s in %s: %w", op, name, s.host, err)
}

// ask makes a request, and returns an error of our own in place of that of the SDK,
// which holds the whole answer.
func ask[T any](ctx context.Context, s *Store, op, name string, call func(context.Context) (T, error)) (T, error) {
	out, seen, err := azurecred.Detached(ctx, call)
	if err != nil {
		var none T
		return none, s.explain(ctx, op, name, seen, err)
	}
	return out, nil
}

var errForeign = errors.New("the answer is not one of Key Vault; look for a proxy or firewall that answers in its place, and check the vault's URL")

// explain: https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
func (s *Store) explain(ctx context.Context, op, name string, seen *azurecred.Seen, err error) error {
	fail := func(format string, args ...any) error { return s.fail(op, name, fmt.Errorf(format, args...)) }
	inner := strings.ToLower(seen.Inner)
	action, permission := right(op)
	se := (*credential.SourceError)(nil)
	switch {
	case ctx.Err() != nil:
		return fail("%w", context.Cause(ctx))
	case errors.As(err, &se):
		return fail("%w", se)
	case errors.Is(err, errForeign):
		return fail("%w", errForeign)
	case seen.Err != nil:
		f := leaf.Hints{DNS: "check the vault's name; " + s.hintNetwork()}.Explain(seen.Err, seen.Host)
		return fail("%w; %s", f.Err, f.Hint)
	case seen.Code == "":
		return fail("status %d: %w", max(seen.Status, seen.Good), errForeign)
	case inner == "objectisdeletedbutrecoverable" || inner == "objectisbeingdeleted":
		return s.deleted(op, name)
	case seen.Status == http.StatusUnauthorized:
		return fail("the vault refuses the token (401); check the identity and its tenant")
	case inner == "secretdisabled":
		return fail("the version is disabled; enable it, or publish a new one: readers are refused as well")
	case inner == "forbiddenbyfirewall" || inner == "forbiddenbyconnection":
		return fail("the vault's firewall refuses this network (403, %s); %s", seen.Inner, s.hintNetwork())
	case seen.Status == http.StatusForbidden:
		return fail("the identity may not (403); it needs Microsoft.KeyVault/vaults/secrets/%s on the secret, which the role Key Vault Secrets Officer has, "+
			"or the permission %s for secrets in a vault with access policies. A new role takes some minutes to come into effect", action, permission)
	case seen.Status == http.StatusNotFound:
		return fail("%w", errAbsent)
	case seen.Status == http.StatusTooManyRequests:
		return fail("the vault throttles (429); run again later")
	}
	return fail("the vault answered %d, %s", seen.Status, seen.Code)
}

// hintNetwork names the zone of the cloud that the vault is in.
func (s *Store) hintNetwork() string {
	c, ok := azurename.OfVault(s.host)
	if !ok {
		c = azurename.Clouds()[0]
	}
	return "call it through a private endpoint, with the DNS zone " + c.VaultZone + " linked to the virtual network, or allow this network in the vault's firewall"
}
