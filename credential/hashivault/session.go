package hashivault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/smallfile"
)

const (
	// workTimeout bounds a login, a renewal or the read of a lease, whoever
	// waits for it.
	workTimeout = 10 * time.Second
	// retryPause is how long a token or lease that could not be renewed is
	// used before the next try.
	retryPause = time.Second
)

// A term is how long a token or a lease is valid, by the wall clock.
type term struct {
	from      time.Time
	life      time.Duration // 0: it does not end
	full      time.Duration // what the first grant was, to tell when the maximum nears
	renewable bool
	pause     time.Time // not due before
}

// newTerm counts from the time of the request, so that it rather ends early.
func newTerm(from time.Time, seconds int64, renewable bool) term {
	life := time.Duration(min(max(seconds, 0), 10*365*24*3600)) * time.Second
	return term{from: from, life: life, full: life, renewable: renewable}
}

// extended is t after a renewal. Once Vault grants less than half of what it
// did at first, the maximum is near, and renewing is over.
func (t term) extended(from time.Time, seconds int64, renewable bool) term {
	n := newTerm(from, seconds, renewable)
	n.full = t.full
	n.renewable = renewable && n.life >= t.full/2
	return n
}

func (t term) over(now time.Time) bool { return t.life > 0 && !now.Before(t.from.Add(t.life)) }

func (t term) end() time.Time {
	if t.life == 0 {
		return time.Time{}
	}
	return t.from.Add(t.life)
}

// due reports that two thirds have passed, or that the clock was set back.
func (t term) due(now time.Time) bool {
	if t.life == 0 || now.Before(t.pause) && t.pause.Sub(now) <= retryPause {
		return false
	}
	return now.Before(t.from) || !now.Before(t.dueAt())
}

func (t term) dueAt() time.Time { return t.from.Add(t.life * 2 / 3) }

// A token is a Vault token. Its text is a credential.Secret and prints as such.
type token struct {
	serial int64             // of the login; a renewal keeps it
	text   credential.Secret // empty: a Vault Agent has one
	term   term
	index  string // replication state of the login
	own    bool   // from a login, so ours to revoke
	doomed bool   // Vault does not know it any more
}

// is reports whether t and o are the same token, renewed or not.
func (t *token) is(o *token) bool { return o != nil && t.serial == o.serial }

// A session holds the token of a Source and gets the next one.
type session struct {
	opts *Options
	work leaf.Group[struct{}]

	mu     sync.Mutex // guards what follows; never held during I/O
	conn   *conn
	tok    *token
	serial int64
	closed bool
}

func newSession(o *Options) *session { return &session{opts: o} }

func (s *session) now() time.Time { return s.opts.Now().Round(0) }

// errForbidden says that a refused token is alive: the path is the reason.
var errForbidden = errors.New("forbidden")

const hintExpired = "set a new VAULT_TOKEN, run vault login, or set Options.Auth, which logs in again by itself"

// acquire returns a connection and a token that is valid as far as we know. bad
// is a token that Vault has just refused, or nil. If bad is still the current
// token, acquire looks it up in Vault: it returns errForbidden if Vault knows the
// token, and logs in again if it does not.
func (s *session) acquire(ctx context.Context, bad *token) (*conn, *token, error) {
	for range 5 {
		if ctx.Err() != nil {
			return nil, nil, failed(ctx, "log in", ctx.Err(), "")
		}
		s.mu.Lock()
		conn, tok, ended, now := s.conn, s.tok, s.closed, s.now()
		s.mu.Unlock()
		switch {
		case ended:
			return nil, nil, closed()
		case tok != nil && !tok.is(bad) && !tok.doomed && !tok.term.over(now) && !tok.term.due(now):
			return conn, tok, nil
		case tok != nil && tok.is(bad) && tok.text.IsZero():
			return nil, nil, errForbidden
		}
		if _, err := join(ctx, &s.work, now, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.advance(ctx, bad) }); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, failed(ctx, "log in", final("the tokens that Vault gives are over at once"), "raise token_ttl of the role")
}

