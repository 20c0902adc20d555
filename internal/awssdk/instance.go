package awssdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/metadata"
	"github.com/latchkey-go/latchkey/internal/platform"
)

const (
	// dialTime and headerTime are how long the service may take to accept a
	// connection, and then to begin an answer: what the SDK allows.
	dialTime   = 250 * time.Millisecond
	headerTime = 500 * time.Millisecond
	// maxMetadata is more than the credentials of a role have, in bytes.
	maxMetadata = 64 << 10
	// expiryWindow is how long before their end the SDK replaces the
	// credentials of an instance.
	expiryWindow = 5 * time.Minute

	metadataDisabled = "AWS_EC2_METADATA_DISABLED"
	noInstance       = "set " + metadataDisabled + "=true if no role of the instance is meant"
)

// An instance is the metadata service of a virtual machine of EC2, where nothing
// else names a source of credentials.
type instance struct {
	options imds.Options // as the SDK resolves them
	named   bool         // somebody configured the address
	do      func(*http.Request) (*http.Response, error)
	// creds has the SDK's cache.
	creds hidden.Value[aws.CredentialsProvider]
}

// newInstance takes the place of the provider that the SDK would make: without
// the proxies of the environment, which would see the credentials, and with an
// eye on the answers, of which the SDK tells too little.
func newInstance(cfg aws.Config, via leaf.HTTP) *instance {
	via.Plain, via.NoProxy, via.MaxAnswer = max(via.Plain, leaf.Nearby), true, maxMetadata
	i := &instance{do: via.Client().Do}
	cfg = cfg.Copy()
	cfg.APIOptions = nil // the carrier of other requests
	own := imds.NewFromConfig(cfg, func(o *imds.Options) { i.named = o.Endpoint != "" }, func(o *imds.Options) {
		o.HTTPClient = &watched{i.do}
		i.options = o.Copy()
	})
	cached := aws.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = own }),
		func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = expiryWindow })
	i.creds = hidden.Of[aws.CredentialsProvider](cached)
	return i
}

// An absence is why there are no credentials where nothing configures any.
type absence struct {
	why   string
	guess bool
	// meant tells that a region is configured: AWS is meant to be used.
	meant bool
}

func (a *absence) Error() string {
	if a.meant {
		return "a region is configured, but no credentials, and there is no instance role: " + a.why
	}
	return "nothing here says which AWS account to ask: no region, no credentials and no instance role: " + a.why
}

// A silence is an instance that does not give the credentials that it should.
type silence struct{ why, hint string }

func (s *silence) Error() string { return s.why }

// chance is how likely the service is there, and why it is not asked if it is
// known not to be.
func (i *instance) chance(ctx context.Context) (chance platform.Chance, why string) {
	here := platform.From(ctx).Place()
	chance = here.Metadata(platform.AWS)
	switch {
	case i.options.ClientEnableState == imds.ClientDisabled:
		return platform.Never, "the environment or the profile turns it off"
	case i.named && (here.Service == "" || here.Service == platform.Kubernetes):
		return platform.Surely, ""
	case chance == platform.Never:
		return chance, "not looked for on " + here.Name() + ": " + here.Why
	}
	return chance, ""
}

// retrieve gets the credentials of the role. On a machine that is known to be of
// EC2 it is as patient as the SDK; the error is an [*absence] or a [*silence].
func (i *instance) retrieve(ctx context.Context, meant bool) (aws.Credentials, error) {
	chance, why := i.chance(ctx)
	if chance == platform.Never {
		return aws.Credentials{}, &absence{why: why, meant: meant}
	}
	if chance == platform.Perhaps {
		if err := i.probe(ctx, meant); err != nil {
			return aws.Credentials{}, err
		}
	}
	early, cancel := leaf.Early(ctx)
	defer cancel()
	seen := &seen{}
	c, err := leaf.Detached(context.WithValue(early, seenKey{}, seen), i.creds().Retrieve)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return aws.Credentials{}, context.Cause(ctx)
	}
	return aws.Credentials{}, seen.explain(meant)
}

