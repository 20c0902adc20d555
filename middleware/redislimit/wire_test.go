package redislimit_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

// noRetries returns a client through p that sends a command once.
func noRetries(t *testing.T, p *proxy) *redis.Client {
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: p.socket, MaxRetries: -1, ReadTimeout: -1})
	t.Cleanup(func() { client.Close() })
	return client
}

// dropNext loses the next n answers of the script, and ends their connections.
func (p *proxy) dropNext(n int64) {
	var left atomic.Int64
	left.Store(n)
	f := func(b []byte) bool { return !isOurs(b) || left.Add(-1) < 0 }
	p.answer.Store(&f)
}

func TestACallThatIsSentAgainIsCountedOnce(t *testing.T) {
	s := start(t)
	p := s.through()
	direct := s.client(s.socket)
	c := newCounter(t, s.client(p.socket), redislimit.Options{}) // this client sends again
	got := reserve(t, c, day("a", 100, 10))
	p.dropNext(2)
	c.Settle([]limit.Charge{settle(got[0], -4)})
	again := reserve(t, c, day("a", 100, 10))
	if n := used(t, direct, got[0]); n != 16 || again[0].At == 0 {
		t.Errorf("used %d, At %d; want 16", n, again[0].At)
	}
	p.dropNext(1)
	refused(t, c, 0, day("a", 100, 85))
}

func TestARefusalThatIsSentAgainIsNotAFullCount(t *testing.T) {
	s := start(t)
	p := s.through()
	c, err := redislimit.New(s.client(p.socket), &redislimit.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	p.dropNext(1)
	if full, _, err := c.Reserve(t.Context(), []limit.Charge{day("a", 100, 1)}); err == nil || full != -1 {
		t.Errorf("Reserve = %d, %v; want an error", full, err)
	}
}

func TestASettlementOfUnknownOutcomeIsAppliedOnce(t *testing.T) {
	s := start(t)
	p := s.through()
	direct := s.client(s.socket)
	c := newCounter(t, noRetries(t, p), redislimit.Options{})
	got := reserve(t, c, day("a", 100, 40), day("b", 100, 40), minute("m", 100, 40))
	for range 3 {
		// The answer is lost: it was applied, and the caller does not know.
		p.dropNext(1)
		c.Settle([]limit.Charge{settle(got[0], -10), settle(got[1], 10), settle(got[2], -10)})
		if err := c.Flush(t.Context()); err == nil {
			t.Fatal("Flush without an answer is no error")
		}
		flush(t, c)
		flush(t, c)
	}
	// The request is lost: it was not.
	s.kill()
	c.Settle([]limit.Charge{settle(got[0], -5), settle(got[1], 5), settle(got[2], -5)})
	if err := c.Flush(t.Context()); err == nil {
		t.Fatal("Flush without a Redis is no error")
	}
	s.boot()
	await(t, func() bool { return c.Flush(t.Context()) == nil })
	if a, b, m := used(t, direct, got[0]), used(t, direct, got[1]), used(t, direct, got[2]); a != 5 || b != 75 || m != 5 {
		t.Errorf("used %d, %d and %d; want 5, 75 and 5", a, b, m)
	}
}

func TestAReservationWhoseAnswerWasLostIsGivenBack(t *testing.T) {
	s := start(t)
	p := s.through()
	direct := s.client(s.socket)
	c := newCounter(t, noRetries(t, p), redislimit.Options{})
	reserve(t, c, day("a", 100, 1), minute("m", 100, 1))
	p.dropNext(1)
	if full, _, err := c.Reserve(t.Context(), []limit.Charge{day("a", 100, 50), minute("m", 100, 50)}); err == nil || full != -1 {
		t.Fatalf("Reserve = %d, %v; want an error", full, err)
	}
	flush(t, c)
	if a, m := used(t, direct, day("a", 0, 0)), used(t, direct, minute("m", 0, 0)); a != 1 || m != 1 {
		t.Errorf("used %d and %d, want 1 and 1", a, m)
	}
}

// A request can arrive after the process has given it up, and asked again.
func TestARequestThatArrivesLateIsNotCarriedOut(t *testing.T) {
	for name, calls := range map[string]int{"at once": 0, "after many others": 1100} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			p := s.through()
			direct := s.client(s.socket)
			c := newCounter(t, noRetries(t, p), redislimit.Options{})
			got := reserve(t, c, day("a", 100, 10))
			c.Settle([]limit.Charge{settle(got[0], -1)})

			release, done := make(chan struct{}), make(chan struct{})
			var held atomic.Bool
			hold := func(in, out net.Conn, b []byte) (pass bool) {
				if !bytes.Contains(b, []byte("evalsha")) || !held.CompareAndSwap(false, true) {
					return true
				}
				in.Close()
				<-release
				_, _ = out.Write(b)
				<-done // and not before does the connection end
				return false
			}
			p.request.Store(&hold)
			if _, _, err := c.Reserve(t.Context(), []limit.Charge{day("a", 100, 50)}); err == nil {
				t.Fatal("Reserve without an answer is no error")
			}
			p.request.Store(nil)
			flush(t, c)
			for range calls {
				reserve(t, c, day("b", unlimited, 1))
			}
			answered := func(b []byte) bool {
				if isOurs(b) {
					close(done)
				}
				return true
			}
			p.answer.Store(&answered)
			close(release)
			<-done
			if n := used(t, direct, got[0]); n != 9 {
				t.Errorf("used %d, want 9", n)
			}
		})
	}
}