// advance does the next thing that the token needs. It runs alone.
func (s *session) advance(ctx context.Context, bad *token) error {
	s.mu.Lock()
	conn, tok := s.conn, s.tok
	s.mu.Unlock()
	if conn == nil {
		var err error
		if conn, err = dial(s.opts); err != nil {
			return err
		}
		s.mu.Lock()
		s.conn = conn
		s.mu.Unlock()
	}
	now := s.now()
	switch {
	case tok == nil:
		return s.login(ctx, conn, nil, false)
	case tok.is(bad) && !tok.doomed:
		if err := s.verify(ctx, conn, tok); err != nil {
			return err
		}
		return s.login(ctx, conn, tok, true)
	case tok.doomed || tok.term.over(now):
		return s.login(ctx, conn, tok, tok.doomed)
	case !tok.term.due(now):
		return nil // somebody else has been here
	}
	if tok.term.renewable && s.renewed(ctx, conn, tok) {
		return nil
	}
	if tok = s.current(); tok == nil || tok.doomed {
		return s.login(ctx, conn, tok, true)
	}
	if !tok.term.renewable && s.opts.Auth != nil && s.login(ctx, conn, tok, false) == nil {
		return nil
	}
	// It is good for a while yet; the next read tries again.
	s.amend(tok, func(t *token) { t.term.pause = s.now().Add(retryPause) })
	return nil
}

func (s *session) current() *token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tok
}

// idle returns the token if it needs nothing.
func (s *session) idle() *token {
	tok, now := s.current(), s.now()
	if tok == nil || tok.doomed || tok.term.over(now) || tok.term.due(now) {
		return nil
	}
	return tok
}

