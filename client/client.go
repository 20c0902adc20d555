package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/dialguard"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// DefaultBaseURL is where requests go if Config.BaseURL, AZURE_OPENAI_ENDPOINT
// and OPENAI_BASE_URL are empty.
const DefaultBaseURL = "https://api.openai.com/v1/"

// Config configures a [Client]. The zero Config is ready to use. Its fields from
// Source to Project are those of its one [Endpoint].
type Config struct {
	// Source supplies the credential; see [Endpoint].
	Source credential.Source
	// Cache configures the Cache that New puts around a Source that is not a Cache;
	// nil means the defaults. It must be nil if Source is a Cache. Its Now is
	// also the clock for idle connections.
	Cache *credential.CacheOptions
	// BaseURL is where the API is; see [Endpoint].
	BaseURL string
	// APIVersion is the api-version of Azure; see [Endpoint].
	APIVersion string
	// Deployment is the Azure deployment of every call; see [Endpoint].
	Deployment string
	// KeyHeader is the header for a bare API key; see [Endpoint].
	KeyHeader string
	// SubscriptionKey supplies the key of a gateway; see [Endpoint].
	SubscriptionKey credential.Source
	// PlainHTTP allows a BaseURL of http:// beyond loopback; see [Endpoint].
	PlainHTTP bool
	// Organization and Project name the account; see [Endpoint].
	Organization, Project string
	// Models are the endpoint's names of models; see [Endpoint].
	Models map[string]string
	// Name is what the endpoint is called among several; see [Endpoint].
	Name string
	// Priority and Weight choose between endpoints; see [Endpoint].
	Priority, Weight int
	// Provisioned says that the endpoint has provisioned throughput; see [Endpoint].
	Provisioned bool
	// Fallbacks are further endpoints. A call goes to the first endpoint that can
	// serve it, and comes back by itself; see [middleware.Failover]. BaseURL and
	// Source must be set in each. Requests are made for the Config's own
	// endpoint, which BaseURL and Options name. Each adds one to the default of
	// Retry.MaxRetries, which counts the sends to all endpoints together.
	Fallbacks []Endpoint
	// HoldBack holds back the beginning of a stream until its first content, so
	// that an error before it can be retried, or sent to another endpoint; see
	// [middleware.HoldBack].
	HoldBack bool
	// IncludeUsage makes streams of completions report what they used, for Observe,
	// Logger and limits, without the caller seeing it; see
	// [middleware.IncludeUsage].
	IncludeUsage bool
	// OnRoute is called when an endpoint fails, is asked again, or is back; see
	// [middleware.RouteEvent]. Nil is nobody.
	OnRoute func(middleware.RouteEvent)
	// Retry configures retries and the pace; nil means the defaults: two retries.
	Retry *middleware.RetryOptions
	// Logger receives one record per send; nil means no log.
	Logger *slog.Logger
	// Log configures these records; nil means the defaults.
	Log *middleware.LogOptions
	// Observe is called for each send when it has ended; see
	// [middleware.Observe]. Nil observes nothing and costs nothing.
	Observe func(ctx context.Context, s *middleware.Send)
	// Limits holds ceilings for all sends of the Client; see [middleware.Limit].
	// Several Clients may share one. Nil is no limit.
	Limits *limit.Limiter
	// ObserveIf decides for which sends Observe is called, by the context of the
	// call; see [middleware.ObserveIf]. Nil is all.
	ObserveIf func(ctx context.Context) bool
	// Middleware is put around all other layers, the first outermost. It sees
	// each call once and never sees the credential.
	Middleware []middleware.Middleware
	// Transport carries the requests. Nil is [NewTransport] with RootCAs.
	Transport http.RoundTripper
	// Dial restricts where the Client connects to, for all endpoints: nil is
	// anywhere. With a Dial, Transport has to be nil or an [http.Transport], of
	// which the Client uses a copy; see [dialguard.Guard.Transport]. What Source
	// connects to is not restricted. A connection that is refused is not tried
	// again at the same endpoint.
	Dial *dialguard.Guard
	// RootCAs is PEM: certificate authorities to trust beside the system's.
	// It must be empty if Transport is set.
	RootCAs []byte
	// MaxEvent is the size in bytes of the largest event of a [Client.Stream];
	// 0 is DefaultMaxEvent.
	MaxEvent int
	// DisableStreamGuard lets a stream that ends before its terminal event
	// pass for a complete one; see [middleware.StreamGuard].
	DisableStreamGuard bool
}

