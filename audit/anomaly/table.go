package anomaly

import "strings"

// maxName bounds a name that comes from outside, in bytes.
const maxName = 512

func cut(s string) string { return s[:min(len(s), maxName)] }

// idle is after what time without use an item makes room for another, if its table
// is full.
const idle = 35 * day

// A table remembers a bounded number of things. Those for which there is no room
// share one.
type table[K comparable, T any] struct {
	most  int
	clone func(K) K // so that a key keeps nothing else in memory
	items map[K]*item[T]
	other item[T]
	swept int64
}

type item[T any] struct {
	used int64
	of   T
}

func newTable[K comparable, T any](most int, clone func(K) K) *table[K, T] {
	return &table[K, T]{most: most, clone: clone, items: map[K]*item[T]{}}
}

// get returns the thing of a key, which is zero if it is new. It is ours unless it
// is the one that is shared.
func (t *table[K, T]) get(key K, now int64) (thing *T, ours bool) {
	i := t.items[key]
	if i == nil {
		if len(t.items) >= t.most && !t.sweep(now) {
			return &t.other.of, false
		}
		i = &item[T]{}
		t.items[t.clone(key)] = i
	}
	i.used = now
	return &i.of, true
}

// has reports whether the key is known, and notes that it is used.
func (t *table[K, T]) has(key K, now int64) bool {
	i := t.items[key]
	if i != nil {
		i.used = now
	}
	return i != nil
}

// sweep makes room, at most once an hour.
func (t *table[K, T]) sweep(now int64) bool {
	if now-t.swept < hour {
		return false
	}
	t.swept = now
	for key, i := range t.items {
		if now-i.used > idle {
			delete(t.items, key)
		}
	}
	return len(t.items) < t.most
}

func clone(s string) string { return strings.Clone(s) }
