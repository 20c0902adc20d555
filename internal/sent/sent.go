// Package sent remembers the credentials that went out during one call, so that
// what comes back can be shown without them: the caller above the layers does
// not know which credential each send carried.
package sent

import (
	"context"
	"sync"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/redact"
)

// Credentials are those that went out during one call. It is safe for
// concurrent use. Nil remembers nothing.
type Credentials struct {
	mu  sync.Mutex
	all []credential.Secret
}

type key struct{}

// With returns a context for a call, and what will remember its credentials.
func With(ctx context.Context) (context.Context, *Credentials) {
	c := &Credentials{}
	return context.WithValue(ctx, key{}, c), c
}

// From returns what remembers the credentials of the call in ctx; nil if nothing
// does.
func From(ctx context.Context) *Credentials {
	c, _ := ctx.Value(key{}).(*Credentials)
	return c
}

// Add remembers that the secrets go out. On nil it does nothing.
func (c *Credentials) Add(secrets ...credential.Secret) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range secrets {
		if !s.IsZero() && !c.has(s) {
			c.all = append(c.all, s)
		}
	}
}

// Empty reports whether nothing is known to have gone out.
func (c *Credentials) Empty() bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all) == 0
}

func (c *Credentials) has(s credential.Secret) bool {
	for _, old := range c.all {
		if old.Equal(s) {
			return true
		}
	}
	return false
}

// Redact returns text without the credentials that have gone out so far. With
// cut, text is the beginning of a longer one.
func (c *Credentials) Redact(text string, cut bool) string {
	if c == nil || text == "" {
		return text
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	secrets := make([]string, len(c.all))
	for i, s := range c.all {
		secrets[i] = s.Reveal()
	}
	return redact.Text(text, cut, secrets...)
}
