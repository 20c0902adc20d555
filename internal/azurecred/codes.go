package azurecred

import (
	"fmt"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/azurename"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

const hintDNS = "check the name, and the DNS of the network: behind a private endpoint its zone has to be linked to the virtual network"

// entraCode explains a number of Microsoft Entra.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
func entraCode(code int, scopes []string) (what, hint string, transient bool) {
	say := func(what string) string { return fmt.Sprintf("AADSTS%d: %s", code, what) }
	scope := strings.Join(scopes, " ")
	switch code {
	case 7000215:
		return say("the client secret is wrong"), "set AZURE_CLIENT_SECRET to the secret's value, not to its id", false
	case 7000222:
		return say("the client secret has expired"), "make a new one in the app registration and set AZURE_CLIENT_SECRET", false
	case 700027, 1000502:
		return say("the client certificate has expired, or is not the one that is registered"), "add a valid one to the app registration and to AZURE_CLIENT_CERTIFICATE_PATH", false
	case 700016, 7000229:
		return say("the tenant has no such application"), "check AZURE_CLIENT_ID, and that AZURE_TENANT_ID is the tenant of the application", false
	case 90002, 900023, 50128:
		return say("there is no such tenant"), "check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST", false
	case 50049:
		return say("the public cloud does not know the authority"), "set DisableInstanceDiscovery if it is the authority of a private cloud, else correct AZURE_AUTHORITY_HOST", false
	case 50020, 50178, 90072:
		return say("the account belongs to another tenant"), "log in to the tenant of the resource, or set AZURE_TENANT_ID", false
	case 500011, 500014, 70011, 1002012, 28002:
		return say(fmt.Sprintf("the tenant knows no resource of the scope %q", scope)), hintScope(scope), false
	case 70021, 700211, 700212, 700213, 700223:
		return say("no federated credential of the application fits this token"), "compare issuer, subject and audience of the federated credential with the service account", false
	case 700024:
		return say("the assertion is not within its time"), "check the clock, and that the federated token file is renewed", false
	case 50076, 50079, 50158, 53003, 530003:
		return say("conditional access asks for another sign-in"), "", false
	case 70043, 700082, 50173, 50132, 50133, 65001:
		return say("the sign-in has expired, was revoked or lacks consent"), "", false
	case 50196, 90033, 90055, 90006, 50053:
		return say("the authority is busy or throttles"), "it is tried again", true
	}
	return fmt.Sprintf("AADSTS%d", code), fmt.Sprintf("see https://login.microsoftonline.com/error?code=%d", code), false
}

// hintScope says which authority gives tokens of a scope.
func hintScope(scope string) string {
	c, ok := azurename.OfScope(scope)
	if !ok {
		return "check the scope and the cloud: " + azurename.DefaultScope + " in the public one"
	}
	return "the scope is that of " + c.Name + ": set AZURE_AUTHORITY_HOST to " + c.Authority() + " if the resource is there, else correct the endpoint or the scope"
}

// Network explains why no answer came from host.
func Network(err error, host string) leaf.Fault {
	hint := hintDNS
	if _, ok := azurename.OfAuthority(host); ok {
		hint = "check AZURE_AUTHORITY_HOST, and the DNS of the network"
	}
	return leaf.Hints{DNS: hint}.Explain(err, host)
}

func now() time.Time { return time.Now() }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
