package middleware

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/wire"
	"github.com/latchkey-go/latchkey/internal/wraperr"
)

// DefaultMaxRetries is how often a request is sent again, unless
// [RetryOptions] says otherwise.
const DefaultMaxRetries = 2

// The other defaults of RetryOptions.
const (
	defaultBaseDelay   = 500 * time.Millisecond
	defaultMaxBackoff  = 8 * time.Second
	defaultMaxDelay    = 2 * time.Minute
	defaultRetryBudget = 10
)

const (
	mostRetries = 100 // more is a mistake, not a policy
	// spreadStep is by how much more each call that waits for the same time
	// spreads those that are released.
	spreadStep = 5 * time.Millisecond
)

// RetryOptions are the options of [Retry]. Nil is the same as the zero value.
type RetryOptions struct {
	// MaxRetries is how often one request is sent again, so that it is sent
	// 1 + MaxRetries times at most. 0 is DefaultMaxRetries. With a negative
	// number the layer does nothing, and an SDK above it retries as it likes.
	MaxRetries int
	// BaseDelay is the wait before the first retry; 0 is half a second. It
	// doubles up to 8 seconds, or BaseDelay if that is longer. Up to a
	// quarter is taken off at random.
	BaseDelay time.Duration
	// MaxDelay is the longest wait that the service may ask for, and the longest
	// that a call waits for its turn while the service throttles; 0 is
	// 2 minutes. An answer that asks for more is returned at once.
	MaxDelay time.Duration
	// Budget is how many retries may fail while nothing succeeds, for all
	// requests together; 0 is 10, a negative number is no bound.
	Budget int
	// DisablePace sends requests as they come while the service throttles.
	DisablePace bool
}

// Retry returns a layer that sends a request again when the service or the
// network failed for the moment, and that keeps to the rate of a service that
// throttles. It decides on every send but the replays of [Auth].
//
// It retries the statuses 408, 409, 429 and those from 500 on, 501 and 505
// excepted, and errors of the connection, as OpenAI's SDKs do. The header
// x-should-retry overrides the status: "true" retries any of 400 and above,
// "false" none. Not retried are a 429 that tells of a spent quota, an error of
// the credential, a certificate that is not valid, an answer that stalls after
// it has begun, and a request whose body cannot be had again (GetBody).
//
// It waits as retry-after-ms, x-ms-retry-after-ms or Retry-After ask, in this
// order. Retry-After is in seconds or a date, which is measured from the
// answer's own Date (RFC 9110, section 10.2.3). Zero is at once, the first
// time. Otherwise it waits with exponential backoff. The answer is returned at
// once, with its body, when the wait would be longer than MaxDelay or than the
// deadline of the request's context. If the context ends during a wait, the
// error wraps the context's error and its cause.
//
// The budget bounds the retries of an outage. A retry costs nothing if it
// succeeds, or if the service named the time for it. A call that finds the budget
// spent waits as long as it would have waited otherwise, and is sent again as soon
// as other calls succeed.
//
// The pace begins with the first 429 that names a wait within MaxDelay, or
// none. From then on the calls for the same host, model and tenant stand in
// line, first come, first served, and are sent at the rate that the service has
// shown to take, which is learned from its answers alone. A call that cannot be
// served within its deadline or MaxDelay gets the service's last 429 at once,
// and is not sent. Other models are not held up. The pace ends a minute after
// the last 429.
//
// Answers of 400 and above are marked with "x-should-retry: false", so that an
// SDK above that knows this header, as OpenAI's do, does not retry what was
// retried here.
//
// Budget and pace are shared by all layers that one Middleware of Retry makes. Retry
// fails if BaseDelay or MaxDelay is negative, MaxRetries is above 100, or Budget is
// above 1<<30.
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
	o.BaseDelay = orDefault(o.BaseDelay, defaultBaseDelay)
	o.MaxDelay = orDefault(o.MaxDelay, defaultMaxDelay)
	shared := &retryState{}
	if o.Budget = orDefault(o.Budget, defaultRetryBudget); o.Budget > 0 {
		shared.budget = newBudget(o.Budget)
	}
	if !o.DisablePace {
		shared.pace = newPacer(o.MaxDelay)
	}
	return func(next http.RoundTripper) http.RoundTripper {
		if o.MaxRetries < 0 {
			return next
		}
		return &retryLayer{opts: o, retryState: shared, next: next.RoundTrip}
	}, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// retryState is what all round trippers of one Retry share.
type retryState struct {
	budget *budget // nil is without bound
	pace   *pacer  // nil is none
	held   atomic.Int64
}

type retryLayer struct {
	opts RetryOptions
	*retryState
	next roundTrip
}

func (l *retryLayer) RoundTrip(req *http.Request) (*http.Response, error) {
	out, c := begin(req)
	if l.retryState.pace.begun() {
		return l.tries(out, c).run(req)
	}
	resp, err := l.next(out)
	if err == nil && !worthRetry(resp, nil) && !c.routing.Load().elsewhere() {
		l.budget.succeeded()
		return decided(req, resp), nil
	}
	t := l.tries(out, c)
	t.took(resp, err)
	return t.run(req)
}

