package hashivault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

// A refusal is an answer of Vault that is not a success. It has the status and
// what we know the message by: the server's own words may quote anything.
type refusal struct {
	status int
	reason string
}

func (e *refusal) Error() string {
	text := fmt.Sprintf("status %d", e.status)
	if e.reason != "" {
		text += ": " + e.reason
	}
	return text
}

const (
	reasonSealed    = "Vault is sealed"
	reasonDenied    = "permission denied"
	reasonForeign   = "not an answer of Vault"
	reasonUnwrapped = "the wrapping token is used up or has expired"
)

// newRefusal keeps the status and, if the server says one of the phrases that
// tell more, what that means. Other words of the server are dropped. Taken from
// Vault 1.14.1 and 1.21.0.
func newRefusal(status int, messages []string) *refusal {
	all := strings.ToLower(strings.Join(messages, "\n"))
	for _, p := range [...]struct{ says, reason string }{
		{"vault is sealed", reasonSealed},
		{"not yet initialized", "Vault is not initialized"},
		{"wrapping token is not valid or does not exist", reasonUnwrapped},
		{"invalid secret id", "invalid secret id"},
		{"invalid role or secret id", "invalid role or secret id"},
		{"invalid role id", "invalid role id"},
		{"missing client token", "no token was sent"},
		{"lease not found", "the lease is gone"},
		{"permission denied", reasonDenied},
		{"invalid token", reasonDenied},
		{"invalid username or password", "invalid username or password"},
		{"user is locked out", "the user is locked out"},
		{"service account name not authorized", "the service account is not bound to the role"},
		{"namespace not authorized", "the namespace of the service account is not bound to the role"},
		{"namespace not found", "there is no such namespace"},
		{"rate limit quota exceeded", "a rate limit of Vault is used up"},
	} {
		if strings.Contains(all, p.says) {
			return &refusal{status, p.reason}
		}
	}
	return &refusal{status: status}
}

// transient reports what passes by itself: throttling or a standby (429), a
// standby behind (412) or in recovery or replication (472, 473), a sealed or
// starting server and the proxies before it (5xx). See
// https://developer.hashicorp.com/vault/api-docs#http-status-codes.
func (e *refusal) transient() bool {
	switch e.status {
	case http.StatusPreconditionFailed, 472, 473:
		return true
	}
	return leaf.Passing(e.status)
}

func (e *refusal) hint() string {
	switch {
	case e.reason == reasonSealed:
		return "unseal it"
	case e.status == http.StatusTooManyRequests:
		return "a standby, or a rate limit: try again later"
	case e.status == 472 || e.status == 473:
		return "a standby of replication: point the address at the active node"
	case e.status == http.StatusPreconditionFailed:
		return "the node lags behind: try again later"
	case e.reason == reasonForeign:
		return hintAddress()
	case e.status >= 500:
		return "look at Vault's log"
	}
	return ""
}

// refused returns the status of an answer that was no success; 0 if there was
// no answer.
func refused(err error) int {
	if r := (*refusal)(nil); errors.As(err, &r) {
		return r.status
	}
	return 0
}

// A plain error shows a text that is known to be safe, and is what it wraps.
type plain struct {
	text string
	err  error
}

func (e *plain) Error() string { return e.text }
func (e *plain) Unwrap() error { return e.err }

var errGarbled = errors.New("the answer (status 200) is not JSON as Vault writes it")

// failed makes a SourceError of err, and of ctx if that is the reason.
func failed(ctx context.Context, op string, err error, hint string) error {
	if ctx.Err() != nil {
		return &credential.SourceError{Source: sourceName, Op: op, Err: context.Cause(ctx), Transient: true}
	}
	var se *credential.SourceError
	if errors.As(err, &se) {
		return se
	}
	out := &credential.SourceError{Source: sourceName, Op: op, Err: err, Hint: hint}
	var r *refusal
	var u *unanswered
	switch {
	case errors.As(err, &u):
		out.Transient, out.Hint = u.Transient, u.Hint
	case errors.Is(err, credential.ErrNotFound) || errors.Is(err, credential.ErrUnavailable):
	case errors.As(err, &r):
		out.Transient = r.transient()
		if better := r.hint(); better != "" {
			out.Hint = better
		}
	case errors.Is(err, errFinal):
	default:
		// No answer: an outage, until somebody shows otherwise.
		out.Transient, out.Hint = true, hintAddress()
	}
	return out
}

// hintAddress names the variable that the address is from. One that is set
// does not count beside Options.Client, which few programs have.
func hintAddress() string {
	for _, name := range [...]string{api.EnvVaultAgentAddr, api.EnvVaultAddress} {
		if os.Getenv(name) != "" {
			return "check that Vault is at the address in " + name + ", and that its scheme, http or https, is the server's"
		}
	}
	return "check that Vault is at the address of Options.Client"
}

// errFinal marks errors that a later try does not cure.
var errFinal = errors.New("final")

func final(text string) error { return &plain{text, errFinal} }

func expired() error {
	return final("Vault does not accept it (status 403): it has expired, was revoked, or is for another server")
}

func closed() error {
	return &credential.SourceError{Source: sourceName, Op: "retrieve", Err: final("the source is closed"), Hint: "make another one"}
}

func zero() error {
	return &credential.SourceError{Source: sourceName, Op: "retrieve", Err: final("the zero Source has no path"), Hint: "make one with New"}
}

// An unanswered request has no answer of Vault.
type unanswered struct{ leaf.Fault }

func (e *unanswered) Error() string { return e.Err.Error() }
func (e *unanswered) Unwrap() error { return e.Err }

// known reduces what vault/api and net/http return to what is safe to show:
// their texts hold URLs, and pieces of what the peer sent.
func known(err error) error {
	var (
		re   *api.ResponseError
		mine *plain
		r    *refusal
		u    *unanswered
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return r
	case errors.As(err, &mine):
		return mine
	case errors.As(err, &u):
		return u
	case errors.As(err, &re):
		return newRefusal(re.StatusCode, re.Errors)
	case errors.Is(err, errGarbled):
		return errGarbled
	}
	return &unanswered{leaf.Hints{
		DNS: hintAddress(), Network: hintAddress(), Authority: "VAULT_CACERT names the CA",
		Redirect: "the token follows no redirect: point the address at the active node or the load balancer, with https",
		Plain:    "use https, or set Options.PlainHTTP",
	}.Explain(err, "Vault")}
}

// join is the work of g that is under way, or work.
func join[T any](ctx context.Context, g *leaf.Group[T], now time.Time, work func(context.Context) (T, error)) (T, error) {
	v, err := g.Do(ctx, now, workTimeout, work)
	switch {
	case errors.Is(err, leaf.ErrEnded):
		// A login may be foreign code. What it panics with may be a secret.
		err = failed(ctx, "log in", final("the login panicked"), "report it to the author of Options.Auth")
	case err != nil && ctx.Err() != nil:
		err = failed(ctx, "wait for Vault", err, "")
	}
	return v, err
}
