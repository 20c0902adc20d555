// Package openaiadmin makes and revokes keys of one service account of an OpenAI
// project, or the admin keys of an organization, with the Admin API.
//
// The service account stays the same: its limits, its roles and its usage do not move
// with a rotation. It needs an admin key, which may read and write the project's API
// keys (https://platform.openai.com/docs/api-reference/administration). That key can be
// rotated, too, with Options.AdminKeys and a store of its own, from which all rotators
// read it.
package openaiadmin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/keyproof"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/rotation"
)

// longest is the longest life that the API takes.
const longest = 365 * 24 * time.Hour

// Options say whose keys an [Issuer] makes. Project and ServiceAccount are required,
// unless AdminKeys is set.
type Options struct {
	// AdminKeys makes admin keys of the organization, which can do what the Admin API
	// can. Project, ServiceAccount, Scopes and AllScopes do not go with it. Give New the
	// Source of the store that the rotation is kept in, so that the key which makes the
	// next one is always the current one.
	AdminKeys bool
	// Project and ServiceAccount are ids, such as "proj_abc" and "svc_acct_def".
	Project, ServiceAccount string
	// Scopes are what the keys may do, such as "api.model.request". An empty list
	// would be all permissions, and is refused unless AllScopes is set.
	Scopes []string
	// AllScopes asks for keys without a restriction.
	AllScopes bool
	// BaseURL is where the API is; empty is client.DefaultBaseURL. The new keys are
	// proved there, too.
	BaseURL string
	// Transport carries the requests; nil is client.NewTransport.
	Transport http.RoundTripper
}

// An Issuer makes keys. It is a [rotation.Issuer], and safe for concurrent use.
type Issuer struct {
	base  string
	keys  account
	prove func(*http.Request) (*http.Response, error) // a func, as package hidden tells
}

var _ rotation.Issuer = (*Issuer)(nil)

// New returns an Issuer that reads the admin key from adminKey. It fails if an option
// is missing or the client cannot be made.
func New(adminKey credential.Source, opts *Options) (*Issuer, error) {
	if adminKey == nil {
		return nil, errors.New("openaiadmin: no admin key; give a Source of one, such as credential.Env(\"OPENAI_ADMIN_KEY\")")
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	i := &Issuer{base: opts.BaseURL}
	if i.base == "" {
		i.base = client.DefaultBaseURL
	}
	// A request that makes a key is not sent again: there might be two.
	c, err := client.New(client.Config{Source: adminKey, BaseURL: i.base, Transport: opts.Transport, Retry: &middleware.RetryOptions{MaxRetries: -1}})
	if err != nil {
		return nil, fmt.Errorf("openaiadmin: %w", err)
	}
	i.base = c.BaseURL()
	i.keys = opts.account(c)
	rt := opts.Transport
	if rt == nil {
		if rt, err = client.NewTransport(nil); err != nil {
			return nil, fmt.Errorf("openaiadmin: %w", err)
		}
	}
	i.prove = rt.RoundTrip
	return i, nil
}

func (o *Options) check() error {
	switch {
	case o == nil:
		return errors.New("openaiadmin: Project and ServiceAccount are required")
	case o.AdminKeys && (o.Project != "" || o.ServiceAccount != "" || len(o.Scopes) > 0 || o.AllScopes):
		return errors.New("openaiadmin: admin keys have no Project, ServiceAccount and Scopes")
	case o.AdminKeys:
		return nil
	case o.Project == "" || o.ServiceAccount == "":
		return errors.New("openaiadmin: Project and ServiceAccount are required")
	case len(o.Scopes) == 0 && !o.AllScopes:
		return errors.New("openaiadmin: no Scopes would be all permissions; name them, or set AllScopes")
	case len(o.Scopes) > 0 && o.AllScopes:
		return errors.New("openaiadmin: Scopes and AllScopes exclude each other")
	}
	return nil
}

// Issue makes a key. It lives until expires, or for a year if that is later, as the API
// allows no more.
func (i *Issuer) Issue(ctx context.Context, pending rotation.Version, _ *rotation.Version, expires time.Time) (rotation.Key, error) {
	life := min(time.Until(expires), longest)
	if life < time.Minute {
		return rotation.Key{}, errors.New("openaiadmin: a key that expires within a minute is of no use")
	}
	k, err := i.keys.issue(ctx, pending.Token, int64(life.Seconds()))
	if e, ok := client.AsError(err); ok && e.StatusCode == http.StatusBadRequest {
		return rotation.Key{}, fmt.Errorf("openaiadmin: make a key: %w; the key was to live for %d days: if a policy allows less, lower Every, Longest or Slack of rotation.Options; if the account has too many keys, delete some", e, int(life.Hours()/24))
	}
	if err != nil {
		return rotation.Key{}, refused("make a key", err)
	}
	return k, nil
}

// Keys lists the keys of the service account, or the admin keys of the organization.
func (i *Issuer) Keys(ctx context.Context) ([]rotation.Key, error) {
	keys, err := i.keys.list(ctx)
	if err != nil {
		return nil, refused("list the keys", err)
	}
	return keys, nil
}

// Revoke deletes a key.
func (i *Issuer) Revoke(ctx context.Context, id string) error {
	if id == "" {
		return errors.New("openaiadmin: a key without an id cannot be revoked")
	}
	err := i.keys.remove(ctx, id)
	if e, ok := client.AsError(err); ok && e.StatusCode == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return refused("revoke a key", err)
	}
	return nil
}

// Prove asks for the list of models with the key, or with an admin key for one admin
// key, which costs nothing. A 403 proves the key as well: it is one without that
// permission.
func (i *Issuer) Prove(ctx context.Context, secret credential.Secret) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.base+i.keys.proof(), nil)
	if err == nil {
		req.Header.Set("Authorization", secret.Bearer())
		err = keyproof.Ask(i.prove, req, secret, nil)
	}
	if err != nil {
		return fmt.Errorf("openaiadmin: prove: %w", err)
	}
	return nil
}

// refused adds what to do about an error of the Admin API. Its text holds no key: the
// client has taken what was sent out of it.
func refused(what string, err error) error {
	e, ok := client.AsError(err)
	sending := (*url.Error)(nil)
	switch {
	case !ok && errors.As(err, &sending):
		return fmt.Errorf("openaiadmin: %s: no answer; run again later, nothing is lost: %w", what, err)
	case !ok && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("openaiadmin: %s: no answer in time; run again later, nothing is lost: %w", what, context.DeadlineExceeded)
	case !ok:
		// The text of another error may quote the answer, and that holds the new key.
		return fmt.Errorf("openaiadmin: %s: the answer could not be read", what)
	}
	switch e.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("openaiadmin: %s: the admin key is refused or lacks api.management.write: %w", what, e)
	case http.StatusNotFound:
		return fmt.Errorf("openaiadmin: %s: no such project or service account: %w", what, e)
	}
	if e.StatusCode >= 500 || e.StatusCode == http.StatusTooManyRequests {
		return fmt.Errorf("openaiadmin: %s: the service cannot do it now; run again later, nothing is lost: %w", what, e)
	}
	return fmt.Errorf("openaiadmin: %s: %w", what, e)
}

// unix is zero for 0.
func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