// probe asks a machine that nothing is known of whether it is one of EC2. The
// answer to a question without a token reaches containers, too.
func (i *instance) probe(ctx context.Context, meant bool) error {
	address := "http://" + metadata.Host
	if i.options.EndpointMode == imds.EndpointModeStateIPv6 {
		address = "http://[fd00:ec2::254]"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/latest/meta-data/", http.NoBody)
	if err != nil {
		return &absence{why: "its address is malformed", meant: meant}
	}
	resp, cancel, err := metadata.Probe(ctx, i.do, req)
	switch {
	case metadata.IsSilence(err):
		return &absence{why: err.Error(), guess: true, meant: meant}
	case err != nil:
		return err //nolint:wrapcheck // the end of ctx
	}
	defer cancel()
	_ = resp.Body.Close() // its status will do
	of := metadata.Of(resp.Header)
	plain := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain")
	switch {
	case of == platform.AWS, of == platform.Unknown && resp.StatusCode == http.StatusUnauthorized, of == platform.Unknown && resp.StatusCode == http.StatusOK && plain:
		return nil
	}
	return &absence{why: fmt.Sprintf("what answers at %s with status %d is not the service of EC2", req.URL.Host, resp.StatusCode), guess: of == platform.Unknown, meant: meant}
}

// A watched client has a limit for the beginning of an answer, and notes in the
// context of a request what came of it.
type watched struct {
	do func(*http.Request) (*http.Response, error)
}

func (w *watched) Do(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	late := time.AfterFunc(dialTime+headerTime, cancel)
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { late.Reset(headerTime) }}
	resp, err := w.do(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if !late.Stop() && req.Context().Err() == nil {
		if err == nil {
			_ = resp.Body.Close()
		}
		err = &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	if s, ok := req.Context().Value(seenKey{}).(*seen); ok {
		s.note(req, resp, err)
	}
	if err != nil {
		cancel()
		return nil, err //nolint:wrapcheck // for the SDK, which looks at types
	}
	resp.Body = &canceled{resp.Body, cancel}
	return resp, nil
}

// canceled is a body that ends its request when it is closed.
type canceled struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *canceled) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close() //nolint:wrapcheck // for the SDK
}

type seenKey struct{}

// seen is what came of the requests of one read.
type seen struct {
	mu      sync.Mutex
	host    string
	noToken bool // the request for a session token had no answer
	status  int  // of the last other answer; 0 if there was none
}

func (s *seen) note(req *http.Request, resp *http.Response, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.host = req.URL.Host
	switch {
	case req.Method == http.MethodPut:
		s.noToken = err != nil && !errors.Is(err, context.Canceled)
	case err == nil:
		s.status = resp.StatusCode
	}
}

const (
	hintHops = "answers to containers are cut off by a hop limit of 1: raise it with `aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2`, " +
		"or give the task or pod a role of its own"
)

// explain tells why the instance gave no credentials.
func (s *seen) explain(meant bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.host == "": // another read asked, whose answer this one shares
		return &silence{"the metadata service of the instance gave no credentials", noInstance}
	case s.status == http.StatusNotFound: // of the list of roles
		return &absence{why: "no role is attached to the instance", meant: meant}
	case s.noToken && s.status == http.StatusUnauthorized:
		return &silence{"the metadata service of the instance at " + s.host + " gives this program no session token, and wants one", hintHops}
	case s.status == http.StatusForbidden:
		return &silence{"the metadata service of the instance at " + s.host + " is turned off (403)",
			"turn it on with `aws ec2 modify-instance-metadata-options --http-endpoint enabled`; " + noInstance}
	case s.status == 0:
		return &silence{"the metadata service of the instance at " + s.host + " does not answer",
			"look for a firewall or a network policy in between; " + hintHops + "; " + noInstance}
	case s.status == http.StatusOK:
		return &silence{"what answers at " + s.host + " is not the metadata service of an instance", "look for a proxy in between; " + noInstance}
	}
	return &silence{fmt.Sprintf("the metadata service of the instance at %s answered %d", s.host, s.status), "it is asked again; " + noInstance}
}
