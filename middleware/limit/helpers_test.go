package limit_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

// A clock that the test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func at(t testing.TB, s string, loc *time.Location) *clock {
	t.Helper()
	c := &clock{}
	c.set(t, s, loc)
	return c
}

func (c *clock) set(t testing.TB, s string, loc *time.Location) {
	t.Helper()
	now, err := time.ParseInLocation("2006-01-02 15:04:05", s, loc)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func newLimiter(t testing.TB, opts *limit.Options, limits ...limit.Limit) *limit.Limiter {
	t.Helper()
	l, err := limit.New(limits, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// try reserves and returns the reservation, or nil if a limit refused.
func try(t testing.TB, l *limit.Limiter, s limit.Send) *limit.Reservation {
	t.Helper()
	r, err := reserve(l, s)
	if e := (*limit.Error)(nil); err != nil && !errors.As(err, &e) {
		t.Fatalf("Reserve: %v", err)
	}
	return r
}

func reserve(l *limit.Limiter, s limit.Send) (*limit.Reservation, error) {
	r := new(limit.Reservation)
	if err := l.Reserve(context.Background(), s, r); err != nil {
		return nil, err
	}
	return r, nil
}

// fill reserves and keeps until a limit refuses, at most most times, and returns
// how often.
func fill(t testing.TB, l *limit.Limiter, s limit.Send, most int) int {
	t.Helper()
	for n := range most {
		r := try(t, l, s)
		if r == nil {
			return n
		}
		r.Keep()
	}
	return most
}

// refused returns the error of a send that must be refused.
func refused(t testing.TB, l *limit.Limiter, s limit.Send) *limit.Error {
	t.Helper()
	_, err := reserve(l, s)
	var e *limit.Error
	if !errors.As(err, &e) {
		t.Fatalf("Reserve: %v, want an *Error", err)
	}
	return e
}

// used returns what is used of a limit that has one count and one ceiling.
func used(t testing.TB, l *limit.Limiter, name string) int64 {
	t.Helper()
	n := int64(0)
	for _, s := range l.State() {
		if s.Limit == name {
			n += s.Used
		}
	}
	return n
}

var worst = limit.Options{WorstInput: 1000, WorstOutput: 1000}

func with(f func(*limit.Options)) *limit.Options {
	o := worst
	f(&o)
	return &o
}
