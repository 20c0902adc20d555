package middleware

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/wire"
)

// The defaults of [RetryOptions].
const (
	// DefaultMaxRetries is how often a request is sent again.
	DefaultMaxRetries = 2
	// DefaultBaseDelay is the wait before the first retry, if the service
	// names none. It doubles with each retry, up to DefaultMaxBackoff.
	DefaultBaseDelay = 500 * time.Millisecond
	// DefaultMaxBackoff is the longest wait that the layer chooses by itself.
	DefaultMaxBackoff = 8 * time.Second
	// DefaultMaxDelay is the longest wait that the service may ask for.
	DefaultMaxDelay = 60 * time.Second
	// DefaultRetryBudget is how many retries a layer has in hand, for all its
	// requests together. Each answer that needs no retry earns a tenth of one.
	DefaultRetryBudget = 10
)

const mostRetries = 100 // more is a mistake, not a policy

// RetryOptions are the options of [Retry]. Nil is the same as the zero value.
type RetryOptions struct {
	// MaxRetries is how often one request is sent again, so that it is sent
	// 1 + MaxRetries times at most. 0 is DefaultMaxRetries; a negative number
	// is none.
	MaxRetries int
	// BaseDelay is the wait before the first retry; 0 is DefaultBaseDelay. It
	// doubles up to DefaultMaxBackoff, or BaseDelay if that is longer. Up to a
	// quarter is taken off at random.
	BaseDelay time.Duration
	// MaxDelay is the longest wait that the service may ask for; 0 is
	// DefaultMaxDelay. An answer that asks for more is returned at once.
	MaxDelay time.Duration
	// Budget is how many retries all requests together may have in hand; 0 is
	// DefaultRetryBudget, a negative number is no bound.
	Budget int
}

// Retry returns a layer that sends a request again when the service or the
// network failed for the moment.
//
// It retries the statuses 408, 409, 429, 500, 502, 503 and 504, and errors of
// the connection before a byte of the answer has come. The header
// x-should-retry overrides the status: "true" retries any of 400 and above,
// "false" none (OpenAI's SDKs do the same). Not retried are a 429 that tells of
// a spent quota, an error of the credential, a certificate that does not hold,
// and a request whose body cannot be had again (GetBody).
//
// It waits as retry-after-ms, x-ms-retry-after-ms or Retry-After (seconds or a
// date; RFC 9110, section 10.2.3) ask, in this order, and otherwise with
// exponential backoff. The answer is returned at once, with its body, when the
// wait would be longer than MaxDelay or than the deadline of the request's
// context, and when the budget is spent. If the context ends during a wait, the
// error wraps the context's error and its cause.
//
// A first send is the caller's own request. The budget is shared by all that
// one call of Retry returns. Retry fails if an option is negative that may not
// be, or MaxRetries is above 100.
func Retry(opts *RetryOptions) (Middleware, error) {
	var o RetryOptions
	if opts != nil {
		o = *opts
	}
	switch {
	case o.BaseDelay < 0:
		return nil, fmt.Errorf("middleware: retry: BaseDelay %v is negative; want 0 for the default, or more", o.BaseDelay)
	case o.MaxDelay < 0:
		return nil, fmt.Errorf("middleware: retry: MaxDelay %v is negative; want 0 for the default, or more", o.MaxDelay)
	case o.MaxRetries > mostRetries:
		return nil, fmt.Errorf("middleware: retry: MaxRetries %d is more than %d", o.MaxRetries, mostRetries)
	case o.Budget > 1<<30:
		return nil, fmt.Errorf("middleware: retry: Budget %d is too large; a negative one is no bound", o.Budget)
	}
	o.MaxRetries = orDefault(o.MaxRetries, DefaultMaxRetries)
	o.BaseDelay = orDefault(o.BaseDelay, DefaultBaseDelay)
	o.MaxDelay = orDefault(o.MaxDelay, DefaultMaxDelay)
	var b *budget
	if o.Budget = orDefault(o.Budget, DefaultRetryBudget); o.Budget > 0 {
		b = newBudget(o.Budget)
	}
	return func(next http.RoundTripper) http.RoundTripper {
		return &retryLayer{opts: o, budget: b, next: next.RoundTrip}
	}, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

type retryLayer struct {
	opts   RetryOptions
	budget *budget
	next   func(*http.Request) (*http.Response, error) // a func, so that no printer by reflection walks into it
}

func (l *retryLayer) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next(req)
	if !worthRetry(resp, err) {
		if err == nil {
			l.budget.succeeded()
		}
		return resp, err
	}
	if l.opts.MaxRetries < 0 {
		return resp, err
	}
	return l.retry(req, resp, err)
}

