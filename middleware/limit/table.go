package limit

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

// A key is what a count is for: only what the limit counts by is set.
type key struct{ tenant, model, endpoint string }

// maxKeyLen is how long the strings of a key may be together. A longer key has
// no count of its own, so that what is kept of a caller's strings is bounded.
const maxKeyLen = 1024

func (k key) len() int { return len(k.tenant) + len(k.model) + len(k.endpoint) }

// A table holds the counts of one limit. Finding a count takes no lock and
// allocates nothing.
type table struct {
	per     Window
	maxKeys int
	seed    maphash.Seed
	// buckets is replaced when it grows or when counts are dropped. A link never
	// changes, so that whoever reads an old bucket at worst misses a count; then it
	// looks again under the lock.
	buckets atomic.Pointer[[]atomic.Pointer[link]]
	// shared is the count of all keys that have none of their own, and long that of
	// keys that are too long for one.
	shared, long *count
	// one is the count of a limit that counts by nothing.
	one *count

	mu    sync.Mutex // of what follows, and of writes to buckets
	n     int
	swept int64 // when counts were last looked through for idle ones
}

type link struct {
	c    *count
	next *link
}

const firstBuckets = 16

func newTable(l Limit, maxKeys int) *table {
	t := &table{per: l.Per, maxKeys: maxKeys, seed: maphash.MakeSeed(), shared: newCount(key{}, l.Per), long: newCount(key{}, l.Per)}
	t.shared.shared, t.long.shared = true, true
	if l.By == 0 {
		t.one = newCount(key{}, l.Per)
		return t
	}
	b := make([]atomic.Pointer[link], firstBuckets)
	t.buckets.Store(&b)
	return t
}

func (t *table) hash(k key) uint64 {
	// Strings that stand in one field only, as most do, hash as they are.
	h := maphash.String(t.seed, k.tenant)
	if k.model != "" {
		h = h*31 + maphash.String(t.seed, k.model)
	}
	if k.endpoint != "" {
		h = h*37 + maphash.String(t.seed, k.endpoint)
	}
	return h
}

// bucketOf returns the bucket of a hash. There are a power of two of them.
func bucketOf(b []atomic.Pointer[link], h uint64) *atomic.Pointer[link] {
	return &b[h&uint64(len(b)-1)] //nolint:gosec // a length is not negative
}

// find returns the count of k and makes it if need be.
func (t *table) find(k key, l *Limiter, now int64) *count {
	if t.one != nil {
		return t.one
	}
	if c := t.look(k, t.hash(k)); c != nil {
		return c
	}
	return t.insert(k, l, now)
}

func (t *table) look(k key, h uint64) *count {
	for e := bucketOf(*t.buckets.Load(), h).Load(); e != nil; e = e.next {
		if e.c.key == k {
			return e.c
		}
	}
	return nil
}

// insert is find for a key that look has not found.
func (t *table) insert(k key, l *Limiter, now int64) *count {
	if k.len() > maxKeyLen {
		return t.long
	}
	h := t.hash(k)
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.look(k, h); c != nil {
		return c
	}
	// What a key without a count has used is in the shared one and cannot be told
	// apart. As long as there is something in it, no key gets a count of its own:
	// it would begin from 0. Before the first key had to share, it is empty.
	if !t.shared.idle(l, now) {
		return t.shared
	}
	if t.n >= t.maxKeys && t.swept != now {
		t.swept = now
		t.sweep(l, now)
	}
	if t.n >= t.maxKeys {
		return t.shared
	}
	if b := *t.buckets.Load(); t.n >= len(b) {
		t.rebuild(2*len(b), func(*count) bool { return true })
	}
	c := newCount(key{strings.Clone(k.tenant), strings.Clone(k.model), strings.Clone(k.endpoint)}, t.per)
	head := bucketOf(*t.buckets.Load(), h)
	head.Store(&link{c, head.Load()})
	t.n++
	return c
}

// begin begins a hold on the count that find has returned. It reports false if the
// count is no longer that of the key.
//
// The shared count is taken under the lock: otherwise a key could take from it
// while another goroutine finds it empty and gives the key a count of its own.
func (t *table) begin(h *hold, k key, l *Limiter, a *amounts, w way, now int64) (*Error, []Event, bool) {
	if h.count != t.shared {
		return h.begin(l, a, w, now)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.look(k, t.hash(k)) != nil {
		return nil, nil, false
	}
	return h.begin(l, a, w, now)
}

// sweep drops the counts that nothing is counted in.
func (t *table) sweep(l *Limiter, now int64) {
	t.rebuild(len(*t.buckets.Load()), func(c *count) bool { return !c.retire(l, now) })
}

// rebuild replaces the buckets by size ones with the counts that keep says.
func (t *table) rebuild(size int, keep func(*count) bool) {
	b := make([]atomic.Pointer[link], size)
	t.n = 0
	t.each(func(c *count) {
		if !keep(c) {
			return
		}
		head := bucketOf(b, t.hash(c.key))
		head.Store(&link{c, head.Load()})
		t.n++
	})
	t.buckets.Store(&b)
}

// each calls f for each count that has a key of its own.
func (t *table) each(f func(*count)) {
	if t.one != nil {
		f(t.one)
		return
	}
	b := *t.buckets.Load()
	for i := range b {
		for e := b[i].Load(); e != nil; e = e.next {
			f(e.c)
		}
	}
}
