package chaos_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	duration = flag.Duration("chaos", 3*time.Second, "for how long everything is broken")
	seed     = flag.Uint64("seed", 0, "decides what is broken; 0 is a new one")
)

// A world is what one run knows.
type world struct {
	t     *testing.T
	began time.Time
	stop  chan struct{}
	homes map[string]*home // by host
	all   []*home
	calls sync.Map // the wire's record of each call, by its id
	ids   atomic.Int64

	made, canceled, refused atomic.Int64

	mu     sync.Mutex
	broken map[string][]string // promises, with what was seen
}

// breaks notes that a promise was broken.
func (w *world) breaks(promise, format string, args ...any) {
	what := strings.ReplaceAll(fmt.Sprintf(format, args...), "CANARY", "[canary]")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken[promise] = append(w.broken[promise], fmt.Sprintf("after %v: %s", time.Since(w.began).Round(time.Millisecond), what))
}

func (w *world) over() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// pause waits, and reports whether the run goes on.
func (w *world) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.stop:
		return false
	}
}

func TestChaosBreaksNoPromise(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()>>32 | 1
	}
	t.Logf("-chaos=%v -seed=%d", *duration, *seed)
	w := &world{t: t, began: time.Now(), stop: make(chan struct{}), homes: map[string]*home{}, broken: map[string][]string{}}
	clean(t)
	w.settle()
	random := rand.New(rand.NewPCG(*seed, 1))
	var callers, directors sync.WaitGroup
	ended := make(chan struct{})
	w.programs(&callers, ended)
	for _, h := range w.all {
		r := rand.New(rand.NewPCG(random.Uint64(), 2))
		directors.Go(func() { h.direct(w, r) })
	}
	r := rand.New(rand.NewPCG(random.Uint64(), 3))
	directors.Go(func() { w.rotator(r) })
	time.AfterFunc(*duration, func() { close(w.stop) })
	directors.Wait() // each leaves its home in order
	close(ended)
	callers.Wait()
	w.verdict()
}

// verdict prints the account, and fails for each broken promise.
func (w *world) verdict() {
	w.t.Logf("%d calls: %d failed for impatient callers, %d refused by a ceiling", w.made.Load(), w.canceled.Load(), w.refused.Load())
	for _, h := range w.all {
		w.t.Logf("%-12s %6d calls, %3d rotations, %3d outages, %3d faults, %4d reads", h.name, h.calls.Load(), h.rotations, h.outages, h.faults, h.readCount())
		h.checkReads(w)
	}
	for promise, seen := range w.broken {
		w.t.Errorf("%s was broken %d times, first %s", promise, len(seen), seen[0])
		for _, s := range seen[1:min(len(seen), 5)] {
			w.t.Log(s)
		}
	}
	if w.made.Load() < 100 {
		w.t.Errorf("only %d calls were made", w.made.Load())
	}
}