// retry goes on after a failed first send.
func (l *retryLayer) retry(req *http.Request, resp *http.Response, err error) (*http.Response, error) {
	backoff := l.newBackoff()
	for number := 2; worthRetry(resp, err); number++ {
		delay, ok := l.delay(req, resp, backoff)
		if !ok {
			return resp, err
		}
		body, ok := bodyAgain(req)
		if !ok {
			return resp, err
		}
		if !l.budget.take() {
			closeReader(body)
			return resp, err
		}
		reason := "retry connection error"
		if err == nil {
			reason = "retry " + strconv.Itoa(resp.StatusCode)
			wrapErrorBody(resp, credential.Secret{})
			_ = resp.Body.Close() // reads what little is left, for the connection's sake
		}
		if err := wait(req.Context(), delay); err != nil {
			closeReader(body)
			return nil, fmt.Errorf("middleware: ended while waiting %v for %s: %w", delay, reason, err)
		}
		again := req.WithContext(withRetry(req.Context(), number, reason)) // shares the header: no layer changes it
		again.Body = body
		resp, err = l.next(again)
	}
	if err == nil {
		l.budget.succeeded()
	}
	return resp, err
}

func (l *retryLayer) newBackoff() retry.Backoff {
	b := retry.WithCappedDuration(max(DefaultMaxBackoff, l.opts.BaseDelay), retry.NewExponential(l.opts.BaseDelay))
	jittered := retry.BackoffFunc(func() (time.Duration, bool) {
		d, stop := b.Next()
		// Less, never more: a wait that fits stays one that fits.
		return d - rand.N(d/4+1), stop //nolint:gosec // jitter, not a secret
	})
	return retry.WithMaxRetries(uint64(l.opts.MaxRetries), jittered) //nolint:gosec // not negative
}

// delay returns how long to wait, and whether to retry at all.
func (l *retryLayer) delay(req *http.Request, resp *http.Response, backoff retry.Backoff) (time.Duration, bool) {
	ctx := req.Context()
	d, stop := backoff.Next()
	if stop || ctx.Err() != nil {
		return 0, false
	}
	if resp != nil && resp.StatusCode == http.StatusTooManyRequests && quotaSpent(peekSmall(resp)) {
		return 0, false
	}
	now := time.Now()
	if resp != nil {
		if asked, ok := retryAfter(resp.Header, now); ok {
			if asked > l.opts.MaxDelay {
				return 0, false
			}
			d = asked
		}
	}
	if deadline, ok := ctx.Deadline(); ok && deadline.Sub(now) <= d {
		return 0, false
	}
	return d, true
}

// worthRetry reports whether the outcome of a send is one that may be better
// the next time.
func worthRetry(resp *http.Response, err error) bool {
	if err != nil {
		return connectionError(err)
	}
	if resp.StatusCode < 400 {
		return false
	}
	switch resp.Header.Get("X-Should-Retry") {
	case "true":
		return true
	case "false":
		return false
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// quotaSpent tells a spent quota from a rate limit: waiting does not restore
// it. Codes: https://platform.openai.com/docs/guides/error-codes and
// https://help.openai.com/en/articles/6614457.
func quotaSpent(body []byte) bool {
	for _, code := range [...]string{
		"insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded",
		"project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_hard_limit_reached",
	} {
		// Most bodies have none of them, and need not be parsed.
		if bytes.Contains(body, []byte(code)) {
			e := wire.ParseError(body)
			if e.Code == code || e.Type == code {
				return true
			}
		}
	}
	return false
}

// bodyAgain returns the body for another send.
func bodyAgain(req *http.Request) (io.ReadCloser, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	return body, err == nil
}

func closeReader(c io.Closer) {
	if c != nil {
		_ = c.Close()
	}
}

// wait returns nil after d, or ctx's error and its cause.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
	}
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
