package hashivault

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

var errLeaseless = final("the engine gave no secret")

// A lease is a credential that Vault made for us and will revoke: at the end
// of its term, or with the token that it hangs on.
type lease struct {
	id   string
	term term
	doc  *doc
	tok  *token
}

// leased returns the credential of the lease that is held, renewed if that is
// due, or of a new one. All callers share one renewal and one read. A refusal
// of the token comes as it is.
func (c *core) leased(ctx context.Context, conn *conn, tok *token, e *engine, r *credential.Rejection) (*doc, error) {
	if r != nil {
		c.drop(r.Value.Secret)
	}
	for range 3 {
		if d := c.held(tok); d != nil {
			return d, nil
		}
		if err := c.leasing.do(ctx, c.session.now, func(ctx context.Context) error { return c.advance(ctx, conn, tok, e, r != nil) }); err != nil {
			return nil, err
		}
		if d := c.current(tok); d != nil {
			return d, nil
		}
	}
	return nil, final("the leases that the engine gives are over at once")
}

// drop lets go of the lease whose credential the service rejects. It is left
// to end by itself: the next one may be from the same account.
func (c *core) drop(rejected credential.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lease == nil {
		return
	}
	for _, field := range []string{c.opts.Field, c.opts.StandbyField} {
		if text, err := pick(c.lease.doc.fields, field); err == nil && credential.NewSecret(text).Equal(rejected) {
			c.lease = nil
			return
		}
	}
}

// held returns the credential of a lease that needs nothing; current one that
// may be used, though a renewal was due.
func (c *core) held(tok *token) *doc { return c.usable(tok, false) }

func (c *core) current(tok *token) *doc { return c.usable(tok, true) }

func (c *core) usable(tok *token, late bool) *doc {
	now := c.session.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lease
	if l == nil || l.term.over(now) || !late && (l.term.due(now) || !l.tok.is(tok)) {
		return nil
	}
	return l.doc
}

// advance renews the lease, or reads a new one. It runs alone.
func (c *core) advance(ctx context.Context, conn *conn, tok *token, e *engine, fresh bool) error {
	c.mu.Lock()
	l := c.lease
	c.mu.Unlock()
	now := c.session.now()
	switch {
	case l == nil || l.term.over(now):
	case !l.tok.is(tok):
		// The token that it hangs on has been replaced, and may end before it.
	case !l.term.due(now):
		return nil
	case l.term.renewable:
		if done, err := c.renewLease(ctx, conn, l); done || err != nil {
			return err
		}
	}
	from := c.session.now()
	reply, err := conn.do(ctx, c.readCall(e, tok, fresh))
	if refused(err) == http.StatusNotFound {
		return c.missing(reply, e)
	}
	if err != nil {
		return c.postpone(l, err)
	}
	d, err := c.parse(reply, e)
	if err != nil {
		return errors.Join(errLeaseless)
	}
	n := &lease{id: reply.LeaseID, doc: d, tok: tok, term: newTerm(from, reply.LeaseDuration, reply.Renewable)}
	if reply.LeaseID == "" {
		// Not a lease: read it each time, and let those who wait have it.
		n.term = newTerm(from, 1, false)
		n.term.life = time.Nanosecond
	}
	c.hold(l, n)
	return nil
}

// renewLease reports whether the lease was renewed for a good while. An error
// is a refusal of the token.
func (c *core) renewLease(ctx context.Context, conn *conn, l *lease) (done bool, err error) {
	from := c.session.now()
	reply, err := conn.do(ctx, call{
		path: "sys/leases/renew", token: l.tok.text.Reveal(), index: l.tok.index,
		body: map[string]any{"lease_id": l.id, "increment": int64(l.term.full / time.Second)},
	})
	if err != nil {
		return false, nil //nolint:nilerr // whatever it is, a new lease is the next try
	}
	n := *l
	n.term = l.term.extended(from, reply.LeaseDuration, reply.Renewable)
	if !n.term.renewable || n.term.due(c.session.now()) {
		return false, nil // at its maximum: read another while this one is good
	}
	c.hold(l, &n)
	return true, nil
}
