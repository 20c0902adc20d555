package credential

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const defaultMaxTenants = 1000

// TenantsOptions configures [Tenants]. The zero value and nil are ready to use.
type TenantsOptions struct {
	// Cache holds the options of each tenant's [Cache]. Its Timeout bounds the
	// opening of a tenant as well, and OnEvent is told whose credential it is.
	Cache CacheOptions
	// Max bounds the tenants that are kept open, and separately the tenants that
	// could not be opened. When there are more, the one that was not used for the
	// longest time is dropped; a tenant in use is never dropped. 0 is 1,000;
	// negative is an error.
	Max int
}

// Tenants keeps a credential for each tenant of a service: a customer, a team,
// an account. The context of a call names its tenant; see
// [WithTenant]. A tenant never gets the credential of another one, and a call
// without a tenant gets an error.
//
// Each tenant has a [Cache] of its own, which Tenants opens when it is first
// needed. All that is said of Cache holds for each of them: one rotation of a
// tenant's key costs one read, and an outage of one tenant's store does not
// affect the others.
//
// Tenants is safe for concurrent use. It starts no goroutine that outlives the
// opening of a tenant or a read, so there is nothing to close.
type Tenants struct {
	opener func(context.Context, string) (Source, error)
	opts   CacheOptions
	set    settings
	max    int

	mu     sync.Mutex // guards what follows; never held during I/O
	byName map[string]*tenant
	opened *list.List // tenants, the least recently used first
	others *list.List // those that are being opened, or could not be
}

var (
	_ Provider = (*Tenants)(nil)
	_ Source   = (*Tenants)(nil)
)

// A tenant is one of Tenants. Tenants.mu guards it.
type tenant struct {
	name    string
	cache   *Cache // nil until it is opened
	users   int    // calls at work with it
	list    *list.List
	place   *list.Element
	opening *opening // nil if nobody opens it
	failing coolDown
	failure error // why it could not be opened
}

// An opening is one call of the opener.
type opening struct {
	done     chan struct{}
	deadline time.Time
}

type tenantKey struct{}

// WithTenant returns a context whose calls get the credential of the tenant of
// that name from [Tenants]. Take the name from what the service has
// authenticated, never from what a request merely claims.
func WithTenant(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, tenantKey{}, name)
}

// TenantFrom returns the name that [WithTenant] has put into ctx. Without one
// it is empty.
func TenantFrom(ctx context.Context) string {
	name, _ := ctx.Value(tenantKey{}).(string)
	return name
}

// NewTenants returns Tenants whose members open opens. It does no I/O.
//
// Open returns the source of a tenant's credential, for example a Source of one
// of the packages below this one whose name holds the tenant's. It is called
// once for all calls that wait for a tenant, and again when the tenant was
// dropped, in a context that has a deadline and nothing of these calls; see
// CacheOptions.ReadContext. If it fails, calls for the tenant get the error at
// once during a cool-down of 1 s that doubles to 60 s (30 s at least if the
// error wraps [ErrNotFound]). Open may be called by several goroutines, for
// different tenants.
//
// NewTenants fails if open is nil or an option is out of range.
func NewTenants(open func(ctx context.Context, tenant string) (Source, error), opts *TenantsOptions) (*Tenants, error) {
	if opts == nil {
		opts = &TenantsOptions{}
	}
	set, err := opts.Cache.settings()
	switch {
	case open == nil:
		return nil, errors.New("credential: tenants: open is nil; pass a function that returns a tenant's source")
	case opts.Max < 0:
		return nil, fmt.Errorf("credential: tenants: negative Max %d: keep one at least", opts.Max)
	case err != nil:
		return nil, err
	}
	t := &Tenants{
		opener: open, opts: opts.Cache, set: set, max: opts.Max,
		byName: map[string]*tenant{}, opened: list.New(), others: list.New(),
	}
	if t.max == 0 {
		t.max = defaultMaxTenants
	}
	return t, nil
}

var (
	errZeroTenants = errors.New("credential: the zero Tenants opens nobody; make one with NewTenants")
	errNoTenant    = errors.New("credential: tenants: the context names no tenant; make it with WithTenant")
)

// Retrieve returns the credential of the tenant that ctx names; see
// [Cache.Retrieve]. A tenant that is not open is opened first. Without a tenant
// it returns an error.
func (t *Tenants) Retrieve(ctx context.Context) (Value, error) {
	return t.with(ctx, func(c *Cache) (Value, error) { return c.Retrieve(ctx) })
}

// Replace returns what to send instead of r.Value, which was the credential of
// the tenant that ctx names; see [Cache.Replace]. If it was another tenant's,
// Replace returns an error.
func (t *Tenants) Replace(ctx context.Context, r Rejection) (Value, error) {
	return t.with(ctx, func(c *Cache) (Value, error) {
		if r.Value.Tenant != c.tenant {
			return Value{}, errors.New("the rejected value is another tenant's")
		}
		return c.Replace(ctx, r)
	})
}

// Accept tells that a service accepted v; see [Cache.Accept]. It needs no
// context: v belongs to the tenant that it came from.
func (t *Tenants) Accept(v Value) {
	if t == nil || v.ref == nil {
		return
	}
	if c := v.ref().owner; c.tenants == t {
		c.Accept(v)
	}
}

