package azurecred

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/metadata"
	"github.com/latchkey-go/latchkey/internal/platform"
)

var errUnresolved = errors.New("it is an unresolved Key Vault reference: the platform could not read the vault")

var errUnnamed = errors.New("the SDK gave no token, for a reason that it does not name")

// discovery is the host that the SDK asks about authorities.
const discovery = "login.microsoftonline.com"

const (
	hintUnresolved = "give the app an identity with the role Key Vault Secrets User, and look at the reference's status in the app's settings"
	hintLogin      = "run az login, azd auth login or Connect-AzAccount"
)

// unresolved reports whether a setting holds what the platform should have
// replaced.
func unresolved(value string) bool { return strings.HasPrefix(value, "@Microsoft.KeyVault(") }

// nothing says that no identity is configured, with what was looked for.
func (c *Credential) nothing(here platform.Place, missing []string, guess bool) error {
	return &credential.SourceError{
		Guess:  guess,
		Source: c.opts().Source,
		Op:     "choose an identity",
		Err:    fmt.Errorf("%w: %s", credential.ErrUnavailable, strings.Join(missing, "; ")),
		Hint:   hintIdentity(here),
	}
}

// hintIdentity is how a program gets an identity in that place.
func hintIdentity(here platform.Place) string {
	switch {
	case here.Service == platform.Kubernetes:
		return "give the service account of the pod a workload identity"
	case here.Cloud == platform.Azure:
		return "assign a managed identity to the resource"
	case here.Cloud == platform.AWS || here.Cloud == platform.Google:
		return "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET to those of a service principal"
	case !onPath(cli) && !onPath(developer) && !onPath(shell):
		return "install the Azure CLI and run az login; in Azure, assign a managed identity to the resource"
	case here.Cloud == platform.Unknown:
		return hintLogin + "; in Azure, assign a managed identity to the resource"
	}
	return hintLogin
}

func isGuess(err error) bool {
	se := (*credential.SourceError)(nil)
	return errors.As(err, &se) && se.Guess
}

// reason is what an attempt lacked, without the words around it.
func reason(err error) string {
	if se := (*credential.SourceError)(nil); errors.As(err, &se) && se.Err != nil {
		err = se.Err
	}
	return strings.TrimPrefix(err.Error(), credential.ErrUnavailable.Error()+": ")
}

// A failure is a token that was not given.
type failure struct {
	source, identity string
	scopes           []string
	authority        string // the host that is configured; empty if the SDK's is in use
	seen             *Seen
	err              error
	id               *identity // nil for a credential of the user's
}

// Explain makes a *credential.SourceError of the error of any
// azcore.TokenCredential. The SDK's texts stay out: they hold whole answers.
func Explain(source string, scopes []string, seen *Seen, err error) error {
	return explain(&failure{source: source, identity: "the credential", scopes: scopes, seen: seen, err: err})
}

func explain(f *failure) error {
	se := (*credential.SourceError)(nil)
	if errors.As(f.err, &se) || f.seen != nil && errors.As(f.seen.Err, &se) {
		return se
	}
	out := &credential.SourceError{Source: f.source, Op: "get a token from " + f.identity}
	s := f.status()
	tool := f.identity == cli || f.identity == developer || f.identity == shell
	switch {
	case errors.Is(f.err, context.DeadlineExceeded) || errors.Is(f.err, context.Canceled):
		out.Err, out.Transient = errors.New("no answer in time"), true
	case tool:
		f.tool(out)
	case s != nil && s.Err != nil:
		n := Network(s.Err, s.Host)
		out.Err, out.Hint, out.Transient = n.Err, n.Hint, n.Transient
		if f.authority != "" && s.Host == discovery && f.authority != discovery {
			out.Err = fmt.Errorf("%w, which the SDK asks about the configured authority %s", n.Err, f.authority)
			out.Hint = "set DisableInstanceDiscovery, if " + f.authority + " is the authority of a private cloud"
		}
		if f.identity == managed {
			out.Hint = f.id.hint()
		}
	case f.identity == managed && f.seen != nil && f.seen.Good != 0:
		out.Err = fmt.Errorf("what answers at %s with %d is not the identity endpoint", f.seen.From, f.seen.Good)
		out.Hint, out.Transient = f.id.hint(), true
	case f.identity == managed && s != nil && s.Status != 0:
		f.managed(out, s)
	case isUnavailable(f.err):
		out.Err = fmt.Errorf("%w: none of its identities is configured here", credential.ErrUnavailable)
		out.Hint = "assign a managed identity, or " + hintLogin
	case s != nil && s.Status != 0:
		f.entra(out, s)
	case strings.Contains(f.err.Error(), "isn't configured to acquire tokens for tenant"):
		out.Err = errors.New("the resource belongs to another tenant than the identity")
		out.Hint = "set the tenant of the resource, or list it in AZURE_ADDITIONALLY_ALLOWED_TENANTS"
	default:
		fromText(out, f.err.Error(), f.scopes)
		if f.seen != nil && f.seen.Good != 0 && out.Err == errUnnamed { //nolint:errorlint // the very one
			out.Err = fmt.Errorf("the answer of %s (status %d) does not come from Azure", f.seen.From, f.seen.Good)
			out.Hint, out.Transient = "look for a proxy or another program that answers in its place", true
		}
	}
	return out
}

