package redislimit_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

// forgot wants a reservation to fail because counts are lost.
func forgot(t *testing.T, c *redislimit.Counter, charges ...limit.Charge) {
	t.Helper()
	if full, _, err := c.Reserve(t.Context(), charges); !errors.Is(err, redislimit.ErrForgot) || full != -1 {
		t.Fatalf("Reserve = %d, %v; want ErrForgot", full, err)
	}
}

// A clocked is a Redis whose clock the test turns.
type clocked struct {
	t      *testing.T
	client *redis.Client
	now    int64
}

func startClocked(t *testing.T) *clocked {
	t.Helper()
	s := start(t)
	k := &clocked{t: t, client: s.client(s.socket), now: 1_000_000}
	k.set(k.now)
	return k
}

func (k *clocked) set(now int64) {
	k.t.Helper()
	k.now = now
	if err := k.client.Set(k.t.Context(), "clock", now, 0).Err(); err != nil {
		k.t.Fatal(err)
	}
}

// counter returns a Counter of a new process; until 0 is no NewUntil.
func (k *clocked) counter(until int64) *redislimit.Counter {
	k.t.Helper()
	opts := redislimit.Options{Timeout: time.Minute}
	if until != 0 {
		opts.NewUntil = time.Unix(until, 0)
	}
	c, err := redislimit.New(k.client, &opts)
	if err != nil {
		k.t.Fatal(err)
	}
	redislimit.UseClock(c, k.client)
	return c
}

// lose is what FLUSHALL does.
func (k *clocked) lose() {
	k.t.Helper()
	if err := k.client.FlushAll(k.t.Context()).Err(); err != nil {
		k.t.Fatal(err)
	}
	k.set(k.now)
}

// today is a day that is the present one for the whole test.
func today(key string, most, amount int64) limit.Charge {
	return limit.Charge{Key: key, Window: limit.Day, Start: time.Unix(990_000, 0), End: time.Unix(1_076_400, 0), Max: most, Amount: amount}
}

func tomorrow(key string, most, amount int64) limit.Charge {
	ch := today(key, most, amount)
	ch.Start, ch.End = ch.End, ch.End.Add(24*time.Hour)
	return ch
}

func TestARedisWithoutARecordRefusesWhatBeganBefore(t *testing.T) {
	k := startClocked(t)
	c := k.counter(0)
	forgot(t, c, minute("a", 10, 1))
	forgot(t, c, today("a", 10, 1))
	k.set(1_000_060)
	forgot(t, c, minute("a", 10, 1))
	k.set(1_000_061)
	reserve(t, c, minute("a", 10, 1))
	forgot(t, c, minute("a", 10, 1), today("a", 10, 1))
	k.set(1_076_400)
	reserve(t, c, tomorrow("a", 10, 1))
}

func TestANewRedisBeginsAtOnce(t *testing.T) {
	k := startClocked(t)
	c := k.counter(1_000_300)
	reserve(t, c, minute("a", 10, 1), today("a", 10, 1))
	k.set(1_001_000)
	// A process that starts later reads the same record, with and without it.
	reserve(t, k.counter(1_000_300), minute("a", 10, 1), today("a", 10, 1))
	forgot(t, k.counter(0), today("a", 10, 1))
	// Set later, it helps as well.
	reserve(t, k.counter(1_000_300), today("a", 10, 1))
}

func TestALossIsALossForEveryProcess(t *testing.T) {
	k := startClocked(t)
	const until = 1_000_300
	a, b := k.counter(until), k.counter(until)
	reserve(t, a, today("a", 10, 6))
	reserve(t, b, today("a", 10, 1))

	// Until the time of new ones, somebody who was there knows better.
	k.set(1_000_100)
	k.lose()
	forgot(t, a, today("a", 10, 6))
	forgot(t, b, today("a", 10, 6))
	forgot(t, k.counter(until), today("a", 10, 6))

	// Also if a new process comes first.
	k.set(1_000_161)
	reserve(t, a, minute("m", 10, 6))
	k.lose()
	reserve(t, k.counter(until), minute("m", 10, 1))
	forgot(t, a, minute("m", 10, 6))
	forgot(t, k.counter(until), minute("m", 10, 6))

	// Later nobody needs to have been there.
	k.set(1_002_000)
	reserve(t, a, minute("m", 10, 1))
	k.lose()
	fresh := k.counter(until)
	forgot(t, fresh, minute("m", 10, 1))
	forgot(t, a, minute("m", 10, 1))
	k.set(1_002_060)
	forgot(t, fresh, minute("m", 10, 1))
	forgot(t, b, minute("m", 10, 1))
	k.set(1_002_061)
	reserve(t, fresh, minute("m", 10, 1))
	reserve(t, a, minute("m", 10, 1))
	reserve(t, b, minute("m", 10, 8))
	refused(t, a, 0, minute("m", 10, 1))
	k.set(1_076_400)
	reserve(t, b, tomorrow("a", 10, 10))
	refused(t, a, 0, tomorrow("a", 10, 1))
}

