package azurecred

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/platform"
)

// Options configures a [Credential].
type Options struct {
	// Source is the name for errors.
	Source string
	// TenantID and ClientID take precedence over AZURE_TENANT_ID and
	// AZURE_CLIENT_ID.
	TenantID, ClientID string
	// Transport carries the requests to identity endpoints; nil is our own.
	Transport http.RoundTripper
	// ClientOptions are for the rest of those requests. Their Transport is not used.
	ClientOptions policy.ClientOptions
	// DisableInstanceDiscovery is for clouds that the public authority does
	// not know.
	DisableInstanceDiscovery bool
}

// A Credential is an [azcore.TokenCredential] of the environment's identity.
// It is safe for concurrent use. A call returns when its context ends,
// whatever the SDK does then.
type Credential struct {
	opts hidden.Value[*Options]
	mi   policy.Transporter // for managed identities: no proxies
	web  policy.Transporter // for the authority
	slot chan struct{}      // holds who runs a developer's tool

	mu     sync.Mutex // never held during I/O
	winner hidden.Value[*identity]
}

var _ azcore.TokenCredential = (*Credential)(nil)

// New returns a Credential. It does no I/O; what the environment lacks is
// told by GetToken.
func New(opts Options) (*Credential, error) {
	if err := checkID("TenantID", opts.TenantID); err != nil {
		return nil, err
	}
	if err := checkID("ClientID", opts.ClientID); err != nil {
		return nil, err
	}
	if err := CheckClientOptions(opts.ClientOptions); err != nil {
		return nil, err
	}
	c := &Credential{opts: hidden.Of(&opts), slot: make(chan struct{}, 1)}
	c.mi, c.web = transporters(opts.Transport)
	return c, nil
}

// CheckClientOptions keeps out what has no effect.
func CheckClientOptions(o policy.ClientOptions) error {
	if o.Transport != nil {
		return errors.New("ClientOptions.Transport has no effect; set Options.Transport")
	}
	return nil
}

// An identity is one way to get tokens.
type identity struct {
	name string
	// get asks the SDK.
	get func(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error)
	// ready reports whether it is worth asking; nil means that it is configured.
	ready func(context.Context) error
	// named tells that somebody asks for it by name, and why says what makes it
	// configured, for its errors.
	named bool
	why   string
	// here is where it was chosen.
	here platform.Place
}

// GetToken returns a token of the first identity that is available, and from
// then on always of that. Its errors are [*credential.SourceError]s; see
// [Credential.Token].
func (c *Credential) GetToken(ctx context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, _, err := c.Token(ctx, tro)
	return token, err
}

// Token is GetToken and the name of the identity. The error wraps
// credential.ErrUnavailable if no identity is configured here, or the cause of
// ctx's end.
func (c *Credential) Token(ctx context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, string, error) {
	if w := c.current(); w != nil {
		token, err := c.ask(ctx, w, tro)
		return token, w.name, err
	}
	here := platform.From(ctx).Place()
	list, missing, err := c.candidates(here)
	if err != nil {
		return azcore.AccessToken{}, "", err
	}
	guess := false
	for _, id := range list {
		token, err := c.ask(ctx, id, tro)
		switch {
		case err == nil:
			c.keep(id, here)
			return token, id.name, nil
		case ctx.Err() != nil || !errors.Is(err, credential.ErrUnavailable):
			return azcore.AccessToken{}, "", err
		}
		missing = append(missing, id.name+": "+reason(err))
		guess = guess || isGuess(err)
	}
	return azcore.AccessToken{}, "", c.nothing(here, missing, guess)
}

func (c *Credential) current() *identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.winner == nil {
		return nil
	}
	return c.winner()
}

func (c *Credential) keep(id *identity, here platform.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	won := &identity{name: id.name, get: id.get, named: id.named, why: id.why, here: here} // it need not be looked for again
	c.winner = hidden.Of(won)
}

// Reset makes the next token a new one: the SDK's cache of the identity in use
// is dropped. The identity stays, unless it is not configured any more.
func (c *Credential) Reset() {
	w := c.current()
	if w == nil {
		return
	}
	list, _, err := c.candidates(w.here)
	if err != nil {
		return // the next token tells
	}
	for _, id := range list {
		if id.name == w.name {
			c.keep(id, w.here)
			return
		}
	}
}

// ask gets a token in a goroutine of its own: in the SDK a caller that waits
// for another one ignores its context.
func (c *Credential) ask(ctx context.Context, id *identity, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
	ctx, cancel := leaf.Early(ctx)
	defer cancel()
	token, seen, err := Detached(ctx, func(ctx context.Context) (azcore.AccessToken, error) {
		if id.ready != nil {
			if err := id.ready(ctx); err != nil {
				return azcore.AccessToken{}, err
			}
		}
		return id.get(ctx, tro)
	})
	switch {
	case err == nil:
		return token, nil
	case ctx.Err() != nil:
		return azcore.AccessToken{}, c.done(ctx, id, seen)
	}
	return azcore.AccessToken{}, explain(&failure{source: c.opts().Source, identity: id.name, scopes: tro.Scopes, authority: c.authority(), seen: seen, err: err, id: id})
}

// authority is the host that is configured to give tokens; empty if none is.
func (c *Credential) authority() string {
	u, err := url.Parse(first(c.opts().ClientOptions.Cloud.ActiveDirectoryAuthorityHost, os.Getenv("AZURE_AUTHORITY_HOST")))
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// done says that ctx has ended, and what the last of the requests came to: the
// SDK may have been waiting to try again.
func (c *Credential) done(ctx context.Context, id *identity, seen *Seen) error {
	out := &credential.SourceError{Source: c.opts().Source, Op: "get a token from " + id.name, Err: context.Cause(ctx), Transient: true}
	s := seen.last()
	last := ""
	switch {
	case s.Err != nil:
		n := Network(s.Err, s.Host)
		last, out.Hint = n.Err.Error(), n.Hint
	case s.Status != 0:
		last = fmt.Sprintf("%s answered %d", s.Host, s.Status)
	case s.Host != "":
		last = s.Host + " did not answer in time"
	}
	if last != "" {
		out.Err = fmt.Errorf("%w: %s", out.Err, last)
	}
	if id.name == managed {
		out.Hint = id.hint()
	}
	return out
}

// Detached is [leaf.Detached], and tells how the requests of the SDK ended.
func Detached[T any](ctx context.Context, get func(context.Context) (T, error)) (T, *Seen, error) {
	seen := &Seen{}
	v, err := leaf.Detached(seen.watch(ctx), get)
	return v, seen, err //nolint:wrapcheck // the caller explains it
}
