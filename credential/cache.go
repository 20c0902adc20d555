package credential

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/hidden"
)

// A Cache keeps the credential of one source. It reads it once, refreshes it
// ahead of time, bridges outages, and replaces it when the service rejects it.
// However many calls are in flight, one rotation costs one read.
//
// A Cache is safe for concurrent use. It starts no goroutine that outlives a
// read, so there is nothing to close. Two clients share a credential when they
// share a Cache; there is no other shared state.
type Cache struct {
	cur  atomic.Pointer[entry]
	set  settings
	root hidden.Value[*node]
	id   func(Value) identity
	name string
	// Whose credential it is, for a Cache of Tenants.
	tenant  string
	tenants *Tenants

	mu       sync.Mutex // guards what follows; never held during I/O
	records  []*record  // the least recently used first
	reads    uint64     // how many have begun
	shown    uint64     // the latest read whose value was published
	ordinary *read      // the latest of each kind
	forced   *read
	failing  coolDown // of ordinary reads
	failure  error    // of the last ordinary read
	bridging bool     // the event of this outage has gone out
	trusted  bool     // a service has accepted a value of this Cache

	recovery    recovery
	refused     *record   // what the recovery is about
	rejection   Rejection // the first one of it
	recoveryErr error     // why its last read gave nothing
	changed     chan struct{}
	elapsed     int64 // see tick
	lastWall    int64
	lastMono    time.Time
}

var _ Source = (*Cache)(nil)

// NewCache returns a Cache around src. It does no I/O. It fails if src is nil,
// is a Cache or has one inside, or if an option is out of range.
//
// Values are checked when they are read. A secret has 1 byte to 16 KiB of
// printable ASCII without spaces, after a byte order mark and one trailing
// newline are dropped. What people store in its place by mistake, such as a JSON
// document, ${NAME} or a reference to a secret, is an error that says so.
func NewCache(src Source, opts *CacheOptions) (*Cache, error) {
	root, err := compile(src, 0)
	if err != nil {
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
		set:  set,
		root: hidden.Of(root),
		id:   func(v Value) identity { return identify(&key, v) },
		name: sourceName(src),
	}, nil
}

// Retrieve returns the current credential. While it is fresh, that is one
// atomic load and a look at the clock. A call that finds it old starts one read
// for all calls. It waits for the read, or for ctx, only if the value must not
// be used any more.
//
// While the service rejects all that the source has, Retrieve returns the
// newest value. So the call gets the service's own answer, and the credential
// is back in use once the service accepts it again.
//
// Retrieve returns the source's error if there is nothing to return. After a
// failed read it does so at once, during a cool-down of 1 s that doubles to 60 s
// (30 s at least after ErrNotFound). If ctx is done it returns the cause.
func (c *Cache) Retrieve(ctx context.Context) (Value, error) {
	if c == nil {
		return Value{}, errZeroCache
	}
	var now int64
	if c.set.now == nil {
		now = time.Now().UnixNano()
	} else {
		now = c.set.now()
	}
	if e := c.cur.Load(); e != nil && e.fresh(now) {
		return e.val, nil
	}
	return c.settle(ctx, &call{verdict: wanted})
}

// Replace tells that a service refused r.Value, and returns what to send
// instead. If another value is in use by now, it returns that one and reads
// nothing. Otherwise one read serves all calls; it never joins a read that began
// before the rejection. If the source still gives the rejected value, the
// standby is next (see [Standby]), and then the source is read again until the
// grace is over.
//
// Replace may return the rejected value itself, for one more send: when no
// service has ever accepted it, because it may have been refused for being too
// new; and when the service has accepted it on another call meanwhile, because
// the refusal may have been a mistake. If that send is refused as well, the
// refusal stands.
//
// The error wraps [ErrRejected] if there is nothing to send. During the
// cool-down that follows (1 s, doubling to 60 s) it comes at once and without a
// read. If ctx has a deadline, the error comes before it, by 10 % of the time
// left and at least 100 ms, so that the caller can still use the answer that it
// has; it wraps [context.DeadlineExceeded] then, for nothing is known of the
// credential. If ctx is done, Replace returns the cause.
func (c *Cache) Replace(ctx context.Context, r Rejection) (Value, error) {
	if r.Value.Secret.IsZero() {
		return Value{}, errNoValue
	}
	if c == nil {
		return Value{}, errZeroCache
	}
	return c.settle(ctx, &call{verdict: refused, rejection: r, turn: math.MaxUint64})
}

// Refresh reads the source now, whatever the age of the value in use, and
// returns the value that is in use then. It is for a program that is told of a
// rotation, by an event of the store or a file that changed. Other calls go on
// with the old value meanwhile.
//
// Each Refresh is one read, which never joins one that began before it: call it
// once for each event. If the read fails, Refresh returns the source's error, the
// value in use stays, and the cool-down of [Cache.Retrieve] begins. If ctx is
// done before the read has ended, Refresh returns the cause and the read goes on.
func (c *Cache) Refresh(ctx context.Context) (Value, error) {
	if c == nil || c.root == nil {
		return Value{}, errZeroCache
	}
	if ctx == nil {
		ctx = context.Background()
	}
	if ctx.Err() != nil {
		return Value{}, context.Cause(ctx)
	}
	c.mu.Lock()
	r := c.start(ctx, ordinary, c.set.time())
	c.mu.Unlock()
	select {
	case <-r.done:
		return r.val, r.err
	case <-ctx.Done():
		return Value{}, fmt.Errorf("credential: refreshing %s: %w", c.name, context.Cause(ctx))
	}
}

// Accept tells that a service accepted v, which came from this Cache: any
// answer that does not refuse the credential, an error of the request included.
// It ends the recovery of a rejected value, and lets a later rejection of it
// count as a rotation. It is cheap when it has nothing new to tell; call it
// after every send.
func (c *Cache) Accept(v Value) {
	if c == nil {
		return
	}
	e := c.entryOf(v)
	if e == nil || e.rec.accepted.Load() > e.turn {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rec, cur := e.rec, c.cur.Load()
	if rec.accepted.Load() <= e.turn {
		rec.accepted.Store(e.turn + 1)
	}
	c.trusted = true
	inUse := cur != nil && cur.rec == rec
	switch {
	case rec.rejected > 0 && e.turn >= rec.rejected: // handed out after the rejection
		rec.rejected, rec.chance = 0, false
		rec.turn++
		if inUse {
			c.recovery = c.recovery.accepted()
			c.cur.Store(cur.as(rec, false))
		} else {
			c.recovery = c.recovery.mistaken(c.tick())
		}
	case inUse && rec.rejected == 0:
		c.recovery = c.recovery.accepted()
	}
	c.notify()
}

// String names the source. It does no I/O.
func (c *Cache) String() string {
	if c == nil || c.root == nil {
		return "cache"
	}
	return "cache(" + c.name + ")"
}
