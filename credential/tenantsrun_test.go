package credential_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func newTenants(t testing.TB, open func(context.Context, string) (credential.Source, error), opts *credential.TenantsOptions) *credential.Tenants {
	t.Helper()
	tenants, err := credential.NewTenants(open, opts)
	if err != nil {
		t.Fatalf("NewTenants: %v", err)
	}
	return tenants
}

func as(tenant string) context.Context { return credential.WithTenant(background, tenant) }

// A landlord keeps the stores of tenants, and is the service that checks whose
// key comes.
type landlord struct {
	mu      sync.Mutex
	stores  map[string]*credentialtest.Store
	version map[string]int
	opens   map[string]int
}

func newLandlord() *landlord {
	return &landlord{stores: map[string]*credentialtest.Store{}, version: map[string]int{}, opens: map[string]int{}}
}

func keyOf(tenant string, version int) string { return fmt.Sprintf("sk-CANARY-%s-%d", tenant, version) }

func (l *landlord) open(_ context.Context, tenant string) (credential.Source, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opens[tenant]++
	if l.stores[tenant] == nil {
		l.stores[tenant] = credentialtest.NewStore(keyOf(tenant, 0))
	}
	return l.stores[tenant], nil
}

func (l *landlord) rotate(tenant string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version[tenant]++
	l.stores[tenant].Rotate(keyOf(tenant, l.version[tenant]))
}

// check tells whether the key is the tenant's, and whether it is another's.
func (l *landlord) check(tenant, key string) (ok, crossed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return key == keyOf(tenant, l.version[tenant]), !strings.HasPrefix(key, "sk-CANARY-"+tenant+"-")
}

func (l *landlord) reads() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.stores {
		n += s.Reads()
	}
	return n
}

// callAs makes a call as middleware does; send tells whether the service took
// the key.
func callAs(tenants *credential.Tenants, tenant string, send func(tenant, key string) bool) error {
	ctx := as(tenant)
	v, err := tenants.Retrieve(ctx)
	for sends := 1; err == nil; sends++ {
		if send(tenant, v.Secret.Reveal()) {
			tenants.Accept(v)
			return nil
		}
		if sends == 4 {
			return errUnauthorized
		}
		v, err = tenants.Replace(ctx, reject(v))
	}
	return err
}

// An underway counts the calls of a tenant, so that none sees two rotations.
type underway struct {
	mu       sync.Mutex
	rotation int
	calls    map[int]int   // since which rotation they are under way
	ended    chan struct{} // closed when one ends; made when somebody waits
	served   int           // the last rotation that a call has begun after, and was served
	noticed  int           // rotations of which that holds
}

func (u *underway) begin() (end func(served bool)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.calls == nil {
		u.calls = map[int]int{}
	}
	since := u.rotation
	u.calls[since]++
	return func(served bool) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if served && since == u.rotation && u.served < since {
			u.served = since
			u.noticed++
		}
		if u.calls[since]--; u.calls[since] == 0 {
			delete(u.calls, since)
		}
		if u.ended != nil {
			close(u.ended)
			u.ended = nil
		}
	}
}

// rotate waits for the calls that have seen a rotation already. They may wait
// for the grace, so it must not spin: in a bubble no time would pass.
func (u *underway) rotate(f func()) {
	for {
		u.mu.Lock()
		seen := false
		for since := range u.calls {
			seen = seen || since < u.rotation
		}
		if !seen {
			u.rotation++
			f()
			u.mu.Unlock()
			return
		}
		if u.ended == nil {
			u.ended = make(chan struct{})
		}
		ended := u.ended
		u.mu.Unlock()
		<-ended
	}
}

// A house is a run of many tenants' calls.
type house struct {
	tenants, calls, rotations, workers int
	send                               func(l *landlord, tenant, key string) (ok, crossed bool)
}

var errShut = errors.New("the directory of tenants is down")