// status is how the last request ended: as our transporter saw it, or, for a
// credential with one of its own, as the error tells.
func (f *failure) status() *Seen {
	if f.seen != nil && (f.seen.Err != nil || f.seen.Status != 0) {
		return f.seen
	}
	if af := (*azidentity.AuthenticationFailedError)(nil); errors.As(f.err, &af) && af.RawResponse != nil {
		return fromResponse(af.RawResponse)
	}
	if re := (*azcore.ResponseError)(nil); errors.As(f.err, &re) && re.RawResponse != nil {
		return fromResponse(re.RawResponse)
	}
	if leaf.OnWire(f.err) {
		return &Seen{Err: f.err}
	}
	return nil
}

// isUnavailable asks the SDK itself, which keeps the type of that error to
// itself: a chain goes on after it, and after no other.
func isUnavailable(err error) bool {
	wentOn := false
	chain, chainErr := azidentity.NewChainedTokenCredential([]azcore.TokenCredential{
		stub(func() error { return err }),
		stub(func() error { wentOn = true; return errors.New("no token") }),
	}, nil)
	if chainErr != nil {
		return false
	}
	_, _ = chain.GetToken(context.Background(), policy.TokenRequestOptions{})
	return wentOn
}

type stub func() error

func (s stub) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, s()
}

// tool explains the failure of a command. Of what it printed only codes of
// Entra are shown.
func (f *failure) tool(out *credential.SourceError) {
	text := f.err.Error()
	login := map[string]string{cli: "az login", developer: "azd auth login", shell: "Connect-AzAccount"}[f.identity]
	code := number(text, "AADSTS")
	switch {
	case code != 0:
		numbered(out, code, f.scopes)
		if out.Hint == "" {
			out.Hint = "run " + login + " again"
		}
	case isUnavailable(f.err):
		out.Err = fmt.Errorf("%w: it is not on the PATH of the shell", credential.ErrUnavailable)
		out.Hint = "install it, or log in with another tool"
	case strings.Contains(text, "Az.Accounts module not found"):
		out.Err = fmt.Errorf("%w: it has no module Az.Accounts", credential.ErrUnavailable)
		out.Hint = "run Install-Module Az.Accounts, then Connect-AzAccount"
	case strings.Contains(text, "multifactor authentication or additional claims"), strings.Contains(text, "MFA required"):
		out.Err = errors.New("the service asks for another sign-in (conditional access, or access was revoked)")
		out.Hint = fmt.Sprintf("run %s again", login)
		if f.identity == cli && len(f.scopes) > 0 {
			out.Hint = fmt.Sprintf("run az logout, then az login --scope %s", f.scopes[0])
		}
	case strings.Contains(text, "az login"), strings.Contains(text, "azd auth login"), strings.Contains(text, "Connect-AzAccount"):
		out.Err = fmt.Errorf("%w: nobody is logged in", credential.ErrUnavailable)
		out.Hint = "run " + login
	case strings.Contains(text, "signal: killed"), strings.Contains(text, unheard):
		out.Err, out.Transient = errors.New("it did not answer and was stopped"), true
		out.Hint = "run " + f.command() + " by hand and look where it hangs"
	case isNoJSON(f.err):
		out.Err = errors.New("something else than the JSON of a token is on its standard output, a warning or an escape code for example")
		out.Hint = "run " + f.command() + " by hand to see what it is"
		if f.identity == cli {
			out.Hint = "set AZURE_CORE_ONLY_SHOW_ERRORS=true and AZURE_CORE_NO_COLOR=true; " + f.command() + " -o json shows what it prints"
		}
	default:
		out.Err = errors.New("it failed")
		out.Hint = "run " + f.command() + " by hand to see why"
	}
}

