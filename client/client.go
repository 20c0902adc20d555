package client

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// DefaultBaseURL is where requests go if neither Config.BaseURL nor
// OPENAI_BASE_URL says otherwise.
const DefaultBaseURL = "https://api.openai.com/v1/"

// Config configures a [Client]. The zero Config is ready to use.
type Config struct {
	// Source supplies the credential. New puts a Cache around it unless it is
	// one. Nil is credential.Env("OPENAI_API_KEY"); with AZURE_OPENAI_ENDPOINT
	// it is AZURE_OPENAI_API_KEY, and with a BaseURL of Azure's the first of
	// the two that is set.
	Source credential.Source
	// Cache configures that Cache; nil means the defaults. It must be nil if
	// Source is a Cache. Its Now is also the clock for idle connections.
	Cache *credential.CacheOptions
	// BaseURL is where the API is, for example
	// "https://RESOURCE.openai.azure.com/openai/v1/". The credential goes to its
	// origin and nowhere else. Plain http is for loopback addresses only. The
	// empty string is AZURE_OPENAI_ENDPOINT or OPENAI_BASE_URL, or else
	// DefaultBaseURL; New fails if both are set and name different servers.
	//
	// An Azure resource may be named without a path: that of the v1 API,
	// openai/v1/, is added, or openai/ with a dated APIVersion.
	BaseURL string
	// APIVersion is Azure's api-version. With a date, such as 2024-10-21, each
	// call goes to the deployment that its model names, in JSON and multipart
	// bodies alike. "preview" is of the v1 API. The empty string is
	// OPENAI_API_VERSION if the endpoint is Azure's, or else the v1 API.
	APIVersion string
	// Deployment is the Azure deployment of every call with a dated APIVersion,
	// whatever model it names. It is needed for bodies that cannot be read
	// twice: without GetBody and longer than [middleware.MaxReplayBody].
	Deployment string
	// KeyHeader is the header for a bare API key, for example
	// "Ocp-Apim-Subscription-Key" for Azure API Management; see
	// [middleware.AuthOptions]. The empty string means "api-key" if the
	// endpoint is Azure's, by its name, AZURE_OPENAI_ENDPOINT, APIVersion or
	// Deployment; else "Authorization: Bearer".
	KeyHeader string
	// SubscriptionKey supplies the key of an Azure API Management in front of
	// the service, which is sent beside the credential in
	// Ocp-Apim-Subscription-Key. New puts a Cache around it unless it is one.
	SubscriptionKey credential.Source
	// Organization and Project are sent as OpenAI-Organization and
	// OpenAI-Project unless a request has these headers already. The empty
	// string is OPENAI_ORG_ID or OPENAI_PROJECT_ID, as in the official SDK.
	Organization, Project string
	// Retry configures retries; nil means the defaults: two.
	Retry *middleware.RetryOptions
	// Logger receives one record per send; nil means no log.
	Logger *slog.Logger
	// Log configures these records; nil means the defaults.
	Log *middleware.LogOptions
	// Middleware is put around all other layers, the first outermost. It sees
	// each call once and never sees the credential.
	Middleware []middleware.Middleware
	// Transport carries the requests. Nil is a transport of the Client's own:
	// TLS 1.2 or later, HTTP/2, the environment's proxies.
	Transport http.RoundTripper
	// RootCAs is PEM: certificate authorities to trust beside the system's.
	// It must be empty if Transport is set.
	RootCAs []byte
	// DisableStreamGuard lets a stream that ends before its terminal event
	// pass for a complete one; see [middleware.StreamGuard].
	DisableStreamGuard bool
}

// A Client calls one API. It is immutable and safe for concurrent use. It
// starts no goroutine that outlives a call and needs no Close; idle
// connections close by themselves after 50 seconds.
type Client struct {
	base      endpoint
	cache     *credential.Cache
	gateway   *credential.Cache // of the subscription key; nil if there is none
	transport *transport
	// organization and project are those of the Config, without the environment's.
	organization, project string
	// A func, so that no printer by reflection walks into it.
	dial func() *thawed
}