// What was reserved before a loss is not in the counts after it, and so it must
// not be given back.
func TestNothingIsGivenBackThatWasLost(t *testing.T) {
	k := startClocked(t)
	const until = 1_000_300
	a := k.counter(until)
	got := reserve(t, a, today("a", 10, 6), minute("m", 10, 6))
	k.lose()
	b := k.counter(until) // it takes the Redis for new
	reserve(t, b, today("a", 10, 10), minute("m", 10, 10))
	a.Settle([]limit.Charge{settle(got[0], -6), settle(got[1], -6)})
	flush(t, a) // it knows better
	forgot(t, b, today("a", 10, 1))
	forgot(t, b, minute("m", 10, 1))
	k.set(1_000_061)
	a.Settle([]limit.Charge{settle(got[1], -6)})
	flush(t, a)
	reserve(t, b, minute("m", 10, 10))
	refused(t, b, 0, minute("m", 10, 1))
}

// A backup can hold an epoch that was there before the one that processes know.
func TestAnOlderEpochIsALossAgain(t *testing.T) {
	k := startClocked(t)
	a := k.counter(1)
	reserve(t, k.counter(1_000_300), minute("m", 10, 1))
	k.lose()
	forgot(t, a, minute("m", 10, 1))
	k.set(1_000_100)
	k.lose()
	forgot(t, a, minute("m", 10, 1)) // this loss is for sure
	old := k.client.Get(t.Context(), "{latchkey:limit:}epoch").Val()
	k.set(1_000_200)
	k.lose()
	forgot(t, a, minute("m", 10, 1))
	k.set(1_000_300)
	reserve(t, a, minute("m", 10, 8))

	k.lose()
	k.client.Set(t.Context(), "{latchkey:limit:}epoch", old, 0)
	forgot(t, a, minute("m", 10, 8))
	forgot(t, k.counter(1), minute("m", 10, 8))
}

// Who hears of a loss later does not make another one of it.
func TestALossIsDeclaredOnce(t *testing.T) {
	k := startClocked(t)
	a, b := k.counter(1_000_300), k.counter(1_000_300)
	reserve(t, a, minute("m", 10, 1))
	reserve(t, b, minute("m", 10, 1))
	k.lose() // in the same second
	forgot(t, a, minute("m", 10, 1))
	k.set(1_000_030)
	forgot(t, b, minute("m", 10, 1))
	k.set(1_000_061)
	reserve(t, a, minute("m", 10, 1))
	reserve(t, b, minute("m", 10, 1))
}

func TestADayThatBeganInTheSecondOfALossIsUnknown(t *testing.T) {
	k := startClocked(t)
	k.set(tomorrow("a", 0, 0).Start.Unix())
	forgot(t, k.counter(0), tomorrow("a", 10, 1))
}

// A session that nobody used for an hour is gone, and that is no loss.
func TestAProcessThatWasIdleFindsNoLoss(t *testing.T) {
	k := startClocked(t)
	a := k.counter(1_000_300)
	reserve(t, a, today("a", 10, 1))
	names := k.client.Keys(t.Context(), "{latchkey:limit:}s:*").Val()
	if len(names) != 1 || k.client.Del(t.Context(), names...).Err() != nil {
		t.Fatalf("sessions: %v", names)
	}
	k.set(1_003_600)
	reserve(t, a, today("a", 10, 1))
	k.client.Del(t.Context(), names...)
	forgot(t, a, today("a", 10, 1))
}

// copyDir copies the files of the data of a server.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func TestARedisThatWroteLessThanItSaidIsFoundOut(t *testing.T) {
	s := start(t)
	a, _ := s.counter(redislimit.Options{})
	b, _ := s.counter(redislimit.Options{})
	reserve(t, a, day("a", 10, 1))
	reserve(t, b, day("a", 10, 1))
	data, old := filepath.Join(s.dir, "appendonlydir"), filepath.Join(t.TempDir(), "old")
	copyDir(t, data, old)
	reserve(t, a, day("a", 10, 8))

	s.kill()
	copyDir(t, old, data)
	s.boot()
	forgot(t, a, day("a", 10, 8))
	// The process that lost nothing, and new ones, hear of it.
	forgot(t, b, day("a", 10, 8))
	fresh, _ := s.counter(redislimit.Options{})
	forgot(t, fresh, day("a", 10, 8))
}

func TestARestartWithTheDataLosesNothing(t *testing.T) {
	s := start(t)
	a, client := s.counter(redislimit.Options{})
	got := reserve(t, a, day("a", 10, 6), minute("m", 10, 6))
	s.kill()
	a.Settle([]limit.Charge{settle(got[0], -2)})
	s.boot()
	refused(t, a, 0, day("a", 10, 7))
	reserve(t, a, day("a", 10, 6))
	if n := used(t, client, got[0]); n != 10 {
		t.Errorf("used %d, want 10", n)
	}
	fresh, _ := s.counter(redislimit.Options{})
	refused(t, fresh, 0, day("a", 10, 1))
}
