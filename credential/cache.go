package credential

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [CacheOptions].
const (
	// DefaultTTL is how long a value without an expiry of its own is used
	// before it has to be read again.
	DefaultTTL = 5 * time.Minute
	// DefaultStaleIfError is how long past its TTL a value may bridge an outage.
	DefaultStaleIfError = time.Hour
	// DefaultGrace is how long a rejection waits for a new credential.
	DefaultGrace = 5 * time.Second
	// DefaultTimeout bounds one read of one source.
	DefaultTimeout = 10 * time.Second
)

const (
	// inlineBudget is what a call on Lambda spends on a refresh that others
	// leave to a goroutine: a sandbox freezes goroutines when the handler
	// returns, with their connections half open.
	inlineBudget = 300 * time.Millisecond
	// staleWait is how long a call waits for a read when it holds a value to
	// bridge the outage with.
	staleWait = time.Second
)

// CacheOptions configures a [Cache]. The zero value and nil are ready to use.
type CacheOptions struct {
	// TTL is how long a value is used before it has to be read again. From
	// 0.72 to 0.8 of it on (drawn for each read) a call starts a refresh and
	// does not wait for it. It bounds API keys with an Expires as well, but
	// not bearer tokens with one: those live until they expire, refreshed from
	// RefreshAfter on, else from min(5 min, half of their life) before the end.
	// 0 is DefaultTTL, negative means that no value ages.
	TTL time.Duration
	// StaleIfError is how long past its TTL, but never past its Expires, a
	// value is served while reads fail for transient reasons (the name is RFC
	// 5861's). 0 is DefaultStaleIfError, negative means not at all.
	StaleIfError time.Duration
	// Grace is how long Replace waits and reads again, with a growing delay,
	// when the store still holds the rejected value: a rotation has revoked a
	// key before it published the next. For a value that was never accepted it
	// is at most 2 seconds, once. 0 is DefaultGrace, negative means one read.
	Grace time.Duration
	// Timeout bounds each read of a source, whoever waits for it. 0 is
	// DefaultTimeout; negative is refused.
	Timeout time.Duration
	// Now is the clock; nil is time.Now. Only its wall time is used: a process
	// that was frozen for an hour notices.
	Now func() time.Time
	// OnEvent, if not nil, is told of each Event, and told before the calls
	// that the event concerns return. It may be called by several goroutines at
	// once; no lock is held, but callers wait: it should return soon and must
	// not call the Cache. A panic in it is dropped, because it must not fail
	// the calls.
	OnEvent func(Event)
}

// settings are CacheOptions with the defaults filled in.
type settings struct {
	ttl, stale, grace, timeout, inline time.Duration
	now                                func() time.Time
	onEvent                            func(Event)
}

func (s *settings) time() time.Time {
	if s.now != nil {
		return s.now().Round(0)
	}
	return time.Now().Round(0)
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
		ttl:     min(year, pick(o.TTL, DefaultTTL)),
		stale:   max(0, pick(o.StaleIfError, DefaultStaleIfError)),
		grace:   min(year, max(0, pick(o.Grace, DefaultGrace))),
		timeout: min(year, pick(o.Timeout, DefaultTimeout)),
		now:     o.Now,
		onEvent: o.OnEvent,
	}
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" || os.Getenv("AWS_LAMBDA_FUNCTION_NAME") != "" {
		s.inline = inlineBudget
	}
	return s, nil
}

// A Cache keeps the credential of one source: it reads it once, refreshes it
// ahead of time, bridges outages, and replaces it when the service rejects it.
// However many calls are in flight, one rotation costs one read.
//
// A Cache is safe for concurrent use. It starts no goroutine that outlives a
// read, so there is nothing to close. Two clients share a credential when they
// share a Cache; there is no other shared state.
type Cache struct {
	cur atomic.Pointer[entry]
	set settings
	// Funcs, so that no printer by reflection walks into them.
	src func() Source
	id  func(Value) identity

	mu       sync.Mutex // guards what follows; never held during I/O
	winners  map[*Chain]func() Source
	refresh  *flight
	recovery *flight
	started  uint64 // flights so far
	shown    uint64 // the flight whose value is current
	trusted  bool   // a service has accepted a value of this Cache
	failed   failure
	graves   tombstones
}

var _ Source = (*Cache)(nil)

// NewCache returns a Cache around src. It does no I/O. It fails if src is nil,
// is a Cache or has one inside, or if an option is out of range.
//
// Values are checked as they are read: after dropping one trailing newline, a
// secret has 1 byte to 16 KiB of printable ASCII without spaces.
func NewCache(src Source, opts *CacheOptions) (*Cache, error) {
	if err := checkSource(src); err != nil {
		return nil, &joined{"credential: cache: " + bare(err), []error{err}}
	}
	set, err := opts.settings()
	if err != nil {
		return nil, err
	}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, fmt.Errorf("credential: cache: %w", err)
	}
	return &Cache{
		set:     set,
		src:     func() Source { return src },
		id:      func(v Value) identity { return identify(&key, v) },
		winners: map[*Chain]func() Source{},
	}, nil
}