// endpoints are what the flat fields say. Nothing behind New knows them.
func (cfg *Config) endpoints() []Endpoint {
	return append([]Endpoint{{
		BaseURL: cfg.BaseURL, Source: cfg.Source, APIVersion: cfg.APIVersion, Deployment: cfg.Deployment,
		KeyHeader: cfg.KeyHeader, SubscriptionKey: cfg.SubscriptionKey, PlainHTTP: cfg.PlainHTTP,
		Organization: cfg.Organization, Project: cfg.Project,
		Models: cfg.Models, Name: cfg.Name, Priority: cfg.Priority, Weight: cfg.Weight, Provisioned: cfg.Provisioned,
	}}, cfg.Fallbacks...)
}

// A Client calls one API. It is immutable and safe for concurrent use. It
// starts no goroutine that outlives a call and needs no Close; idle
// connections close by themselves after 50 seconds. The zero Client returns an
// error from every call; make one with [New].
type Client struct {
	base      endpoint
	provider  credential.Provider
	gateway   credential.Provider // of the subscription key; nil if there is none
	transport *transport
	// organization and project are those of the Config, without the environment's.
	organization, project string
	dial                  hidden.Value[*thawed]
	maxEvent              int
}

var errZeroClient = errors.New("client: a zero Client; make one with client.New")

// New returns a Client. It does no I/O: the credential is read at the first
// call, or by [Client.Warm]. It fails if the configuration contradicts itself,
// the base URL is malformed or plain http to another machine, RootCAs holds
// no certificate, or Dial cannot guard Transport.
func New(cfg Config) (*Client, error) {
	e := cfg.endpoints()[0]
	target, err := e.resolve(cfg.Cache, false)
	if err != nil {
		return nil, err
	}
	carrier, err := cfg.carrier()
	if err != nil {
		return nil, err
	}
	maxEvent := cfg.MaxEvent
	switch {
	case maxEvent < 0:
		return nil, fmt.Errorf("client: MaxEvent %d is negative; want 0 for the default, or more", maxEvent)
	case maxEvent == 0:
		maxEvent = DefaultMaxEvent
	}
	retry, err := middleware.Retry(cfg.retry())
	if err != nil {
		return nil, err
	}
	endpoint, err := cfg.endpointLayers(target)
	if err != nil {
		return nil, err
	}
	// The order of the layers, outermost first, is the one that docs/design.md
	// draws.
	layers := append([]middleware.Middleware(nil), cfg.Middleware...)
	layers = append(layers, middleware.Replay(), retry)
	layers = append(layers, endpoint...)
	layers = append(layers, middleware.ObserveIf(cfg.ObserveIf, cfg.Observe), middleware.Log(cfg.Logger, cfg.Log), middleware.Limit(cfg.Limits))
	if !cfg.DisableStreamGuard {
		layers = append(layers, middleware.StreamGuard())
	}
	rt := middleware.Wrap(carrier, layers...)
	return &Client{
		base:         target.base,
		provider:     target.provider,
		gateway:      target.gateway,
		organization: cfg.Organization,
		project:      cfg.Project,
		transport:    newLayered(rt, carrier),
		dial:         hidden.Of(carrier),
		maxEvent:     maxEvent,
	}, nil
}

// retry returns the options of Retry. To ask another endpoint must not take away
// a retry that the call would have had with one.
func (cfg *Config) retry() *middleware.RetryOptions {
	if len(cfg.Fallbacks) == 0 || cfg.Retry != nil && cfg.Retry.MaxRetries != 0 {
		return cfg.Retry
	}
	o := middleware.RetryOptions{}
	if cfg.Retry != nil {
		o = *cfg.Retry
	}
	o.MaxRetries = middleware.DefaultMaxRetries + len(cfg.Fallbacks)
	return &o
}

