package client

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// An Endpoint is one place that serves the API, and the credential for it. Each
// field of [Config] that has the name of a field here means the same.
type Endpoint struct {
	// BaseURL is where the API is, for example
	// "https://RESOURCE.openai.azure.com/openai/v1/". The credential goes to its
	// origin and nowhere else. Plain http is for loopback addresses only, unless
	// PlainHTTP is set. The empty string is AZURE_OPENAI_ENDPOINT or
	// OPENAI_BASE_URL, or else DefaultBaseURL; New fails if both are set and name
	// different servers.
	//
	// An Azure resource may be named without a path: that of the v1 API,
	// openai/v1/, is added, or openai/ with a dated APIVersion.
	BaseURL string
	// Source supplies the credential. New puts a Cache around it unless it is a
	// [credential.Provider], as a Cache is. Nil is
	// credential.Env("OPENAI_API_KEY"); with AZURE_OPENAI_ENDPOINT it is
	// AZURE_OPENAI_API_KEY, and with an Azure BaseURL it is the first of the
	// two that is set.
	Source credential.Source
	// APIVersion is the api-version of Azure. With a date, such as 2024-10-21, each
	// call goes to the deployment that its model names, in JSON and multipart
	// bodies alike. "preview" is a version of the v1 API. The empty
	// string is OPENAI_API_VERSION for an Azure endpoint, or else the v1 API.
	APIVersion string
	// Deployment is the Azure deployment of every call with a dated APIVersion,
	// whatever model it names. It is needed for bodies that cannot be read
	// twice: without GetBody and longer than [middleware.MaxReplayBody].
	Deployment string
	// KeyHeader is the header for a bare API key, for example
	// "Ocp-Apim-Subscription-Key" for Azure API Management; see
	// [middleware.AuthOptions]. The empty string means "api-key" for an
	// Azure endpoint, which its host name, AZURE_OPENAI_ENDPOINT, APIVersion or
	// Deployment tells; else "Authorization: Bearer".
	KeyHeader string
	// SubscriptionKey supplies the key of an Azure API Management in front of
	// the service, which is sent beside the credential in
	// Ocp-Apim-Subscription-Key. New puts a Cache around it as around Source.
	SubscriptionKey credential.Source
	// PlainHTTP allows a BaseURL of http:// to another machine, for a mesh or a
	// gateway in the same cluster that adds TLS itself. Everybody on the way can
	// read the credential. No redirect is followed then.
	PlainHTTP bool
	// Organization and Project are sent as OpenAI-Organization and
	// OpenAI-Project unless a request has these headers already. The empty
	// string is OPENAI_ORG_ID or OPENAI_PROJECT_ID, as in the official SDK.
	Organization, Project string
	// Models maps the names of models that the program uses to their names here:
	// a deployment in Azure is often named differently from the model at OpenAI.
	// A model that is not in it keeps its name.
	Models map[string]string
	// Name is what events, errors and [middleware.Send] call the endpoint among
	// several; the empty string is the host of BaseURL.
	Name string
	// Priority decides which of several endpoints is asked first: the lowest
	// number that can serve the call. 0 is its place: 1 for the endpoint of the
	// Config, 2 for the first fallback, and so on.
	Priority int
	// Weight is the endpoint's share of the calls among those of the same
	// Priority; 0 is 1.
	Weight int
	// Provisioned says that the endpoint has provisioned throughput; see
	// [middleware.Route].
	Provisioned bool
}

// A target is an Endpoint that was found to be in order.
type target struct {
	base     endpoint
	provider credential.Provider
	gateway  credential.Provider // nil if there is none
	rewrite  middleware.Middleware
	auth     middleware.Middleware
}

