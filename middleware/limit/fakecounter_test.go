package limit_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

var errDown = errors.New("connection refused")

// A fakeCounter keeps each charge that it was given, by second.
type fakeCounter struct {
	now func() time.Time

	mu       sync.Mutex
	counts   map[string]map[int64]int64 // by key, and second or start
	reserves int
	settled  []limit.Charge
	// fail says for each Reserve whether it fails, and whether it has added the
	// charges then.
	fail func() (fails, added bool)
}

func newCounter(c *clock) *fakeCounter {
	return &fakeCounter{now: c.Now, counts: map[string]map[int64]int64{}, fail: func() (bool, bool) { return false, false }}
}

func (f *fakeCounter) down(added bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = func() (bool, bool) { return true, added }
}

func (f *fakeCounter) up() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = func() (bool, bool) { return false, false }
}

// bucket is what a charge is added to.
func bucket(c limit.Charge) int64 {
	if c.Window == limit.Minute {
		return c.At
	}
	return c.Start.Unix()
}

func (f *fakeCounter) used(c limit.Charge, now int64) (n int64) {
	for at, m := range f.counts[c.Key] {
		if c.Window != limit.Minute && at == c.Start.Unix() || c.Window == limit.Minute && at >= now-60 {
			n += m
		}
	}
	return n
}

func (f *fakeCounter) Reserve(ctx context.Context, charges []limit.Charge) (int, time.Time, error) {
	if err := ctx.Err(); err != nil {
		return -1, time.Time{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reserves++
	fails, added := f.fail()
	if fails && !added {
		return -1, time.Time{}, errDown
	}
	now := f.now().Unix()
	for i, c := range charges {
		if f.used(c, now)+c.Amount > c.Max {
			reset := c.End
			if c.Window == limit.Minute {
				reset = time.Unix(now+61, 0)
			}
			return i, reset, nil
		}
	}
	for i := range charges {
		charges[i].At = now
		f.add(charges[i])
	}
	if fails {
		return -1, time.Time{}, errDown
	}
	return -1, time.Time{}, nil
}

func (f *fakeCounter) add(c limit.Charge) {
	if f.counts[c.Key] == nil {
		f.counts[c.Key] = map[int64]int64{}
	}
	f.counts[c.Key][bucket(c)] += c.Amount
}

func (f *fakeCounter) Settle(charges []limit.Charge) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range charges {
		f.settled = append(f.settled, c)
		f.add(c)
	}
}

// total is what is counted under all keys and in all windows.
func (f *fakeCounter) total() (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.counts {
		for _, v := range m {
			n += v
		}
	}
	return n
}
