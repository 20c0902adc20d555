package azurecred

import (
	"context"
	"errors"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
)

// Options configures a [Credential].
type Options struct {
	// Source is the name for errors.
	Source string
	// TenantID and ClientID take precedence over AZURE_TENANT_ID and
	// AZURE_CLIENT_ID.
	TenantID, ClientID string
	// ClientOptions are for the requests to identity endpoints.
	ClientOptions policy.ClientOptions
	// DisableInstanceDiscovery is for clouds that the public authority does
	// not know.
	DisableInstanceDiscovery bool
}

// A Credential is an [azcore.TokenCredential] of the environment's identity.
// It is safe for concurrent use. A call returns when its context ends,
// whatever the SDK does then.
type Credential struct {
	opts func() *Options
	mi   policy.Transporter // for managed identities: no proxies
	web  policy.Transporter // for the authority
	slot chan struct{}      // holds who runs a developer's tool

	mu     sync.Mutex // never held during I/O
	winner func() *identity
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
	c := &Credential{opts: func() *Options { return &opts }, slot: make(chan struct{}, 1)}
	c.mi, c.web = transporters(opts.ClientOptions.Transport)
	return c, nil
}

// An identity is one way to get tokens.
type identity struct {
	name string
	// get asks the SDK.
	get func(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error)
	// ready reports whether it is worth asking; nil means yes.
	ready func(context.Context) error
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
	list, missing, err := c.candidates()
	if err != nil {
		return azcore.AccessToken{}, "", err
	}
	for _, id := range list {
		token, err := c.ask(ctx, id, tro)
		switch {
		case err == nil:
			c.keep(id)
			return token, id.name, nil
		case ctx.Err() != nil:
			return azcore.AccessToken{}, "", c.done(ctx, id.name)
		case !errors.Is(err, credential.ErrUnavailable):
			return azcore.AccessToken{}, "", err
		}
		missing = append(missing, id.name+": "+reason(err))
	}
	return azcore.AccessToken{}, "", c.nothing(missing)
}

func (c *Credential) current() *identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.winner == nil {
		return nil
	}
	return c.winner()
}

func (c *Credential) keep(id *identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	won := &identity{name: id.name, get: id.get} // it need not be looked for again
	c.winner = func() *identity { return won }
}

// Reset makes the next token a new one: the SDK's cache of the identity in use
// is dropped. The identity stays, unless it is not configured any more.
func (c *Credential) Reset() {
	w := c.current()
	if w == nil {
		return
	}
	list, _, err := c.candidates()
	if err != nil {
		return // the next token tells
	}
	for _, id := range list {
		if id.name == w.name {
			c.keep(id)
			return
		}
	}
}

// ask gets a token in a goroutine of its own: in the SDK a caller that waits
// for another one is deaf to its context.
func (c *Credential) ask(ctx context.Context, id *identity, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
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
		return azcore.AccessToken{}, c.done(ctx, id.name)
	}
	return azcore.AccessToken{}, explain(&failure{source: c.opts().Source, identity: id.name, scopes: tro.Scopes, seen: seen, err: err})
}

func (c *Credential) done(ctx context.Context, name string) error {
	return &credential.SourceError{Source: c.opts().Source, Op: "get a token from " + name, Err: context.Cause(ctx), Transient: true}
}

// Detached runs get in a goroutine of its own and leaves it when ctx ends. A
// panic of get is the goroutine's end, and an error here.
func Detached[T any](ctx context.Context, get func(context.Context) (T, error)) (T, *Seen, error) {
	type answer struct {
		v   T
		err error
	}
	seen := &Seen{}
	answers := make(chan answer, 1)
	go func() {
		a := answer{err: errors.New("the SDK ended its goroutine")}
		defer func() {
			if recover() != nil { // its value may hold anything
				a = answer{err: errors.New("the SDK panicked")}
			}
			answers <- a
		}()
		a.v, a.err = get(seen.watch(ctx))
	}()
	select {
	case a := <-answers:
		return a.v, seen, a.err
	case <-ctx.Done():
		var none T
		return none, seen, context.Cause(ctx)
	}
}
