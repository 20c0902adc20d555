package awssdk

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/latchkey-go/latchkey/internal/leaf"
)

// A carrier sends the requests of all the SDK's clients, those that get AWS
// credentials included: each of them takes the same middleware, but not the
// same HTTP client.
type carrier struct {
	web  *http.Client // nil until the SDK has read its settings of TLS
	near *http.Client // for endpoints of credentials on the platform
	via  leaf.HTTP
}

// start makes the clients of what the SDK has configured, AWS_CA_BUNDLE
// included.
func (c *carrier) start(configured aws.HTTPClient) {
	base, ok := configured.(*awshttp.BuildableClient)
	if !ok {
		base = awshttp.NewBuildableClient()
	}
	web := c.via
	web.Base = base.GetTransport()
	near := web
	near.Plain, near.NoProxy = max(c.via.Plain, leaf.Nearby), true
	c.web, c.near = web.Client(), near.Client()
}

// onPlatform reports whether the host is one of those at which the platforms of Amazon
// give out credentials: EC2, ECS and EKS.
func onPlatform(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return false
	}
	switch ip.String() {
	case "169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "fd00:ec2::23":
		return true
	}
	return false
}

// install puts the carrier in the place of the client's own.
func (c *carrier) install(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("latchkey.carrier", c.handle), middleware.After) //nolint:wrapcheck // cannot fail
}

func (c *carrier) handle(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok || c.web == nil {
		return next.HandleDeserialize(ctx, in) //nolint:wrapcheck // the SDK's own
	}
	client := c.web
	if onPlatform(req.URL) {
		client = c.near
	}
	do := client.Do
	if strings.HasPrefix(req.URL.Path, "/latest/") { // of an instance
		do = (&watched{client.Do}).Do
	}
	out, metadata, err := smithyhttp.NewClientHandlerWithOptions(smithyhttp.ClientDoFunc(do)).Handle(ctx, in.Request)
	return middleware.DeserializeOutput{RawResponse: out}, metadata, err //nolint:wrapcheck // the SDK looks at it
}

// guarded sends a request by a client that is not ours.
func guarded(ctx context.Context, reach leaf.Reach, in middleware.DeserializeInput, next middleware.DeserializeHandler) (out middleware.DeserializeOutput, metadata middleware.Metadata, err error) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return next.HandleDeserialize(ctx, in) //nolint:wrapcheck // the SDK's own
	}
	ctx, verdict, err := reach.Guard(ctx, req.URL)
	if err != nil {
		return out, metadata, err //nolint:wrapcheck // Explain looks at types
	}
	out, metadata, err = next.HandleDeserialize(ctx, in)
	if refused := verdict(); refused != nil {
		err = refused
	}
	return out, metadata, err //nolint:wrapcheck // Explain looks at types
}

// Guard is middleware for a client that the user has made: without TLS it
// reaches no other machine than reach allows.
func Guard(reach leaf.Reach) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("latchkey.guard", //nolint:wrapcheck // cannot fail
			func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
				return guarded(ctx, reach, in, next)
			}), middleware.After)
	}
}