// endpointLayers are those that know an endpoint: of the only one, or the one
// that chooses between several.
func (cfg *Config) endpointLayers(first *target) ([]middleware.Middleware, error) {
	if len(cfg.Fallbacks) == 0 && len(cfg.Models) == 0 {
		return cfg.held(first.rewrite, cfg.usage(), first.auth), nil
	}
	others, err := cfg.fallbacks()
	if err != nil {
		return nil, err
	}
	opts := &middleware.FailoverOptions{OnEvent: cfg.OnRoute}
	if cfg.Retry != nil {
		opts.MaxDelay, opts.DisablePace = cfg.Retry.MaxDelay, cfg.Retry.DisablePace
	}
	failover, err := middleware.Failover(cfg.routes(first, others), opts)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what and where
	}
	return []middleware.Middleware{failover}, nil
}

// held puts the layer that holds streams back around those of an endpoint.
func (cfg *Config) held(layers ...middleware.Middleware) []middleware.Middleware {
	if !cfg.HoldBack {
		return layers
	}
	return append([]middleware.Middleware{middleware.HoldBack()}, layers...)
}

// usage returns the layer that asks for the usage; nil where nobody wants it.
func (cfg *Config) usage() middleware.Middleware {
	if !cfg.IncludeUsage {
		return nil
	}
	return middleware.IncludeUsage()
}

// newLayered returns the transport with the layers around carrier.
func newLayered(rt http.RoundTripper, carrier *thawed) *transport {
	t := &transport{next: rt.RoundTrip, closeIdle: carrier.CloseIdleConnections, cancel: func(*http.Request) {}}
	if c, ok := rt.(interface{ CancelRequest(*http.Request) }); ok {
		t.cancel = c.CancelRequest
	}
	return t
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// BaseURL returns the URL that paths are put behind, for SDKs that want it:
// with the path of the API, and a slash at its end.
func (c *Client) BaseURL() string { return c.base.String() }

// HTTPClient returns an HTTP client for other SDKs and for net/http. Each call
// returns another one around the same transport, so a change to one, of its
// Timeout for example, does not reach the others. Requests to another origin
// than the base URL's, redirects included, fail with [middleware.ErrOrigin].
// Turn off the retries of an SDK that uses it: the Client retries.
func (c *Client) HTTPClient() *http.Client {
	if c.transport == nil {
		return &http.Client{Transport: &transport{
			next: func(req *http.Request) (*http.Response, error) {
				if req.Body != nil {
					_ = req.Body.Close()
				}
				return nil, errZeroClient
			},
			closeIdle: func() {}, cancel: func(*http.Request) {},
		}}
	}
	return &http.Client{Transport: c.transport}
}

// Options returns what makes the official SDK use this Client:
// openai.NewClient(c.Options()...). It sets the HTTP client and the base URL,
// turns the SDK's own retries off, and keeps OPENAI_API_KEY and
// OPENAI_ADMIN_KEY out of its requests.
//
// It must come last among the options of the SDK. An option after it, or one of
// a single call, wins over it: option.WithMaxRetries(3) there makes the SDK
// retry what was retried here, up to 4 x 3 sends if no answer comes. It does not
// retry an answer, which is marked for it. Set Config.Retry instead. Add no API
// key.
func (c *Client) Options() []option.RequestOption {
	opts := []option.RequestOption{
		option.WithHTTPClient(c.HTTPClient()),
		option.WithBaseURL(c.base.String()),
		option.WithMaxRetries(0),
		option.WithAPIKey(""),
		option.WithAdminAPIKey(""),
		option.WithMiddleware(markStream),
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
	if c == nil || c.transport == nil {
		return "client"
	}
	source := ""
	if s, ok := c.provider.(interface{ String() string }); ok {
		source = ", " + s.String()
	}
	return "client(" + c.base.shown() + source + ")"
}

// now returns the clock that the Cache would use.
func (cfg *Config) now() func() time.Time {
	if cfg.Cache != nil && cfg.Cache.Now != nil {
		return cfg.Cache.Now
	}
	return time.Now
}
