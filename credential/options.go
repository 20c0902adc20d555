package credential

import (
	"context"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey/internal/platform"
)

const (
	defaultTTL           = 5 * time.Minute
	defaultStaleIfError  = time.Hour
	defaultGrace         = 5 * time.Second
	defaultTimeout       = 10 * time.Second
	defaultExpiryWarning = 7 * 24 * time.Hour
)

const (
	// inlineBudget is what a call on Lambda spends on a refresh. Elsewhere a
	// call leaves the refresh to a goroutine, but a Lambda sandbox freezes its
	// goroutines, with their connections half open, when the handler returns.
	inlineBudget = 300 * time.Millisecond
	// staleWait is how long a call waits for a read when it holds a value that
	// can bridge the outage.
	staleWait = time.Second
)

// CacheOptions configures a [Cache]. The zero value and nil are ready to use.
type CacheOptions struct {
	// TTL is how long a value is used before it has to be read again; 0 is 5
	// minutes, and negative means that no value ages. Between 72 % and 80 % of
	// it, at a time that is drawn anew for each read, a call starts a refresh
	// and does not wait for it. The first refresh comes between 10 % and 80 %,
	// so that processes which start together do not read together.
	//
	// The TTL also bounds API keys that have an Expires. It does not bound
	// bearer tokens that have one: these are used until they expire, and
	// refreshed from RefreshAfter on or, if that is zero, 5 minutes before the
	// end, or half of the life before it if that is shorter.
	TTL time.Duration
	// StaleIfError is how long past its TTL a value is served while reads fail
	// for transient reasons (RFC 5861 calls it so). No value is served past its
	// Expires. 0 is 1 hour; negative means not at all.
	StaleIfError time.Duration
	// Grace is how long Replace goes on reading, with a growing delay, while
	// the source still gives the rejected value: a rotation may revoke a key
	// before it publishes the next one. A value that no service has accepted
	// gets 2 seconds at most. 0 is 5 seconds; negative means one read.
	Grace time.Duration
	// Timeout bounds each read of a source, whoever waits for it. 0 is 10
	// seconds; negative is an error.
	Timeout time.Duration
	// ExpiryWarning is how long before a value's Expires the event
	// [EventExpiring] goes out. A bearer token is only reported when its
	// refresh brings no newer one. 0 is 7 days; negative means no event.
	ExpiryWarning time.Duration
	// Now is the clock; nil is time.Now. Only its wall time is used, so that a
	// process notices that it was frozen.
	Now func() time.Time
	// ReadContext returns the context in which a source is read. It is given
	// the context of the call that starts the read; copy the span of a trace
	// from it, and nothing that could decide which credential is read, because
	// the credential is for all calls. Deadlines and cancellation are dropped
	// from the result. Nil is context.Background.
	ReadContext func(call context.Context) context.Context
	// OnEvent, if not nil, is called for each Event, before the calls that the
	// event concerns return. Several goroutines may call it at the same time.
	// It should return soon, because calls wait for it, and must not use the
	// Cache. A panic in it is dropped.
	OnEvent func(Event)
}

// settings are CacheOptions with the defaults filled in.
type settings struct {
	ttl, stale, grace, timeout, inline, warning time.Duration
	now                                         func() int64 // nil is the system's clock
	readContext                                 func(context.Context) context.Context
	onEvent                                     func(Event)
}

// time is the wall time in nanoseconds.
func (s *settings) time() int64 {
	if s.now != nil {
		return s.now()
	}
	return time.Now().UnixNano()
}

func (o *CacheOptions) settings() (settings, error) {
	if o == nil {
		o = &CacheOptions{}
	}
	if o.Timeout < 0 {
		return settings{}, fmt.Errorf("credential: cache: negative Timeout %v: every read needs a bound", o.Timeout)
	}
	pick := func(d, byDefault time.Duration) time.Duration {
		if d == 0 {
			return byDefault
		}
		return d
	}
	// A year is as good as forever, and sums of it do not overflow.
	const year = 365 * 24 * time.Hour
	s := settings{
		ttl:         min(year, pick(o.TTL, defaultTTL)),
		stale:       max(0, pick(o.StaleIfError, defaultStaleIfError)),
		grace:       min(year, max(0, pick(o.Grace, defaultGrace))),
		timeout:     min(year, pick(o.Timeout, defaultTimeout)),
		warning:     max(0, pick(o.ExpiryWarning, defaultExpiryWarning)),
		readContext: guardedContext(o.ReadContext),
		onEvent:     o.OnEvent,
	}
	if o.Now != nil {
		s.now = guardedClock(o.Now)
	}
	if platform.OnLambda() {
		s.inline = inlineBudget
	}
	return s, nil
}

// guardedClock is now in nanoseconds, or the system's clock if now panics.
func guardedClock(now func() time.Time) func() int64 {
	return func() (t int64) {
		defer func() {
			if recover() != nil {
				t = time.Now().UnixNano()
			}
		}()
		return nanos(now())
	}
}

// guardedContext is f, or the background if f is nil, panics or returns nil.
func guardedContext(f func(context.Context) context.Context) func(context.Context) context.Context {
	return func(call context.Context) (ctx context.Context) {
		defer func() {
			if recover() != nil || ctx == nil {
				ctx = context.Background()
			}
			ctx = context.WithoutCancel(ctx)
		}()
		if f == nil {
			return nil
		}
		return f(call)
	}
}