// New returns a Client. It does no I/O: the credential is read at the first
// call, or by [Client.Warm]. It fails if the configuration contradicts itself,
// the base URL is malformed or plain http to another machine, or RootCAs holds
// no certificate.
func New(cfg Config) (*Client, error) {
	base, az, err := cfg.target()
	if err != nil {
		return nil, err
	}
	cache, err := cfg.cache(az)
	if err != nil {
		return nil, err
	}
	carrier, err := cfg.carrier()
	if err != nil {
		return nil, err
	}
	retry, err := middleware.Retry(cfg.Retry)
	if err != nil {
		return nil, err
	}
	gateway, err := cfg.gateway()
	if err != nil {
		return nil, err
	}
	auth, err := cfg.auth(cache, gateway, base, az)
	if err != nil {
		return nil, err
	}
	account, err := accountHeaders(
		first(cfg.Organization, az.getenv("OPENAI_ORG_ID")),
		first(cfg.Project, az.getenv("OPENAI_PROJECT_ID")))
	if err != nil {
		return nil, err
	}
	// Limit belongs between Replay and Retry, Failover between Retry and account.
	layers := append([]middleware.Middleware(nil), cfg.Middleware...)
	layers = append(layers, middleware.Replay(), retry, account, az.layer(base), auth, middleware.Log(cfg.Logger, cfg.Log))
	if !cfg.DisableStreamGuard {
		layers = append(layers, middleware.StreamGuard())
	}
	rt := middleware.Wrap(carrier, layers...)
	return &Client{
		base:         base,
		cache:        cache,
		gateway:      gateway,
		organization: cfg.Organization,
		project:      cfg.Project,
		transport:    &transport{next: rt.RoundTrip, closeIdle: carrier.CloseIdleConnections},
		dial:         func() *thawed { return carrier },
	}, nil
}

func (cfg *Config) cache(az azure) (*credential.Cache, error) {
	if cfg.Source != nil {
		return cfg.cacheOf(cfg.Source)
	}
	src, err := az.source()
	if err != nil {
		return nil, err
	}
	return cfg.cacheOf(src)
}

func (cfg *Config) cacheOf(src credential.Source) (*credential.Cache, error) {
	if cache, ok := src.(*credential.Cache); ok {
		switch {
		case cache == nil:
			return nil, errors.New("client: Source is a nil *credential.Cache; make one with credential.NewCache")
		case cfg.Cache != nil:
			return nil, errors.New("client: Source is a Cache already; set its options where it is made")
		}
		return cache, nil
	}
	cache, err := credential.NewCache(src, cfg.Cache)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return cache, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// HTTPClient returns an HTTP client for other SDKs and for net/http. Each call
// returns another one around the same transport, so a change to one, of its
// Timeout for example, does not reach the others. Requests to another origin
// than the base URL's, redirects included, fail with [middleware.ErrOrigin].
// Turn the retries of an SDK off that you give it to: the Client retries.
func (c *Client) HTTPClient() *http.Client {
	return &http.Client{Transport: c.transport}
}

// Options returns what makes the official SDK use this Client:
// openai.NewClient(c.Options()...). It sets the HTTP client and the base URL,
// turns the SDK's own retries off, and keeps OPENAI_API_KEY and
// OPENAI_ADMIN_KEY out of its requests. Do not add an API key to it.
func (c *Client) Options() []option.RequestOption {
	opts := []option.RequestOption{
		option.WithHTTPClient(c.HTTPClient()),
		option.WithBaseURL(c.base.String()),
		option.WithMaxRetries(0),
		option.WithAPIKey(""),
		option.WithAdminAPIKey(""),
	}
	// The SDK reads these from the environment, and the Config goes before it.
	if c.organization != "" {
		opts = append(opts, option.WithOrganization(c.organization))
	}
	if c.project != "" {
		opts = append(opts, option.WithProject(c.project))
	}
	return opts
}

// String names the base URL and the source.
func (c *Client) String() string {
	if c == nil || c.cache == nil {
		return "client"
	}
	return "client(" + c.base.String() + ", " + c.cache.String() + ")"
}

// accountHeaders returns a layer that names the organization and the project.
func accountHeaders(organization, project string) (middleware.Middleware, error) {
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
	if len(headers) == 0 {
		return nil, nil
	}
	return func(next http.RoundTripper) http.RoundTripper {
		return &account{headers: headers, next: next.RoundTrip}
	}, nil
}

type account struct {
	headers http.Header
	next    func(*http.Request) (*http.Response, error)
}

func (l *account) RoundTrip(req *http.Request) (*http.Response, error) {
	var out *http.Request
	for name, value := range l.headers {
		if _, ok := req.Header[name]; ok {
			continue
		}
		if out == nil {
			out = new(http.Request)
			*out = *req
			out.Header = make(http.Header, len(req.Header)+len(l.headers)+1)
			for k, vv := range req.Header {
				out.Header[k] = vv
			}
		}
		out.Header[name] = value
	}
	if out == nil {
		out = req
	}
	return l.next(out)
}

// now returns the clock that the Cache would use.
func (cfg *Config) now() func() time.Time {
	if cfg.Cache != nil && cfg.Cache.Now != nil {
		return cfg.Cache.Now
	}
	return time.Now
}
