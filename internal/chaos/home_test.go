package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
)

// A home is a service that accepts keys of its own, and the store that programs find
// them in.
type home struct {
	name    string
	source  credential.Source
	publish func(key string)
	outage  func(on bool) // of the store; nil if it has none
	reads   func() int    // of the store; nil if it does not count
	alone   *sync.Mutex   // held while it is broken; nil without

	server *clienttest.Server
	calls  atomic.Int64

	mu      sync.Mutex
	keys    []string        // all that there were
	tenants []string        // those of them that no rotation of this home revokes
	batch   *sync.WaitGroup // the calls since the last rotation

	rotations, outages, faults int
	last                       []string // that was broken, for a report
}

// did notes what is broken now.
func (h *home) did(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = append(h.last[max(0, len(h.last)-3):], time.Now().Format("05.000 ")+what)
}

func (h *home) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("%s (%s, now %s)", h.name, strings.Join(h.last, ", "), time.Now().Format("05.000"))
}

// move puts the home into the world.
func (w *world) move(h *home, err error) {
	if err != nil {
		w.t.Fatalf("%s: %v", h.name, err)
	}
	h.batch = &sync.WaitGroup{}
	key := h.newKey()
	h.server = clienttest.NewTLSServer(key)
	if h.server.Err != nil {
		w.t.Fatal(h.server.Err)
	}
	h.server.SetJournal(false)
	w.t.Cleanup(h.server.Close)
	h.publish(key)
	at, err := url.Parse(h.server.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	w.homes[at.Host] = h
	w.all = append(w.all, h)
}

func (h *home) newKey() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := fmt.Sprintf("sk-CANARY-%s-%04d-of-this-home", h.name, len(h.keys))
	h.keys = append(h.keys, key)
	return key
}

// owns reports whether the key is one of this home.
func (h *home) owns(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.keys, key)
}

// begin is the begin of a call; the caller calls what it returns at the end.
func (h *home) begin() func() {
	h.calls.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	batch := h.batch
	batch.Add(1)
	return batch.Done
}

// drain waits for the calls that have begun so far: a call may meet one rotation.
func (h *home) drain() {
	h.mu.Lock()
	batch := h.batch
	h.batch = &sync.WaitGroup{}
	h.mu.Unlock()
	batch.Wait()
}

// direct breaks one thing after the other.
func (h *home) direct(w *world, r *rand.Rand) {
	for w.pause(between(r, 50*time.Millisecond, 600*time.Millisecond)) {
		switch n := r.IntN(10); {
		case n < 5:
			h.rotate(r)
		case n < 7 && h.outage != nil:
			w.exclusively(h.alone, func() {
				h.outages++
				h.did("outage")
				h.outage(true)
				w.pause(between(r, 0, 2500*time.Millisecond))
				h.outage(false)
				h.did("healed")
			})
		default:
			w.exclusively(h.alone, func() { h.breakOnce(r) })
		}
	}
}

// exclusively breaks something. The next thing is broken when no call that has met
// this one is in a back-off: a call is retried twice. Of several endpoints one at a
// time is broken, for a call that finds all of them so may fail.
func (w *world) exclusively(alone *sync.Mutex, f func()) {
	if alone != nil {
		alone.Lock()
		defer alone.Unlock()
	}
	if w.over() {
		return
	}
	f()
	w.pause(2500 * time.Millisecond)
}

func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)))
}

// rotate replaces the key, in one of the ways in which that goes wrong elsewhere.
func (h *home) rotate(r *rand.Rand) {
	h.rotations++
	next := h.newKey()
	late := between(r, 0, 2*time.Second)
	rotate := func(to string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.server.Rotate(to)
		h.server.Accept(h.tenants...)
	}
	way := r.IntN(5)
	h.did([]string{"overlap", "rotation", "late store", "late service", "rotation in an outage"}[way])
	switch way {
	case 0: // with an overlap, which readers do not need
		h.server.Accept(next)
		h.publish(next)
		<-time.After(late)
		rotate(next)
	case 1: // at once
		rotate(next)
		h.publish(next)
	case 2: // the store is late
		rotate(next)
		<-time.After(late)
		h.publish(next)
	case 3: // the service is late
		rotate("sk-CANARY-nobody-has-this-one")
		h.publish(next)
		<-time.After(late / 4)
		rotate(next)
	case 4: // the store is down meanwhile
		if h.alone != nil {
			h.alone.Lock()
			defer h.alone.Unlock()
		}
		if h.outage != nil {
			h.outage(true)
		}
		rotate(next)
		h.publish(next)
		<-time.After(late)
		if h.outage != nil {
			h.outage(false)
		}
	}
	h.did("rotated")
	h.drain()
	h.did("drained")
}

// breakOnce makes the service fail one request.
func (h *home) breakOnce(r *rand.Rand) {
	h.faults++
	faults := []clienttest.Fault{
		clienttest.Overloaded.Fault(), clienttest.RateLimited.Fault(), {Reset: true}, {Status: 500, Body: "<html>oops</html>"}, {Delay: 200 * time.Millisecond},
		{Status: 502}, {Status: 503, Header: map[string][]string{"Retry-After": {"1"}}},
	}
	n := r.IntN(len(faults))
	fault := faults[n]
	h.did("fault " + strconv.Itoa(n))
	fault.Times = 1
	h.server.Inject(fault)
}

func (h *home) readCount() int {
	if h.reads == nil {
		return -1
	}
	return h.reads()
}

// checkReads holds the store's reads to P2: one for each rotation, the polls of the
// grace, and those of an outage. Two programs read: one for this home, and one for
// several.
func (h *home) checkReads(w *world) {
	if most := 2 * (2 + 16*(h.rotations+h.outages) + int(time.Since(w.began)/time.Minute)); h.readCount() > most {
		w.breaks("P2", "%s was read %d times, in %d rotations and %d outages", h.name, h.readCount(), h.rotations, h.outages)
	}
}