func (h house) run(t *testing.T) {
	l := newLandlord()
	var opens, crossed, failed, refusedToOpen atomic.Int64
	tenants := newTenants(t, func(ctx context.Context, tenant string) (credential.Source, error) {
		if opens.Add(1)%10 == 0 {
			return nil, errShut
		}
		return l.open(ctx, tenant)
	}, nil)
	done := make([]atomic.Int64, h.tenants)
	at := make([]underway, h.tenants)
	jobs := make(chan int, h.tenants*h.calls)
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(h.tenants * h.calls) {
		jobs <- i % h.tenants
	}
	close(jobs)
	send := func(tenant, key string) bool {
		ok, cross := h.send(l, tenant, key)
		if cross {
			crossed.Add(1)
		}
		return ok
	}
	var wg sync.WaitGroup
	for range h.workers {
		wg.Go(func() {
			for i := range jobs {
				name := fmt.Sprintf("tenant%04d", i)
				err := errShut
				for errors.Is(err, errShut) {
					end := at[i].begin()
					err = callAs(tenants, name, send)
					end(err == nil)
					if errors.Is(err, errShut) {
						refusedToOpen.Add(1)
						pass(1200 * time.Millisecond) // a cool-down
					}
				}
				if err != nil {
					failed.Add(1)
				}
				if n := done[i].Add(1); n%int64(h.calls/h.rotations) == int64(h.calls/h.rotations/2) {
					at[i].rotate(func() { l.rotate(name) })
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d tenants, %d calls, %d tries to open, %d calls that a closed door failed, %d store reads", h.tenants, h.tenants*h.calls, opens.Load(), refusedToOpen.Load(), l.reads())
	if crossed.Load() != 0 || failed.Load() != 0 {
		t.Errorf("%d credentials crossed, %d calls failed", crossed.Load(), failed.Load())
	}
	h.checkReads(t, l.reads(), at)
	for name, n := range l.opens {
		if n != 1 {
			t.Errorf("%s was opened %d times", name, n)
		}
	}
}

// checkReads compares the reads with the openings and the rotations. A rotation
// that no call notices before the next one need not cost a read.
func (h house) checkReads(t *testing.T, n int, at []underway) {
	t.Helper()
	least, most := h.tenants, h.tenants*(1+h.rotations)
	for i := range at {
		least += at[i].noticed
	}
	if n < least || n > most {
		t.Errorf("%d store reads, want one for each opening and each rotation: %d, of which %d were noticed", n, most, least)
	}
	if least < most/2 {
		t.Errorf("only %d of %d rotations were noticed: the run shows little", least-h.tenants, most-h.tenants)
	}
}

// Promise P12, for a service with many customers.
func TestNoTenantEverGetsAnothersCredential(t *testing.T) {
	bubble(t, func(t *testing.T) {
		house{tenants: 1000 / share, calls: 50, rotations: 5, workers: 500, send: func(l *landlord, tenant, key string) (bool, bool) {
			return l.check(tenant, key)
		}}.run(t)
	})
}

func TestTenantsShareOneTransport(t *testing.T) {
	var l atomic.Pointer[landlord]
	var conns atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ok, crossed := l.Load().check(r.Header.Get("X-Tenant"), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		switch {
		case crossed:
			w.WriteHeader(http.StatusTeapot)
		case !ok:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	const workers = 50
	transport := &http.Transport{MaxConnsPerHost: workers, MaxIdleConnsPerHost: workers}
	defer transport.CloseIdleConnections()
	house{tenants: 100, calls: 20, rotations: 2, workers: workers, send: func(now *landlord, tenant, key string) (bool, bool) {
		l.Store(now)
		req, err := http.NewRequestWithContext(background, http.MethodGet, server.URL, nil)
		if err != nil {
			t.Error(err)
			return false, false
		}
		req.Header.Set("X-Tenant", tenant)
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Error(err)
			return false, false
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusTeapot
	}}.run(t)
	if n := conns.Load(); n > workers {
		t.Errorf("%d connections for %d calls at a time", n, workers)
	}
}

func TestATenantIsSmall(t *testing.T) {
	l := newLandlord()
	tenants := newTenants(t, l.open, nil)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const many = 20_000 / share // of which 1,000 stay
	before := heap()
	for i := range many {
		name := fmt.Sprintf("tenant%05d", i)
		if _, err := tenants.Retrieve(as(name)); err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		delete(l.stores, name)
		delete(l.opens, name)
		l.mu.Unlock()
	}
	used := heap() - before
	t.Logf("%d KiB for 1,000 tenants", used>>10)
	if used > 8<<20 {
		t.Errorf("%d KiB after %d tenants, of which 1,000 are kept", used>>10, many)
	}
	runtime.KeepAlive(tenants)
}