// resolve checks p and makes what is needed to call it. The environment's account
// is not that of a fallback.
func (p *Endpoint) resolve(opts *credential.CacheOptions, fallback bool) (*target, error) {
	base, az, err := p.target()
	if err != nil {
		return nil, err
	}
	t := &target{base: base}
	if t.provider, err = p.provider(az, opts); err != nil {
		return nil, err
	}
	auth := &middleware.AuthOptions{KeyHeader: p.KeyHeader, PlainHTTP: p.PlainHTTP}
	if az.on && auth.KeyHeader == "" {
		auth.KeyHeader = "api-key"
	}
	if p.SubscriptionKey != nil {
		if t.gateway, err = gatewayProvider(p.SubscriptionKey, opts); err != nil {
			return nil, err
		}
		auth.SubscriptionKey = t.gateway
	}
	if t.auth, err = middleware.Auth(t.provider, base.origin, auth); err != nil {
		return nil, err //nolint:wrapcheck // it says what and where
	}
	getenv := az.getenv
	if fallback {
		getenv = func(string) string { return "" }
	}
	headers, err := accountHeaders(
		first(p.Organization, getenv("OPENAI_ORG_ID")),
		first(p.Project, getenv("OPENAI_PROJECT_ID")))
	if err != nil {
		return nil, err
	}
	t.rewrite = rewriter(headers, base, az)
	return t, nil
}

func (p *Endpoint) provider(az azure, opts *credential.CacheOptions) (credential.Provider, error) {
	src := p.Source
	if src == nil {
		var err error
		if src, err = az.source(); err != nil {
			return nil, err
		}
	}
	if ready, ok := src.(credential.Provider); ok {
		cache, isCache := src.(*credential.Cache)
		switch {
		case isCache && cache == nil:
			return nil, errors.New("client: Source is a nil *credential.Cache; make one with credential.NewCache")
		case opts != nil:
			return nil, errors.New("client: Source is a Cache already; set its options where it is made")
		}
		return ready, nil
	}
	cache, err := credential.NewCache(src, opts)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return cache, nil
}

// gatewayProvider is provider for the subscription key, which may be a Cache
// beside a Source that is not.
func gatewayProvider(src credential.Source, opts *credential.CacheOptions) (credential.Provider, error) {
	if ready, ok := src.(credential.Provider); ok {
		return ready, nil // middleware.Auth refuses a nil Cache
	}
	cache, err := credential.NewCache(src, opts)
	if err != nil {
		return nil, fmt.Errorf("client: SubscriptionKey: %w", err)
	}
	return cache, nil
}

// accountHeaders returns the headers that name the organization and the project.
func accountHeaders(organization, project string) (http.Header, error) {
	headers := make(http.Header, 2)
	for name, value := range map[string]string{"Openai-Organization": organization, "Openai-Project": project} {
		if value == "" {
			continue
		}
		for i := range len(value) {
			if value[i] <= ' ' || value[i] > '~' {
				return nil, fmt.Errorf("client: %s: byte %d cannot stand in a header; want the bare id", name, i+1)
			}
		}
		headers[name] = []string{value}
	}
	return headers, nil
}

// rewriter returns the layer that makes a request into one for the endpoint; nil
// where nothing is to do.
func rewriter(headers http.Header, base endpoint, az azure) middleware.Middleware {
	if len(headers) == 0 && !az.on {
		return nil
	}
	l := rewriteLayer{headers: headers, azure: azureRewrite{azure: az, base: base}}
	return func(next http.RoundTripper) http.RoundTripper {
		out := l
		out.next = next.RoundTrip
		return &out
	}
}

type rewriteLayer struct {
	headers http.Header
	azure   azureRewrite
	next    roundTrip
}

func (l *rewriteLayer) RoundTrip(req *http.Request) (*http.Response, error) {
	out := l.account(req)
	if !l.azure.on {
		return l.next(out)
	}
	out, err := l.azure.rewrite(out)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := l.next(out)
	if err != nil {
		return nil, adviseError(err, l.azure.base.host())
	}
	return resp, nil
}

// account adds the headers that req does not have.
func (l *rewriteLayer) account(req *http.Request) *http.Request {
	out := req
	for name, value := range l.headers {
		if _, ok := req.Header[name]; ok {
			continue
		}
		if out == req {
			copied := *req
			out = &copied
			out.Header = make(http.Header, len(req.Header)+len(l.headers)+1)
			for k, vv := range req.Header {
				out.Header[k] = vv
			}
		}
		out.Header[name] = value
	}
	return out
}