// amend replaces old by a changed copy, unless another has replaced it.
func (s *session) amend(old *token, change func(*token)) {
	n := *old
	change(&n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tok == old {
		s.tok = &n
	}
}

// verify returns nil if Vault does not know the token any more, and says 403
// to that: an expired token is answered like a path that is forbidden.
func (s *session) verify(ctx context.Context, conn *conn, tok *token) error {
	_, err := conn.do(ctx, call{path: "auth/token/lookup-self", token: tok.text.Reveal(), index: tok.index})
	switch {
	case err == nil:
		return errForbidden
	case refused(err) == http.StatusForbidden:
		return nil
	}
	return failed(ctx, "look the token up", err, "")
}

// renewed renews the token and reports whether that did something.
func (s *session) renewed(ctx context.Context, conn *conn, tok *token) bool {
	from := s.now()
	r, err := conn.do(ctx, call{path: "auth/token/renew-self", token: tok.text.Reveal(), index: tok.index, body: struct{}{}})
	switch {
	case err == nil && r.Auth != nil:
		t := tok.term.extended(from, r.Auth.LeaseDuration, r.Auth.Renewable)
		s.amend(tok, func(n *token) { n.term = t })
		return t.life > 0 && !t.due(s.now())
	case refused(err) == http.StatusForbidden:
		// Dead, or not allowed to renew itself. The lookup tells.
		dead := s.verify(ctx, conn, tok) == nil
		s.amend(tok, func(n *token) { n.doomed, n.term.renewable = dead, false })
	case refused(err) == http.StatusBadRequest:
		s.amend(tok, func(n *token) { n.term.renewable = false })
	}
	return false
}

// login gets a token in place of old, which may be nil, and which Vault may
// have refused.
func (s *session) login(ctx context.Context, conn *conn, old *token, refused bool) error {
	var tok *token
	var err error
	if s.opts.Auth != nil {
		tok, err = s.loggedIn(ctx, conn)
	} else {
		tok, err = s.foundToken(ctx, conn, old, refused)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	ended := s.closed
	if !ended {
		s.serial++
		tok.serial = s.serial
		s.tok = tok
	}
	s.mu.Unlock()
	if !ended {
		return nil
	}
	if tok.own && s.opts.RevokeOnClose {
		_ = revoke(ctx, conn, tok) // nobody is left to tell; it ends by itself
	}
	return closed()
}

func (s *session) loggedIn(ctx context.Context, conn *conn) (*token, error) {
	from := s.now()
	var index string
	// A copy: a login may set the copy's token and headers.
	client := conn.client().WithResponseCallbacks(api.RecordState(&index))
	secret, err := s.opts.Auth.Login(ctx, client)
	op := fmt.Sprintf("log in by %s", methodName(s.opts.Auth))
	if err != nil {
		err = loginCause(err)
		return nil, failed(ctx, op, err, loginHint(err))
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return nil, failed(ctx, op, final("the answer has no token"), "a login that demands MFA is not supported")
	}
	return &token{
		text: credential.NewSecret(secret.Auth.ClientToken), own: true, index: index,
		term: newTerm(from, int64(secret.Auth.LeaseDuration), secret.Auth.Renewable),
	}, nil
}

func revoke(ctx context.Context, conn *conn, tok *token) error {
	_, err := conn.do(ctx, call{path: "auth/token/revoke-self", token: tok.text.Reveal(), index: tok.index, body: struct{}{}})
	return err
}

func methodName(m api.AuthMethod) string {
	return strings.ToLower(strings.TrimPrefix(strings.TrimLeft(fmt.Sprintf("%T", m), "*"), "hashivault."))
}

// foundToken returns the token that the environment has, and looks up how long
// it lives.
func (s *session) foundToken(ctx context.Context, conn *conn, old *token, dead bool) (*token, error) {
	text, err := s.findToken()
	if err != nil {
		return nil, err
	}
	if text == "" {
		if conn.agent {
			return &token{}, nil
		}
		return nil, &credential.SourceError{
			Source: sourceName,
			Err:    &plain{credential.ErrUnavailable.Error() + ": no token, no Auth, and no Vault Agent on loopback", credential.ErrUnavailable},
			Hint:   "log in: run vault login, or set VAULT_TOKEN or Options.Auth",
		}
	}
	tok := &token{text: credential.NewSecret(text)}
	again := old != nil && old.text.Equal(tok.text)
	if again && dead {
		return nil, failed(ctx, "use the token", expired(), hintExpired)
	}
	// Also when it should be over: somebody else may renew it.
	from := s.now()
	r, err := conn.do(ctx, call{path: "auth/token/lookup-self", token: text})
	if refused(err) == http.StatusForbidden {
		if again {
			return nil, failed(ctx, "use the token", expired(), hintExpired)
		}
		return tok, nil // dead, or without the default policy: the read will tell
	}
	if err != nil {
		return nil, failed(ctx, "look the token up", err, "")
	}
	var about struct {
		TTL       int64 `json:"ttl"`
		Renewable bool  `json:"renewable"`
	}
	if json.Unmarshal(r.Data, &about) == nil && about.TTL > 0 {
		tok.term = newTerm(from, about.TTL, about.Renewable)
	}
	return tok, nil
}

func (s *session) findToken() (string, error) {
	if s.opts.Client != nil {
		return s.opts.Client.Token(), nil
	}
	if text := strings.TrimSpace(os.Getenv(api.EnvVaultToken)); text != "" {
		return text, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", nil //nolint:nilerr // no home, no file in it
	}
	file, err := smallfile.Read(filepath.Join(home, ".vault-token"), smallfile.Max)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", &credential.SourceError{Source: sourceName, Op: "read ~/.vault-token", Err: &plain{err.Error(), errFinal}, Hint: "let the process read it, or set VAULT_TOKEN"}
	}
	return strings.TrimSpace(string(file.Text)), nil
}

// close ends the session and returns what was in use.
func (s *session) close() (*conn, *token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn, tok := s.conn, s.tok
	s.closed, s.tok = true, nil
	return conn, tok
}
