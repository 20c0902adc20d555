// Package openaiadmin makes and revokes keys of one service account of an OpenAI
// project, with the Admin API.
//
// The service account stays the same: its limits, its roles and its usage do not move
// with a rotation. It needs an admin key, which may read and write the project's API
// keys (https://platform.openai.com/docs/api-reference/administration).
package openaiadmin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/rotation"
)

// longest is the longest life that the API takes.
const longest = 365 * 24 * time.Hour

// Options say whose keys an [Issuer] makes. Project and ServiceAccount are required.
type Options struct {
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
	opts  Options
	base  string
	made  openai.AdminOrganizationProjectServiceAccountAPIKeyService
	keys  openai.AdminOrganizationProjectAPIKeyService
	prove func(*http.Request) (*http.Response, error) // a func, so that printing the struct does not show it
}

var _ rotation.Issuer = (*Issuer)(nil)

// New returns an Issuer that reads the admin key from adminKey. It fails if an option
// is missing or the client cannot be made.
func New(adminKey credential.Source, opts *Options) (*Issuer, error) {
	switch {
	case adminKey == nil:
		return nil, errors.New("openaiadmin: no admin key; give a Source of one, such as credential.Env(\"OPENAI_ADMIN_KEY\")")
	case opts == nil || opts.Project == "" || opts.ServiceAccount == "":
		return nil, errors.New("openaiadmin: Project and ServiceAccount are required")
	case len(opts.Scopes) == 0 && !opts.AllScopes:
		return nil, errors.New("openaiadmin: no Scopes would be all permissions; name them, or set AllScopes")
	case len(opts.Scopes) > 0 && opts.AllScopes:
		return nil, errors.New("openaiadmin: Scopes and AllScopes exclude each other")
	}
	i := &Issuer{opts: *opts, base: opts.BaseURL}
	if i.base == "" {
		i.base = client.DefaultBaseURL
	}
	// A request that makes a key is not sent again: there might be two.
	c, err := client.New(client.Config{Source: adminKey, BaseURL: i.base, Transport: opts.Transport, Retry: &middleware.RetryOptions{MaxRetries: -1}})
	if err != nil {
		return nil, fmt.Errorf("openaiadmin: %w", err)
	}
	i.base = c.BaseURL()
	i.made = openai.NewAdminOrganizationProjectServiceAccountAPIKeyService(c.Options()...)
	i.keys = openai.NewAdminOrganizationProjectAPIKeyService(c.Options()...)
	rt := opts.Transport
	if rt == nil {
		if rt, err = client.NewTransport(nil); err != nil {
			return nil, fmt.Errorf("openaiadmin: %w", err)
		}
	}
	i.prove = rt.RoundTrip
	return i, nil
}

// Issue makes a key of the service account. It lives until expires, or for a year if
// that is later, as the API allows no more.
func (i *Issuer) Issue(ctx context.Context, pending rotation.Version, _ *rotation.Version, expires time.Time) (rotation.Key, error) {
	life := min(time.Until(expires), longest)
	if life < time.Minute {
		return rotation.Key{}, errors.New("openaiadmin: a key that expires within a minute is of no use")
	}
	k, err := i.made.New(ctx, i.opts.Project, i.opts.ServiceAccount, openai.AdminOrganizationProjectServiceAccountAPIKeyNewParams{
		Name: param.NewOpt(pending.Token), ExpiresInSeconds: param.NewOpt(int64(life.Seconds())), Scopes: i.opts.Scopes,
	})
	if err != nil {
		return rotation.Key{}, refused("make a key", err)
	}
	return rotation.Key{ID: k.ID, Name: k.Name, Secret: credential.NewSecret(k.Value), Created: unix(k.CreatedAt), Expires: unix(k.ExpiresAt)}, nil
}

// Keys lists the keys of the service account.
func (i *Issuer) Keys(ctx context.Context) ([]rotation.Key, error) {
	var keys []rotation.Key
	page := i.keys.ListAutoPaging(ctx, i.opts.Project, openai.AdminOrganizationProjectAPIKeyListParams{
		Limit: param.NewOpt[int64](100), OwnerProjectAccess: "any",
	})
	for page.Next() {
		k := page.Current()
		if k.Owner.ServiceAccount.ID != i.opts.ServiceAccount {
			continue
		}
		keys = append(keys, rotation.Key{ID: k.ID, Name: k.Name, Created: unix(k.CreatedAt), Expires: unix(k.ExpiresAt), LastUsed: unix(k.LastUsedAt)})
	}
	if err := page.Err(); err != nil {
		return nil, refused("list the keys", err)
	}
	return keys, nil
}

// Revoke deletes a key.
func (i *Issuer) Revoke(ctx context.Context, id string) error {
	if id == "" {
		return errors.New("openaiadmin: a key without an id cannot be revoked")
	}
	_, err := i.keys.Delete(ctx, i.opts.Project, id)
	if e, ok := client.AsError(err); ok && e.StatusCode == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return refused("revoke a key", err)
	}
	return nil
}

// Prove asks for the list of models with the key, which costs nothing. A 403 proves
// the key as well: it is one without that permission.
func (i *Issuer) Prove(ctx context.Context, secret credential.Secret) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.base+"models", nil)
	if err != nil {
		return fmt.Errorf("openaiadmin: prove: %w", err)
	}
	req.Header.Set("Authorization", secret.Bearer())
	resp, err := i.prove(req)
	if err != nil {
		if strings.Contains(err.Error(), secret.Reveal()) {
			return errors.New("openaiadmin: prove: the request failed, with the key in its error")
		}
		return fmt.Errorf("openaiadmin: prove: %w", err)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection is used again
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return rotation.ErrNotAccepted
	case resp.StatusCode < 300, resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusTooManyRequests:
		return nil
	}
	return fmt.Errorf("openaiadmin: prove: the service answers %d", resp.StatusCode)
}

// refused adds what to do about an error of the Admin API. Its text holds no key: the
// client has taken what was sent out of it.
func refused(what string, err error) error {
	e, ok := client.AsError(err)
	sending := (*url.Error)(nil)
	switch {
	case !ok && errors.As(err, &sending):
		return fmt.Errorf("openaiadmin: %s: %w", what, err)
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
	return fmt.Errorf("openaiadmin: %s: %w", what, e)
}

// unix is zero for 0.
func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