// isNoJSON reports whether the SDK could not decode what a tool printed.
func isNoJSON(err error) bool {
	syntax, kind := (*json.SyntaxError)(nil), (*json.UnmarshalTypeError)(nil)
	return errors.As(err, &syntax) || errors.As(err, &kind)
}

func (f *failure) command() string {
	switch f.identity {
	case cli:
		return "az account get-access-token"
	case developer:
		return "azd auth token"
	}
	return "Get-AzAccessToken"
}

// managed explains an answer of an identity endpoint.
// https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling
func (f *failure) managed(out *credential.SourceError, s *Seen) {
	out.Err = fmt.Errorf("the identity endpoint answered %d%s", s.Status, codes(s))
	switch {
	case s.AADSTS != 0:
		numbered(out, s.AADSTS, f.scopes)
	case s.Host == metadata.Host && s.Status == http.StatusBadRequest && s.Code == "":
		out.Err = fmt.Errorf("what answers at %s with %d is not the identity endpoint", s.Host, s.Status)
		out.Hint, out.Transient = f.id.hint(), true
	case s.Status == http.StatusBadRequest && isUnavailable(f.err):
		kind := credential.ErrUnavailable
		if f.id.named {
			kind = credential.ErrNotFound
		}
		out.Err = fmt.Errorf("%w: the machine has no system-assigned identity", kind)
		out.Hint = "assign one, or name a user-assigned one with AZURE_CLIENT_ID"
	case s.Status == http.StatusBadRequest:
		out.Err = fmt.Errorf("%w: the identity endpoint answered 400: it has no such identity, or knows no such scope", credential.ErrNotFound)
		out.Hint = "assign the identity to this resource and check AZURE_CLIENT_ID and the scope"
		if f.id.why != "" {
			out.Hint += "; it is asked because " + f.id.why + ": " + hintOthers
		}
	case s.Status == http.StatusForbidden && isUnavailable(f.err): // the SDK knows the proxy of Docker Desktop
		out.Err = errors.New("a proxy answers in the place of the identity endpoint, which it cannot reach")
		out.Hint, out.Transient = f.id.hint(), true
	case s.Host != metadata.Host && (s.Status == http.StatusUnauthorized || s.Status == http.StatusForbidden):
		out.Hint = "restart the app: its IDENTITY_HEADER is not accepted"
	case s.Status == http.StatusNotFound || s.Status == http.StatusGone || leaf.Passing(s.Status):
		out.Hint, out.Transient = "it may be starting or being updated; "+f.id.hint(), true
	default:
		out.Hint = f.id.hint()
	}
}

const hintOthers = "set AZURE_TOKEN_CREDENTIALS=dev if az is meant"

// hint says what to do about an endpoint of a managed identity that does not
// answer as it should.
func (id *identity) hint() string {
	if id.why == "" {
		return "check that no proxy, firewall or network policy stands between the program and the endpoint"
	}
	return "let the program reach " + metadata.Host + " without a proxy; it is asked because " + id.why + ": " + hintOthers
}

// entra explains a refusal of the authority.
func (f *failure) entra(out *credential.SourceError, s *Seen) {
	switch {
	case s.AADSTS != 0:
		numbered(out, s.AADSTS, f.scopes)
	default:
		out.Err = fmt.Errorf("the authority answered %d%s", s.Status, codes(s))
		out.Hint = "check the tenant, the client id and the authority"
	}
	if leaf.Passing(s.Status) {
		out.Transient = true
	}
}

func codes(s *Seen) string {
	if s.Code == "" {
		return ""
	}
	return ", " + s.Code
}

func fromText(out *credential.SourceError, text string, scopes []string) {
	switch code := number(text, "AADSTS"); {
	case code != 0:
		numbered(out, code, scopes)
	case strings.Contains(text, "no such host"):
		out.Err, out.Hint, out.Transient = errors.New("a host name cannot be resolved"), hintDNS, true
	default:
		out.Err, out.Hint = errUnnamed, "check the credential on its own"
	}
}

// numbered fills out by a number of Entra.
func numbered(out *credential.SourceError, code int, scopes []string) {
	var what string
	what, out.Hint, out.Transient = entraCode(code, scopes)
	out.Err = errors.New(what)
}

func fromResponse(resp *http.Response) *Seen {
	body, err := runtime.Payload(resp)
	if err != nil {
		body = nil
	}
	return read(resp.StatusCode, body)
}
