package credential_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// A bare pointer with an expiry is the least that a cache can be.
type bare struct{ cur atomic.Pointer[bareEntry] }

type bareEntry struct {
	val     credential.Value
	expires int64
}

//go:noinline
func (b *bare) Retrieve() (credential.Value, error) {
	if e := b.cur.Load(); e != nil && time.Now().UnixNano() < e.expires {
		return e.val, nil
	}
	return credential.Value{}, credential.ErrUnavailable
}

func newBare() *bare {
	b := &bare{}
	b.cur.Store(&bareEntry{val: apiKey(1), expires: time.Now().Add(24 * time.Hour).UnixNano()})
	return b
}

func warm(b testing.TB) *credential.Cache {
	cache := newCache(b, credentialtest.NewStore(key(1)), &credential.CacheOptions{TTL: 24 * time.Hour})
	retrieve(b, cache, 1)
	return cache
}

func TestRetrieveDoesNotAllocate(t *testing.T) {
	cache := warm(t)
	if n := testing.AllocsPerRun(1000, func() { _, _ = cache.Retrieve(background) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	v := retrieve(t, cache, 1)
	cache.Accept(v)
	if n := testing.AllocsPerRun(1000, func() { cache.Accept(v) }); n != 0 {
		t.Errorf("Accept: %v allocations", n)
	}
}

func BenchmarkRetrieve(b *testing.B) {
	cache, least := warm(b), newBare()
	b.Run("cache", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = cache.Retrieve(background)
		}
	})
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = least.Retrieve()
		}
	})
}

func BenchmarkRetrieveParallel(b *testing.B) {
	cache, least := warm(b), newBare()
	b.Run("cache", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = cache.Retrieve(background)
			}
		})
	})
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = least.Retrieve()
			}
		})
	})
}
