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
	"github.com/latchkey-go/latchkey/middleware"
)

// azure is what differs where the endpoint is Azure's.
type azure struct {
	on         bool
	named      bool   // by AZURE_OPENAI_ENDPOINT
	version    string // the api-version to send; empty for none
	dated      bool   // the version is one that has deployments in its paths
	deployment string
}

// target returns the base URL, and what Azure makes of it.
func (cfg *Config) target() (endpoint, azure, error) {
	az := azure{deployment: cfg.Deployment}
	base, err := cfg.rawBase(&az)
	if err != nil {
		return endpoint{}, az, err
	}
	e, err := parseBaseURL(base)
	if err != nil {
		return endpoint{}, az, err
	}
	az.on = az.named || cfg.APIVersion != "" || cfg.Deployment != "" || azureHost(e.origin)
	if !az.on {
		return e, az, nil
	}
	e, err = az.settle(e, cfg.APIVersion)
	return e, az, err
}

// rawBase chooses between the configuration and the variables of two SDKs.
func (cfg *Config) rawBase(az *azure) (string, error) {
	ours, theirs := os.Getenv("AZURE_OPENAI_ENDPOINT"), os.Getenv("OPENAI_BASE_URL")
	base := cfg.BaseURL
	switch {
	case base != "":
	case ours != "" && theirs != "":
		a, errA := parseBaseURL(ours)
		b, errB := parseBaseURL(theirs)
		if errA != nil || errB != nil || !strings.EqualFold(a.origin, b.origin) {
			return "", errors.New("client: AZURE_OPENAI_ENDPOINT and OPENAI_BASE_URL are both set and name different servers; unset one, or set Config.BaseURL")
		}
		base, az.named = theirs, true // it has a path
	case ours != "":
		base, az.named = ours, true
	default:
		base = first(theirs, DefaultBaseURL)
	}
	if strings.HasPrefix(strings.TrimSpace(base), "@Microsoft.KeyVault(") {
		return "", errors.New("client: base URL: it is an unresolved Key Vault reference: the platform could not read the vault")
	}
	return base, nil
}