// Retrieve returns the current credential. While it is fresh that is one
// atomic load and a look at the clock; a call that finds it old starts one
// read for all callers and, only if the value may no longer be used, waits
// for it or for ctx.
//
// While the service rejects everything that the source has, Retrieve returns
// the newest value all the same: the caller then sees the service's own
// answer, and the credential is back in use once the service accepts it again.
//
// It returns the source's error if there is nothing to serve: immediately
// during the cool-down after a failed read (1 s, doubling to 60 s; 30 s for
// ErrNotFound). A done ctx is returned as its cause and never recorded.
func (c *Cache) Retrieve(ctx context.Context) (Value, error) {
	var now int64
	if c.set.now == nil {
		now = time.Now().UnixNano()
	} else {
		now = c.set.now().UnixNano()
	}
	// One unsigned comparison: before the floor it wraps to a huge number.
	if e := c.cur.Load(); e != nil && uint64(now-e.floor) < e.span { //nolint:gosec // wraps, as said
		return e.val, nil
	}
	return c.retrieve(ctx, now)
}

func (c *Cache) retrieve(ctx context.Context, now int64) (Value, error) {
	if ctx.Err() != nil {
		return Value{}, context.Cause(ctx)
	}
	if c.src == nil {
		return Value{}, errZeroCache
	}
	c.mu.Lock()
	e := c.cur.Load()
	if e != nil && uint64(now-e.floor) < e.span { //nolint:gosec // wraps, as in Retrieve
		c.mu.Unlock()
		return e.val, nil // a read has ended since Retrieve looked
	}
	usable := e != nil && now >= e.floor && now < e.hard
	if usable && e.rejected {
		c.mu.Unlock()
		return e.val, nil // Replace is at work on it
	}
	f, mine := c.refresh, false
	if f.over(now) {
		f = nil
		if !c.failed.cooling(now) {
			f, mine = c.startRefresh(ctx, now), true
		}
	}
	failed := c.failed
	c.mu.Unlock()

	switch {
	case usable && mine && c.set.inline > 0:
		return c.await(ctx, f, c.set.inline)
	case usable:
		return e.val, nil
	case e.bridges(now) && !mine && !permanent(failed.err):
		return c.serveStale(e), nil // the outage is known; one call waits for its end
	case f == nil:
		return Value{}, failed.err
	case e.bridges(now):
		return c.await(ctx, f, staleWait)
	}
	return c.join(ctx, f)
}

// join waits for the flight to the end.
func (c *Cache) join(ctx context.Context, f *flight) (Value, error) {
	v, err := f.wait(ctx)
	if err != nil && ctx.Err() != nil && !f.landed() {
		return Value{}, c.abandoned(ctx)
	}
	return v, err
}

// await gives the flight a while, and then serves what there is.
func (c *Cache) await(ctx context.Context, f *flight, budget time.Duration) (Value, error) {
	early, cancel := leaveEarly(ctx, budget)
	defer cancel()
	v, err := f.wait(early)
	if err == nil {
		return v, nil
	}
	e, now := c.cur.Load(), c.set.time().UnixNano()
	switch {
	case now >= e.floor && now < e.hard:
		return e.val, nil
	case e.bridges(now) && !(f.landed() && permanent(f.err)):
		return c.serveStale(e), nil
	}
	return c.join(ctx, f)
}

func (c *Cache) serveStale(e *entry) Value {
	c.mu.Lock()
	tell := !c.failed.told
	c.failed.told = true
	err := c.failed.err
	c.mu.Unlock()
	if tell {
		c.emit("stale-served", e, err)
	}
	return e.val
}

func (c *Cache) abandoned(ctx context.Context) error {
	return fmt.Errorf("credential: waiting for %s: %w", sourceName(c.src()), context.Cause(ctx))
}

// Accept records that a service accepted v, which came from this Cache. It
// ends the cool-down of a value that had been rejected, and lets a later
// rejection of it count as a rotation. It is cheap when it has nothing new to
// tell; call it after every success.
func (c *Cache) Accept(v Value) {
	if v.ref == nil {
		return
	}
	e := v.ref()
	if e.owner != c || e.accepted.Load() && !e.rejected {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e.accepted.Store(true)
	c.trusted = true
	cur := c.cur.Load()
	if cur == nil || cur.id != e.id {
		return
	}
	cur.accepted.Store(true)
	// A value retrieved before its rejection says nothing about now.
	if e.rejected && cur.rejected {
		if grave := c.graves.find(cur.id); grave != nil {
			grave.healed = true
		}
		c.cur.Store(cur.healed())
		c.recovery.nudge()
	}
}

// String names the source. It does no I/O.
func (c *Cache) String() string {
	if c == nil || c.src == nil {
		return "cache"
	}
	return "cache(" + sourceName(c.src()) + ")"
}

var errZeroCache = errors.New("credential: the zero Cache has no source; make one with NewCache")

var errNoValue = errors.New("credential: replace: the rejection holds no value; pass the one that was sent")
