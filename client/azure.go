package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/azurename"
	"github.com/latchkey-go/latchkey/internal/wraperr"
)

// azure is what differs where the endpoint is one of Azure OpenAI.
type azure struct {
	on         bool
	named      bool   // by AZURE_OPENAI_ENDPOINT
	version    string // the api-version to send; empty for none
	dated      bool   // the version is one that has deployments in its paths
	deployment string
}

// target returns the base URL, and what Azure makes of it.
func (p *Endpoint) target() (endpoint, azure, error) {
	az := azure{deployment: p.Deployment}
	a, from, err := p.address(&az)
	if err != nil {
		return endpoint{}, az, err
	}
	e := endpoint{origin: a.Origin, path: a.Path, query: a.Query}
	az.on = az.named || p.APIVersion != "" || p.Deployment != "" || a.Azure
	if !az.on {
		if a.APIVersion != "" { // of a gateway that wants one as well
			e.query = strings.TrimPrefix(e.query+"&api-version="+url.QueryEscape(a.APIVersion), "&")
		}
		return e, az, nil
	}
	if az.version = a.APIVersion; from == "" {
		from = "the base URL"
	}
	e, err = az.settle(e, p.APIVersion, from)
	return e, az, err
}

// address chooses between the configuration and the variables of two SDKs, and
// returns the address and the name of what it was in.
func (p *Endpoint) address(az *azure) (a azurename.Address, from string, err error) {
	const endpointVar, baseVar = "AZURE_OPENAI_ENDPOINT", "OPENAI_BASE_URL"
	ours, theirs := os.Getenv(endpointVar), os.Getenv(baseVar)
	switch {
	case p.BaseURL != "":
		a, err = p.parseAddress("BaseURL", p.BaseURL)
		return a, "BaseURL", err
	case ours == "" && theirs == "":
		a, err = p.parseAddress("DefaultBaseURL", DefaultBaseURL)
		return a, "DefaultBaseURL", err
	case ours == "":
		a, err = p.parseAddress(baseVar, theirs)
		return a, baseVar, err
	}
	az.named = true
	a, err = p.parseAddress(endpointVar, ours)
	if err != nil || theirs == "" {
		return a, endpointVar, err
	}
	b, err := p.parseAddress(baseVar, theirs)
	switch {
	case err != nil:
		return b, baseVar, err
	case !strings.EqualFold(a.Origin, b.Origin):
		return b, baseVar, errors.New("client: AZURE_OPENAI_ENDPOINT and OPENAI_BASE_URL are both set and name different servers; unset one, or set Config.BaseURL")
	}
	return b, baseVar, nil // it has a path
}

// parseAddress names in its errors what the address was in. It does not quote
// what may be a password. What an origin may be is checked once, by
// middleware.Auth.
func (p *Endpoint) parseAddress(from, text string) (azurename.Address, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "@Microsoft.KeyVault(") {
		return azurename.Address{}, fmt.Errorf("client: %s is an unresolved Key Vault reference: the platform could not read the vault", from)
	}
	a, err := azurename.Parse(text)
	if err != nil {
		return azurename.Address{}, fmt.Errorf("client: %s: %w", from, err)
	}
	rest, plain := strings.CutPrefix(a.Origin, "http://")
	if !plain || !a.Known || p.PlainHTTP { // of other hosts middleware.Auth tells
		return a, nil
	}
	right := endpoint{origin: "https://" + rest, path: a.Path}
	if a.Azure && a.Path == "/" {
		right.path = v1Path
	}
	return a, fmt.Errorf("client: %s: is plain http, which would show the credential to the network; want %s", from, right.shown())
}

const v1Path = "/openai/v1/"

// settle completes the path and decides on the version. The v1 API has its
// version in the path
// (https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle);
// the older one has a dated api-version, and deployments in its paths.
func (az *azure) settle(e endpoint, asked, from string) (endpoint, error) {
	isV1 := strings.HasSuffix(e.path, v1Path)
	version := first(asked, az.version, os.Getenv("OPENAI_API_VERSION"))
	kind, err := versionKind(version)
	switch {
	case err != nil:
		return e, err
	case isV1 && kind == dated && first(asked, az.version) != "":
		return e, fmt.Errorf("client: %s is of the v1 API, and APIVersion is dated; leave one out: want %s, or %s with the APIVersion", from, e.shown(), strings.TrimSuffix(e.shown(), "v1/"))
	case isV1 && kind == dated:
		version = "" // the path that was written down counts for more than OPENAI_API_VERSION
	}
	// The model inference API of Azure AI Foundry has versions, and no deployments.
	_, resource := azurename.OfInference(e.host())
	models := resource && e.path == "/models/"
	az.version, az.dated = version, kind == dated && !isV1 && !models
	switch {
	case isV1 || models:
	case az.dated:
		e.path = az.underOpenAI(e.path)
	case strings.Contains(e.path, "/deployments/"):
		before, _, _ := strings.Cut(e.path, "/openai/deployments/")
		return e, fmt.Errorf("client: %s names a deployment, which needs an APIVersion or OPENAI_API_VERSION, such as 2024-10-21; or want %s, and the deployment as the model", from, e.origin+azurename.Shown(before)+v1Path)
	case e.path == "/" || az.named || strings.HasSuffix(e.path, "/openai/"):
		e.path = strings.TrimSuffix(strings.TrimSuffix(e.path, "/"), "/openai") + v1Path
	}
	if version == "v1" {
		az.version = "" // it is in the path
	}
	if strings.Contains(az.deployment, "/") || az.deployment != "" && checkPath(az.deployment) != nil {
		return e, errors.New("client: Deployment holds a slash or what cannot stand in a path; want the name of the deployment")
	}
	return e, nil
}