func (l *retryLayer) tries(req *http.Request, c *call) *tries {
	return &tries{retryLayer: l, req: req, call: c, pacing: pacing{pace: l.retryState.pace}}
}

// decided marks an answer that goes to the caller.
func decided(req *http.Request, resp *http.Response) *http.Response {
	resp.Request = req
	if resp.StatusCode >= 400 {
		if resp.Header == nil {
			resp.Header = http.Header{}
		}
		resp.Header.Set("X-Should-Retry", "false")
	}
	return resp
}

// tries are the sends of one call, and what came of the last.
type tries struct {
	*retryLayer
	req  *http.Request
	call *call

	sent int
	resp *http.Response
	err  error

	backoff  retry.Backoff
	patience time.Time // until when the call may wait for a token
	token    bool      // the last send had one
	asked    time.Duration
	named    bool // the service has named the wait
	zero     bool // it had asked for none before
	moved    bool // the next send goes to another endpoint
	pacing        // of a client with one endpoint
}

// run sends until there is something to return to req's caller.
func (t *tries) run(req *http.Request) (*http.Response, error) {
	if t.sent == 0 {
		if resp, err := t.enter(); resp != nil || err != nil {
			closeBody(t.req)
			if err != nil {
				return nil, err
			}
			return decided(req, resp), nil
		}
		t.took(t.next(t.req))
	}
	for t.again() {
		body, ok := bodyAgain(t.req)
		if !ok {
			break
		}
		resp, err := t.await()
		if resp != nil || err != nil {
			closeReader(body)
			t.resp, t.err = resp, err
			break
		}
		out := t.req.WithContext(context.WithValue(t.req.Context(), reasonKey{}, resent{hidden.Of(t.call), t.reason()})) // shares the header: no layer changes it
		out.Body = body
		t.took(t.next(out))
	}
	if t.err != nil {
		return nil, t.err
	}
	return decided(req, t.resp), nil
}

// took takes in what came of a send.
func (t *tries) took(resp *http.Response, err error) {
	t.resp, t.err = resp, err
	t.sent++
	switch {
	case !worthRetry(resp, err):
		if err == nil && (t.token || t.sent == 1) {
			t.budget.succeeded()
		}
	case t.sent == 1:
		t.budget.failed()
	}
	if t.routing() != nil { // which has the pace of each endpoint
		return
	}
	if err == nil && resp.StatusCode == http.StatusTooManyRequests && t.throttled(t.req, t.call, resp, t.opts.BaseDelay) {
		return
	}
	t.accepted()
}

// routing returns what Failover says of the last send; nil without Failover.
func (t *tries) routing() *routing { return t.call.routing.Load() }

// again decides whether the outcome of the last send is worth another one, and
// sets how long to wait for it.
func (t *tries) again() bool {
	r := t.routing()
	t.moved = r.elsewhere()
	if !t.moved && (r.unsent() || !worthRetry(t.resp, t.err)) || t.req.Context().Err() != nil {
		return false
	}
	if t.sent > t.opts.MaxRetries {
		return false
	}
	if r != nil {
		r.last = t.sent >= t.opts.MaxRetries
	}
	if t.moved {
		t.asked, t.named = 0, true // Failover waits, if anybody has to
		return true
	}
	if t.backoff == nil {
		t.startBackoff()
	}
	t.asked, _ = t.backoff.Next() // it does not stop
	t.named = false
	if t.err != nil {
		return t.inTime()
	}
	if t.resp.StatusCode == http.StatusTooManyRequests && quotaSpent(peekSmall(t.resp)) {
		return false
	}
	asked, named := retryAfter(t.resp.Header, time.Now())
	switch {
	case asked > t.opts.MaxDelay:
		return false
	case named && asked == 0 && t.zero:
		// At once did not help; the back-off stands.
	case named:
		t.asked, t.named, t.zero = asked, true, asked == 0
	}
	return t.inTime()
}

// inTime reports whether the wait ends before the call's deadline. The pace
// judges that by itself.
func (t *tries) inTime() bool {
	deadline, ok := t.req.Context().Deadline()
	return !ok || t.paced() || time.Until(deadline) > t.asked
}

// paced reports whether the pace decides about the next send.
func (t *tries) paced() bool {
	return t.place != nil && t.resp != nil && t.resp.StatusCode == http.StatusTooManyRequests
}

func (t *tries) startBackoff() {
	b := retry.WithCappedDuration(max(defaultMaxBackoff, t.opts.BaseDelay), retry.NewExponential(t.opts.BaseDelay))
	t.backoff = retry.BackoffFunc(func() (time.Duration, bool) {
		d, stop := b.Next()
		// Less, never more: a wait that fits stays one that fits.
		return d - rand.N(d/4+1), stop //nolint:gosec // jitter, not a secret
	})
	t.patience = time.Now()
	for d, n := t.opts.BaseDelay, 0; n < t.opts.MaxRetries; n++ {
		t.patience = t.patience.Add(d - d/4) // no longer than the shortest back-offs
		d = min(2*d, max(defaultMaxBackoff, t.opts.BaseDelay))
	}
}