// Forget drops what is known of the tenant of that name: its cached credential,
// or that it could not be opened. Calls that are under way end as they would
// have. It is for a tenant that has left, or whose source has changed.
func (t *Tenants) Forget(name string) {
	if t == nil || t.byName == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.byName[name]; m != nil {
		t.drop(m)
	}
}

// String returns "tenants".
func (t *Tenants) String() string { return "tenants" }

// with calls f with the Cache of the tenant that ctx names. Its errors name the
// tenant.
func (t *Tenants) with(ctx context.Context, f func(*Cache) (Value, error)) (Value, error) {
	if t == nil || t.byName == nil {
		return Value{}, errZeroTenants
	}
	if ctx == nil {
		ctx = context.Background()
	}
	name := TenantFrom(ctx)
	if name == "" {
		return Value{}, errNoTenant
	}
	if ctx.Err() != nil {
		return Value{}, context.Cause(ctx)
	}
	m, c := t.use(name)
	defer t.release(m)
	var err error
	if c == nil {
		c, err = t.open(ctx, m)
	}
	if err == nil {
		var v Value
		if v, err = f(c); err == nil {
			return v, nil
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return Value{}, err
	}
	return Value{}, &joined{fmt.Sprintf("credential: tenant %q: %s", name, bare(err)), []error{err}}
}

// use returns the tenant of that name, as one in use, and its Cache; nil if it
// is not open.
func (t *Tenants) use(name string) (*tenant, *Cache) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byName[name]
	if m == nil {
		m = &tenant{name: name}
		t.byName[name] = m
		t.put(m, t.others)
	}
	m.users++
	m.list.MoveToBack(m.place)
	return m, m.cache
}

func (t *Tenants) release(m *tenant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.users--
	t.shrink(m.list)
}

// put moves a tenant into a list, as its most recently used. t.mu is held.
func (t *Tenants) put(m *tenant, l *list.List) {
	if m.list != nil {
		m.list.Remove(m.place)
	}
	m.list, m.place = l, l.PushBack(m)
	t.shrink(l)
}

// shrink drops tenants until the list has its size, or all are in use. t.mu is
// held.
func (t *Tenants) shrink(l *list.List) {
	for e := l.Front(); e != nil && l.Len() > t.max; {
		m, _ := e.Value.(*tenant)
		e = e.Next()
		if m.users == 0 && m.opening == nil && m.place != l.Back() {
			t.drop(m)
		}
	}
}

// drop forgets a tenant. t.mu is held.
func (t *Tenants) drop(m *tenant) {
	m.list.Remove(m.place)
	if t.byName[m.name] == m {
		delete(t.byName, m.name)
	}
}

// open waits until the tenant is open. One call opens it for all.
func (t *Tenants) open(ctx context.Context, m *tenant) (*Cache, error) {
	now := t.set.time()
	t.mu.Lock()
	switch {
	case m.cache != nil:
		defer t.mu.Unlock()
		return m.cache, nil
	case m.opening == nil && m.failing.cooling(now):
		defer t.mu.Unlock()
		return nil, m.failure
	case m.opening == nil:
		m.opening = &opening{make(chan struct{}), time.Now().Add(t.set.timeout)}
		go t.openFor(ctx, m, m.opening)
	}
	o := m.opening
	t.mu.Unlock()
	timer := time.NewTimer(max(0, time.Until(o.deadline)))
	defer timer.Stop()
	select {
	case <-o.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("credential: waiting for it to be opened: %w", context.Cause(ctx))
	case <-timer.C: // it may have ignored its context; nothing is opened twice
		return nil, &SourceError{Source: "tenants", Op: "open", Err: context.DeadlineExceeded, Transient: true,
			Hint: fmt.Sprintf("open has not returned within %v", t.set.timeout)}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return m.cache, m.failure
}

// openFor calls the opener and keeps what comes of it.
func (t *Tenants) openFor(call context.Context, m *tenant, o *opening) {
	ctx, cancel := context.WithDeadline(t.set.readContext(call), o.deadline)
	defer cancel()
	err := error(&SourceError{Source: "tenants", Op: "open", Err: errors.New("open ended its goroutine"), Transient: true})
	var c *Cache
	defer func() {
		if p := recover(); p != nil {
			c, err = nil, panicError("tenants", p)
		}
		now := t.set.time()
		t.mu.Lock()
		defer t.mu.Unlock()
		defer close(o.done)
		m.opening, m.cache, m.failure = nil, c, err
		if err != nil {
			m.failing.extend(now, leastCoolDown(err))
			return
		}
		if m.failing = (coolDown{}); t.byName[m.name] == m { // not forgotten meanwhile
			t.put(m, t.opened)
		}
	}()
	src, failure := t.opener(ctx, m.name)
	if err = failure; err == nil {
		c, err = t.newCache(m.name, src)
	}
}

// newCache returns the Cache of a tenant. A source that can supply more than
// one tenant would break what Tenants is for, and is refused by NewCache.
func (t *Tenants) newCache(name string, src Source) (*Cache, error) {
	opts := t.opts
	if tell := t.set.onEvent; tell != nil {
		opts.OnEvent = func(e Event) {
			e.Tenant = name
			tell(e)
		}
	}
	c, err := NewCache(src, &opts)
	if err != nil {
		return nil, err
	}
	c.tenant, c.tenants = name, t
	return c, nil
}