func TestReserveReturnsWhenItsContextEnds(t *testing.T) {
	s := start(t)
	p := s.through()
	direct := s.client(s.socket)
	c := newCounter(t, noRetries(t, p), redislimit.Options{Timeout: time.Hour})
	reserve(t, c, day("a", 100, 1))

	// The answer is there, but nobody gets it.
	arrived, release := make(chan struct{}), make(chan struct{})
	hold := func(b []byte) bool {
		if isOurs(b) {
			close(arrived)
			<-release
		}
		return true
	}
	p.answer.Store(&hold)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, _, err := c.Reserve(ctx, []limit.Charge{day("a", 100, 50)}); !errors.Is(err, context.Canceled) {
		t.Errorf("Reserve: %v", err)
	}
	if n := used(t, direct, day("a", 0, 0)); n != 51 {
		t.Errorf("used %d, want 51", n)
	}
	// It comes late, and what it reserved is given back.
	p.answer.Store(nil)
	close(release)
	await(t, func() bool { return used(t, direct, day("a", 0, 0)) == 1 })
	if _, _, err := c.Reserve(ctx, []limit.Charge{day("a", 100, 50)}); !errors.Is(err, context.Canceled) {
		t.Errorf("Reserve with a ctx that has ended: %v", err)
	}
	if n := used(t, direct, day("a", 0, 0)); n != 1 {
		t.Errorf("a ctx that has ended reserved: %d", n)
	}
}

func TestATimeoutIsNoneOfTheContext(t *testing.T) {
	s := start(t)
	p := s.through()
	release := make(chan struct{})
	hold := func(b []byte) bool {
		if isOurs(b) {
			<-release
		}
		return true
	}
	p.answer.Store(&hold)
	c := newCounter(t, noRetries(t, p), redislimit.Options{Timeout: time.Millisecond})
	_, _, err := c.Reserve(t.Context(), []limit.Charge{day("a", 100, 50)})
	close(release)
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Reserve: %v", err)
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	s := start(t)
	c, client := s.counter(redislimit.Options{})
	reserve(t, c, day("used", unlimited, 1))
	s.kill()
	// More use is not dropped for what is given back.
	for i := range int64(5000) {
		c.Settle([]limit.Charge{settle(minute("given back", 0, -1), -1-i)})
		at := minute("given back", 0, -1)
		at.At = time.Now().Unix() + i
		c.Settle([]limit.Charge{at})
	}
	c.Settle([]limit.Charge{day("used", 0, 10)})
	for i := range int64(5000) {
		at := minute("more", 0, 1)
		at.At = 1 + i
		c.Settle([]limit.Charge{at})
	}
	if n := redislimit.Waiting(c); n > 4096 {
		t.Errorf("%d wait", n)
	}
	s.boot()
	await(t, func() bool { return c.Flush(t.Context()) == nil })
	if n := used(t, client, day("used", 0, 0)); n != 11 {
		t.Errorf("used %d, want 11", n)
	}
	if n := redislimit.Waiting(c); n != 0 {
		t.Errorf("%d wait after Flush", n)
	}
}