// await waits until the next send is due. It returns what came of the last
// one if the next is not to be made, or the error that ended the call.
func (t *tries) await() (*http.Response, error) {
	if t.paced() {
		return t.enterAgain()
	}
	var line *list.Element
	if t.token = !t.named && t.budget != nil; t.token {
		line = t.budget.take()
	}
	if line == nil {
		t.dismiss()
	} else if t.resp != nil {
		peekError(t.resp) // it may have to be returned: free its connection meanwhile
	}
	if err := t.sleep(); err != nil {
		t.budget.giveUp(line)
		return nil, err
	}
	if line != nil {
		ok, err := t.awaitToken(line)
		if err != nil {
			return nil, err
		}
		if !ok {
			return t.resp, t.err
		}
		t.dismiss()
	}
	return t.enter()
}

// dismiss closes an answer that nobody gets: it reads what little is left, for
// the connection's sake.
func (t *tries) dismiss() {
	if t.resp != nil {
		wrapErrorBody(t.resp, credential.Secret{})
		_ = t.resp.Body.Close()
	}
}

// sleep waits as long as the back-off or the service asks. Calls that were told
// the same time are spread behind it, the more the more they are.
func (t *tries) sleep() error {
	d := t.asked
	if t.named && d > 0 {
		defer t.held.Add(-1)
		if others := t.held.Add(1) - 1; others > 0 {
			d += rand.N(min(d/2, time.Duration(others)*spreadStep) + 1) //nolint:gosec // jitter, not a secret
		}
	}
	if err := wait(t.req, t.call, d); err != nil {
		return t.endedWhile(err)
	}
	return nil
}

func (t *tries) endedWhile(err error) error {
	return wraperr.New(fmt.Sprintf("middleware: ended while waiting for the %s: %v", t.reason(), err), err)
}

// awaitToken waits for a token of the budget, and reports whether there was one.
func (t *tries) awaitToken(line *list.Element) (bool, error) {
	timer := time.NewTimer(time.Until(t.patience))
	defer timer.Stop()
	if err := until(t.req, t.call, tokenOf(line), timer.C); err != nil {
		t.budget.giveUp(line)
		return false, t.endedWhile(err)
	}
	return t.budget.leave(line), nil
}

func (t *tries) reason() Reason {
	switch {
	case t.moved && t.resp == nil && !connectionError(t.err):
		return reasonLimit
	case t.moved && t.resp == nil:
		return reasonFailover
	case t.moved:
		return Reason("failover " + strconv.Itoa(t.resp.StatusCode))
	case t.resp == nil:
		return reasonConnection
	}
	return reasonRetry(t.resp.StatusCode)
}

// enter waits for the call's turn if its model is throttled.
func (t *tries) enter() (*http.Response, error) {
	if !t.find(t.req, t.call) {
		return nil, nil
	}
	return t.awaitTurn(nil, time.Time{})
}

// enterAgain waits for the turn of a call that was throttled.
func (t *tries) enterAgain() (*http.Response, error) {
	own := t.resp
	if peekSmall(own) == nil {
		t.dismiss()
		own = nil
	}
	return t.awaitTurn(own, time.Now().Add(t.asked))
}

// awaitTurn waits in the line of the pace. A call that cannot be served in time
// gets own, its last answer, or else the last one that any call has got.
func (t *tries) awaitTurn(own *http.Response, notBefore time.Time) (*http.Response, error) {
	ok, err := t.turn(t.req, t.call, t.sent >= t.opts.MaxRetries, notBefore)
	switch {
	case err != nil:
		t.dismiss()
		return nil, t.endedWhile(err)
	case ok:
		if own != nil {
			t.dismiss()
		}
		return nil, nil
	case own != nil:
		return own, nil
	}
	return t.place.g.refusal(t.req), nil
}

// leaveAt returns when a call has to be sent at the latest: a little before its
// deadline, so that there is time left for the answer.
func leaveAt(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Time{}
	}
	return deadline.Add(-min(100*time.Millisecond, time.Until(deadline)/10))
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
	switch first(resp.Header, "X-Should-Retry") {
	case "true":
		return true
	case "false":
		return false
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return resp.StatusCode >= 500
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

// limitReset returns when a limit that is used up is said to be full again.
// That is more than a call has to wait for, so it counts as a back-off.
func limitReset(h http.Header) time.Duration {
	l, d := wire.ParseRateLimit(h), time.Duration(0)
	if l.RemainingRequests == 0 {
		d = l.ResetRequests
	}
	if l.RemainingTokens == 0 {
		d = max(d, l.ResetTokens)
	}
	return min(d, defaultMaxBackoff)
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