// azureHost reports whether the endpoint is one of Azure's own names, in the
// public cloud, Azure Government or 21Vianet.
func azureHost(origin string) bool {
	_, host, _ := strings.Cut(strings.ToLower(origin), "://")
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for _, suffix := range [...]string{
		".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com",
		".openai.azure.us", ".cognitiveservices.azure.us", ".services.ai.azure.us",
		".openai.azure.cn", ".cognitiveservices.azure.cn",
	} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

const v1Path = "/openai/v1/"

// settle completes the path and decides on the version. The v1 API has its
// version in the path
// (https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle);
// the older one has a dated api-version, and deployments in its paths.
func (az *azure) settle(e endpoint, asked string) (endpoint, error) {
	if err := az.fromQuery(&e); err != nil {
		return e, err
	}
	isV1 := strings.HasSuffix(e.path, v1Path)
	version := first(asked, az.version, os.Getenv("OPENAI_API_VERSION"))
	kind, err := versionKind(version)
	switch {
	case err != nil:
		return e, err
	case isV1 && kind == dated && first(asked, az.version) != "":
		return e, errors.New("client: the base URL is of the v1 API, and APIVersion is dated; leave one out")
	case isV1 && kind == dated:
		version = "" // the path that was written down counts for more than OPENAI_API_VERSION
	}
	az.version, az.dated = version, kind == dated && !isV1
	switch {
	case isV1:
	case az.dated:
		e.path = az.underOpenAI(e.path)
	case strings.Contains(e.path, "/deployments/"):
		return e, errors.New("client: the base URL names a deployment, which needs an APIVersion or OPENAI_API_VERSION, such as 2024-10-21")
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

// fromQuery takes an api-version out of the base URL's query.
func (az *azure) fromQuery(e *endpoint) error {
	if !strings.Contains(e.query, "api-version=") {
		return nil
	}
	q, err := url.ParseQuery(e.query)
	if err != nil {
		return errors.New("client: base URL: malformed query")
	}
	az.version = q.Get("api-version")
	q.Del("api-version")
	e.query = q.Encode()
	return nil
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
// AZURE_OPENAI_ENDPOINT a key of OpenAI's, which is often set as well, must
// not go to Azure.
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

// auth builds the layer with the credentials.
func (cfg *Config) auth(cache, gateway *credential.Cache, base endpoint, az azure) (middleware.Middleware, error) {
	opts := &middleware.AuthOptions{KeyHeader: cfg.KeyHeader, SubscriptionKey: gateway}
	if az.on && opts.KeyHeader == "" {
		opts.KeyHeader = "api-key"
	}
	return middleware.Auth(cache, base.origin, opts) //nolint:wrapcheck // it says what and where
}

// gateway returns the cache of the subscription key; nil if there is none.
func (cfg *Config) gateway() (*credential.Cache, error) {
	if cfg.SubscriptionKey == nil {
		return nil, nil
	}
	gateway, ok := cfg.SubscriptionKey.(*credential.Cache)
	if !ok {
		var err error
		if gateway, err = credential.NewCache(cfg.SubscriptionKey, cfg.Cache); err != nil {
			return nil, fmt.Errorf("client: SubscriptionKey: %w", err)
		}
	}
	if gateway == nil {
		return nil, errors.New("client: SubscriptionKey is a nil *credential.Cache; make one with credential.NewCache")
	}
	return gateway, nil
}

// getenv is os.Getenv for the variables that only OpenAI's own service has.
func (az *azure) getenv(name string) string {
	if az.on {
		return ""
	}
	return os.Getenv(name)
}

// adviseError adds what to do to an error of the connection to Azure.
func adviseError(err error) error {
	source := (*credential.SourceError)(nil)
	if errors.As(err, &source) {
		return err
	}
	dns, invalid, authority := (*net.DNSError)(nil), x509.CertificateInvalidError{}, x509.UnknownAuthorityError{}
	verify := (*tls.CertificateVerificationError)(nil)
	hint := ""
	switch {
	case errors.As(err, &dns):
		hint = "check the resource's name; with a private endpoint, link the DNS zone privatelink.openai.azure.com to the virtual network"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = "the certificate that was shown is out of its time: check the clock here, and proxies on the way"
	case errors.As(err, &authority):
		hint = "a proxy that opens TLS needs its certificate authority in Config.RootCAs"
	case errors.As(err, &verify):
		hint = "the certificate that was shown is not the resource's: check DNS and proxies on the way"
	default:
		return err
	}
	return fmt.Errorf("%w (%s)", err, hint)
}

// Hint tells what to do about a refusal that is known to have one cause, most
// of them Azure's; it is empty for others. It holds nothing of the answer.
//
// https://learn.microsoft.com/azure/ai-foundry/openai/how-to/managed-identity
func (e *Error) Hint() string {
	m, code := strings.ToLower(e.Message), strings.ToLower(e.Code)
	says := func(part string) bool { return strings.Contains(m, part) || strings.Contains(code, part) }
	switch {
	case says("does not match resource t"):
		return "the token is of another tenant than the resource: set AZURE_TENANT_ID or log in to the resource's tenant"
	case e.StatusCode == http.StatusUnauthorized:
		return hint401(says)
	case e.StatusCode == http.StatusForbidden && (says("public access is disabled") || says("virtual network/firewall") || says("publicnetworkaccess")):
		return "the resource takes calls through its private endpoint only: run inside of the virtual network, with the DNS zone privatelink.openai.azure.com " +
			"linked to it (nslookup has to give a private address), or allow this network. Another key does not help"
	case e.StatusCode == http.StatusForbidden && (says("authenticationtypedisabled") || says("key based authentication is disabled")):
		return "the resource takes no keys: use a token, with credential/azureidentity as Config.Source"
	case e.StatusCode == http.StatusNotFound && says("deploymentnotfound"):
		return "the resource has no deployment of that name: pass the deployment's name as the model, or set Config.Deployment; a new one takes some minutes"
	}
	return ""
}

func hint401(says func(string) bool) string {
	switch {
	case says("permissiondenied"), says("principal does not have access"):
		return "assign the role Cognitive Services OpenAI User on the resource to the identity; it takes some minutes to come into effect"
	case says("audience is incorrect"):
		return "the token has expired or is for another scope or tenant: want the scope https://cognitiveservices.azure.com/.default, or that of the resource's cloud"
	case says("wrong api endpoint"):
		return "the key is of another resource, or was regenerated: compare the endpoint with the resource of the key"
	case says("missing subscription key"):
		return "API Management wants a key of its own: set Config.SubscriptionKey, or KeyHeader if it takes no other credential"
	case says("invalid subscription key"):
		return "API Management does not know this subscription key, or its subscription is not active for this API"
	}
	return ""
}
