package hashivault

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

// A lease is a credential that Vault made for us and will revoke: at the end
// of its term, or with the token that it hangs on.
type lease struct {
	id   string
	term term
	doc  *doc
	tok  *token
}

// leased returns the credential of the lease that is held, renewed if that is
// due, or of a new one. All callers share one renewal and one read.
func (c *core) leased(ctx context.Context, r *credential.Rejection) (*doc, error) {
	if r != nil {
		c.drop(r.Value.Secret)
	}
	var d *doc
	for range 2 {
		if d = c.held(); d != nil {
			return d, nil
		}
		var err error
		if d, err = join(ctx, &c.leasing, c.session.now(), func(ctx context.Context) (*doc, error) {
			return c.attempt(ctx, func(conn *conn, tok *token) (*doc, error) { return c.advance(ctx, conn, tok, r != nil) })
		}); err != nil {
			return nil, err
		}
		// It may have been the renewal of the lease that was dropped.
		if r == nil || !c.has(d, r.Value.Secret) {
			return d, nil
		}
	}
	return d, nil
}

// drop lets go of the lease whose credential the service rejects. The lease
// ends by itself.
func (c *core) drop(rejected credential.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lease != nil && c.has(c.lease.doc, rejected) {
		c.lease = nil
	}
}

func (c *core) has(d *doc, secret credential.Secret) bool {
	for _, field := range []string{c.opts.Field, c.opts.StandbyField} {
		if text, err := pick(d.fields, field); err == nil && credential.NewSecret(text).Equal(secret) {
			return true
		}
	}
	return false
}

// held returns the credential of the lease, or nil if the lease or its token has
// to be renewed first.
func (c *core) held() *doc {
	tok := c.session.idle()
	now := c.session.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lease
	if l == nil || tok == nil || !l.tok.is(tok) || l.term.over(now) || l.term.due(now) {
		return nil
	}
	return l.view(tok)
}

// view is the credential with the times that hold for it: Vault revokes a
// lease with its token.
func (l *lease) view(tok *token) *doc {
	d := *l.doc
	d.version = l.id
	for _, t := range []term{l.term, tok.term} {
		if t.life == 0 {
			continue
		}
		if end := t.end(); d.expires.IsZero() || end.Before(d.expires) {
			d.expires = end
		}
		if due := t.dueAt(); d.refresh.IsZero() || due.Before(d.refresh) {
			d.refresh = due
		}
	}
	return &d
}

// advance renews the lease, or reads a new one. It runs alone.
func (c *core) advance(ctx context.Context, conn *conn, tok *token, fresh bool) (*doc, error) {
	e, err := c.locate(ctx, conn, tok)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	l := c.lease
	c.mu.Unlock()
	now := c.session.now()
	good := l != nil && l.tok.is(tok) && !l.term.over(now)
	if good && !l.term.due(now) {
		return l.view(tok), nil
	}
	if good && l.term.renewable {
		if n := c.renewed(ctx, conn, l); n != nil {
			return n.view(tok), nil
		}
	}
	from := c.session.now()
	reply, err := conn.do(ctx, c.readCall(e, tok, fresh))
	switch status := refused(err); {
	case status == http.StatusNotFound:
		c.forget(e)
		return nil, c.missing(reply, e)
	case err != nil && good && status != http.StatusForbidden:
		// It is good for a while yet; the next read tries again.
		n := *l
		n.term.pause = c.session.now().Add(retryPause)
		c.hold(l, &n)
		return n.view(tok), nil
	case err != nil:
		return nil, err
	}
	d, err := c.parse(reply, e)
	if err != nil {
		return nil, err
	}
	if reply.LeaseID == "" {
		return d, nil // not a lease: it is read each time
	}
	n := &lease{id: reply.LeaseID, doc: d, tok: tok, term: newTerm(from, reply.LeaseDuration, reply.Renewable)}
	c.hold(l, n)
	if c.isClosed() && c.opts.RevokeOnClose && !tok.own { // Close could not know it
		_, err := conn.do(context.WithoutCancel(ctx), n.revocation())
		return nil, errors.Join(closed(), err)
	}
	return n.view(tok), nil
}

// hold puts n in the place of old, unless that was dropped meanwhile. Both
// times are of the lease, not of KV.
func (c *core) hold(old, n *lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lease == old && !c.closed {
		c.lease = n
	}
}

func (c *core) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// revocation is the call that ends l.
func (l *lease) revocation() call {
	return call{path: "sys/leases/revoke", token: l.tok.text.Reveal(), body: map[string]any{"lease_id": l.id}}
}

// renewed returns the lease after a renewal; nil if there was none, or the
// maximum is so near that another has to be read while this one is good.
func (c *core) renewed(ctx context.Context, conn *conn, l *lease) *lease {
	from := c.session.now()
	reply, err := conn.do(ctx, call{
		path: "sys/leases/renew", token: l.tok.text.Reveal(), index: l.tok.index,
		body: map[string]any{"lease_id": l.id, "increment": int64(l.term.full / time.Second)},
	})
	if err != nil {
		return nil // whatever it is, another lease is the next try
	}
	n := *l
	n.term = l.term.extended(from, reply.LeaseDuration, reply.Renewable)
	if !n.term.renewable || n.term.due(c.session.now()) {
		return nil
	}
	c.hold(l, &n)
	return &n
}

// close ends the source and revokes what it has.
func (c *core) close(ctx context.Context) error {
	c.mu.Lock()
	l := c.lease
	c.closed, c.lease, c.last = true, nil, nil
	c.mu.Unlock()
	conn, tok := c.session.close()
	if !c.opts.RevokeOnClose || conn == nil {
		return nil
	}
	var err error
	switch {
	case tok != nil && tok.own:
		err = revoke(ctx, conn, tok)
	case l != nil:
		_, err = conn.do(ctx, l.revocation())
	}
	if err != nil {
		return failed(ctx, "revoke", err, `give the token "update" on sys/leases/revoke, or leave it to end by itself`)
	}
	return nil
}
