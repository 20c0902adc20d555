package rotation_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
)

// rotation.seed runs the schedule of one seed, as a failure prints it.
var scheduleSeed = flag.Int64("rotation.seed", -1, "the only schedule to run")

// schedules is how many there are; .ci/run sets the variable.
func schedules() int64 {
	if os.Getenv("LATCHKEY_PROOFS") == "" {
		return 100
	}
	return 1000
}

// Two rotators are started by timers that deliver a start twice, late, or in another
// order than they were set, and each of their remote calls takes a while. There is one
// rotation per due date all the same, one current key that works, one old one at the
// most, and no key beside them for longer than it takes to find it.
func TestTwoRotatorsOnAnyScheduleMakeOneRotationPerDueDate(t *testing.T) {
	seeds := make(chan int64, schedules())
	for seed := range schedules() {
		if *scheduleSeed < 0 {
			seeds <- seed
		}
	}
	if *scheduleSeed >= 0 {
		seeds <- *scheduleSeed
	}
	close(seeds)
	var crew sync.WaitGroup
	var met atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		crew.Go(func() {
			for seed := range seeds {
				if t.Failed() {
					return
				}
				synctest.Test(t, func(t *testing.T) {
					s := newSchedule(t, seed)
					s.play()
					met.Add(int64(s.conflicts))
				})
			}
		})
	}
	crew.Wait()
	if met.Load() == 0 && *scheduleSeed < 0 {
		t.Error("no two rotators have met")
	}
}

// A schedule is what happens in one bubble.
type schedule struct {
	*rotationtest.Lab
	seed      int64
	mu        sync.Mutex
	rand      *rand.Rand
	last      time.Time // of the service's clock
	promoted  []time.Time
	conflicts int
}

func newSchedule(t *testing.T, seed int64) *schedule {
	t.Helper()
	s := &schedule{Lab: newMemoryLab(t), seed: seed, rand: rand.New(rand.NewPCG(uint64(seed), 1)), last: time.Now()}
	s.Options.Now = s.now
	s.Options.ProveFor = 2 * time.Minute
	s.Service.Lag(s.upTo(time.Minute), s.upTo(time.Minute))
	s.Options.OnEvent = func(e rotation.Event) {
		if e.Step == "promote" && e.Err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.promoted = append(s.promoted, e.Time)
		}
	}
	return s
}

// now keeps the service's clock in step with that of the bubble.
func (s *schedule) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Service.Pass(time.Since(s.last))
	s.last = time.Now()
	return s.Service.Clock()
}

func (s *schedule) upTo(d time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.rand.Int64N(int64(d)))
}

func (s *schedule) errorf(format string, args ...any) {
	s.T.Helper()
	s.T.Errorf("seed %d (go test -run TwoRotators ./rotation -rotation.seed %d): %s", s.seed, s.seed, fmt.Sprintf(format, args...))
}

// play lets 2 due dates pass.
func (s *schedule) play() {
	const dates = 2
	end := time.Now().Add(dates*30*day + 36*time.Hour)
	var crew sync.WaitGroup
	for time.Now().Before(end) {
		// A start every 8 hours by each timer, once or twice, now or up to 5 hours late.
		for range 2 + int(s.upTo(3)) {
			late := s.upTo(10 * time.Second)
			if s.upTo(4) == 0 {
				late = s.upTo(5 * time.Hour)
			}
			crew.Go(func() {
				time.Sleep(late)
				s.start()
			})
		}
		time.Sleep(8 * time.Hour)
		s.check()
	}
	crew.Wait()
	time.Sleep(2 * day)
	for range 2 {
		s.start()
		time.Sleep(2 * time.Hour)
	}
	s.mu.Lock()
	promoted := slices.Clone(s.promoted)
	s.mu.Unlock()
	if len(promoted) != 1+dates {
		s.errorf("%d rotations, want the first one and %d", len(promoted), dates)
	}
	for i := 1; i < len(promoted); i++ {
		// A key is due 30 days after it was made, which is a little before it was promoted.
		if gap := promoted[i].Sub(promoted[i-1]); gap < 30*day-2*time.Minute || gap > 30*day+16*time.Hour {
			s.errorf("rotation %d came after %v", i, gap)
		}
	}
	if alive := s.Service.Alive(); len(alive) != 1 {
		s.errorf("these keys are left: %v", alive)
	}
}

// start is one start of a rotator, with remote calls that take up to 2 seconds.
func (s *schedule) start() {
	r, err := rotation.New(slowIssuer{s.Service, s}, slowStore{s.Store, s}, &s.Options)
	if err != nil {
		s.errorf("%v", err)
		return
	}
	report, err := r.Run(s.T.Context())
	if err != nil && !strings.Contains(err.Error(), "another rotator is at work") {
		s.errorf("%v", err)
	}
	if err != nil {
		s.mu.Lock()
		s.conflicts++
		s.mu.Unlock()
	}
	if strings.Contains(fmt.Sprintf("%+v %v", report, err), "CANARY") {
		s.errorf("a report or an error shows a key")
	}
}

// check checks what has to hold at all times.
func (s *schedule) check() {
	now := s.now()
	state, err := s.Store.Load(s.T.Context())
	if err != nil {
		s.errorf("%v", err)
		return
	}
	if state.Current == nil || !s.Service.Accepts(state.Current.Secret.Reveal()) {
		s.errorf("the current key does not work at %v", now)
	}
	keys, _ := s.Service.Keys(s.T.Context())
	for _, k := range keys {
		known := false
		for _, v := range []*rotation.Version{state.Current, state.Pending, state.Previous} {
			known = known || v != nil && v.KeyID == k.ID
		}
		if age := now.Sub(k.Created); !known && age > 10*time.Hour || k.Expires.IsZero() {
			s.errorf("nobody knows key %s, which is %v old", k.ID, age)
		}
	}
}