// underOpenAI returns the path that the dated API begins with. A deployment in
// it is the one for all calls, unless Config.Deployment names another.
func (az *azure) underOpenAI(path string) string {
	before, after, ok := strings.Cut(path, "/openai/deployments/")
	if ok {
		name, _, _ := strings.Cut(after, "/")
		if plain, err := url.PathUnescape(name); err == nil {
			az.deployment = first(az.deployment, plain)
		}
		return before + "/openai/"
	}
	return strings.TrimSuffix(strings.TrimSuffix(path, "/"), "/openai") + "/openai/"
}

type kindOfVersion int

const (
	undated kindOfVersion = iota
	dated
)

// versionKind knows "v1", "preview" and "latest" of the v1 API, and dates.
func versionKind(version string) (kindOfVersion, error) {
	switch version {
	case "", "v1", "preview", "latest":
		return undated, nil
	}
	date := strings.TrimSuffix(version, "-preview")
	ok := len(date) == len("2024-10-21") && date[4] == '-' && date[7] == '-'
	for i := range len(date) {
		if i != 4 && i != 7 && (date[i] < '0' || date[i] > '9') {
			ok = false
		}
	}
	if !ok {
		return undated, errors.New("client: APIVersion (or OPENAI_API_VERSION) is malformed; want a date such as 2024-10-21 or 2025-04-01-preview, or v1, preview or latest")
	}
	return dated, nil
}

// source is where the key is if Config.Source does not say. With
// AZURE_OPENAI_ENDPOINT a key for OpenAI, which is often set as well, must not go
// to Azure.
func (az *azure) source() (credential.Source, error) {
	ours, theirs := credential.Env("AZURE_OPENAI_API_KEY"), credential.Env("OPENAI_API_KEY")
	switch {
	case az.named:
		return ours, nil
	case az.on:
		return credential.NewChain(ours, theirs) //nolint:wrapcheck // it does not fail
	}
	return theirs, nil
}

// getenv is os.Getenv for the variables that mean nothing to Azure.
func (az *azure) getenv(name string) string {
	if az.on {
		return ""
	}
	return os.Getenv(name)
}

// adviseError adds what to do to an error of the connection to Azure.
func adviseError(err error, host string) error {
	source := (*credential.SourceError)(nil)
	if errors.As(err, &source) {
		return err
	}
	dns, invalid, authority := (*net.DNSError)(nil), x509.CertificateInvalidError{}, x509.UnknownAuthorityError{}
	verify := (*tls.CertificateVerificationError)(nil)
	hint := ""
	switch {
	case errors.As(err, &dns):
		hint = "check the resource's name; with a private endpoint, link the DNS zone " + azurename.Zone(host) + " to the virtual network"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = "the certificate that was shown is out of its time: check the clock here, and proxies on the way"
	case errors.As(err, &authority):
		hint = "a proxy that opens TLS needs its certificate authority in Config.RootCAs"
	case errors.As(err, &verify):
		hint = "the certificate that was shown is not the resource's: check DNS and proxies on the way"
	default:
		return err
	}
	return wraperr.New(fmt.Sprintf("%v (%s)", err, hint), err)
}

// Hint tells what to do about a refusal that is known to have one cause, most
// of them refusals by Azure. It is empty for others, and holds nothing of the
// answer.
//
// https://learn.microsoft.com/azure/ai-foundry/openai/how-to/managed-identity
func (e *Error) Hint() string {
	m, code := strings.ToLower(e.Message), strings.ToLower(e.Code)
	says := func(part string) bool { return strings.Contains(m, part) || strings.Contains(code, part) }
	switch {
	case says("does not match resource t"):
		return "the token is of another tenant than the resource: set AZURE_TENANT_ID or log in to the resource's tenant"
	case e.StatusCode == http.StatusUnauthorized:
		return e.hint401(says)
	case e.StatusCode == http.StatusForbidden && (says("public access is disabled") || says("virtual network/firewall") || says("publicnetworkaccess")):
		return "the resource takes calls through its private endpoint only: run inside of the virtual network, with the DNS zone " + azurename.Zone(e.host) +
			" linked to it (nslookup has to give a private address), or allow this network. Another key does not help"
	case e.StatusCode == http.StatusForbidden && (says("authenticationtypedisabled") || says("key based authentication is disabled")):
		return "the resource takes no keys: use a token, with credential/azureidentity as Config.Source"
	case e.StatusCode == http.StatusNotFound && says("deploymentnotfound"):
		return "the resource has no deployment of that name: pass the deployment's name as the model, or set Config.Deployment; a new one takes some minutes"
	}
	return ""
}

func (e *Error) hint401(says func(string) bool) string {
	switch {
	case says("permissiondenied"), says("principal does not have access"):
		return "assign the role Cognitive Services OpenAI User on the resource to the identity; it takes some minutes to come into effect"
	case says("audience is incorrect"):
		return "the token has expired or is for another scope or tenant: want the scope " + e.scopes()
	case says("wrong api endpoint"):
		return "the key is of another resource, or was regenerated: compare the endpoint with the resource of the key"
	case says("missing subscription key"):
		return "API Management wants a key of its own: set Config.SubscriptionKey, or KeyHeader if it takes no other credential"
	case says("invalid subscription key"):
		return "API Management does not know this subscription key, or its subscription is not active for this API"
	}
	return ""
}

// scopes names the scope of the cloud that the endpoint is in.
func (e *Error) scopes() string {
	if c, ok := azurename.OfInference(e.host); ok {
		if c.HasProjects(e.host) {
			return c.Scope + ", that of " + c.Name + ", or " + c.FoundryScope + " for an address below /api/projects/"
		}
		return c.Scope + ", that of " + c.Name
	}
	return azurename.DefaultScope + ", or that of the resource's cloud"
}
