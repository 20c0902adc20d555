package redislimit_test

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

// A fake answers as the script does, in no time.
type fake struct {
	redis.Scripter
	mu     sync.Mutex
	down   bool
	calls  []time.Time
	sent   int    // settlements
	most   int    // of one call
	status string // "" is ok
	new    int    // calls that were answered and knew no epoch
	asked  int    // calls that were answered and had charges
	// What the settlements of a call amount to, by kind.
	amounts map[string]int64
}

func (f *fake) EvalSha(ctx context.Context, _ string, _ []string, args ...any) *redis.Cmd {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, time.Now())
	if f.down {
		return redis.NewCmdResult(nil, errors.New("down"))
	}
	n := args[7].(int)
	f.sent, f.most = f.sent+n, max(f.most, n)
	if args[3] == "" {
		f.new++
	}
	if args[8] != 0 {
		f.asked++
	}
	for i := range n {
		if f.amounts == nil {
			f.amounts = map[string]int64{}
		}
		f.amounts[args[9+4*i].(string)] += args[9+4*i+3].(int64)
	}
	now := time.Now().Unix()
	full := int64(-1)
	if args[8] == 0 {
		full = -2
	}
	status := f.status
	if status == "" {
		status = "ok"
	}
	return redis.NewCmdResult([]any{status, "ab", int64(1), now, now, full, int64(0)}, nil)
}

// set takes the Redis down or up again, and forgets the calls.
func (f *fake) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down, f.calls = down, nil
}

// The bubble does not end before each goroutine and timer has.
func TestSettlementsWaitForCompanyAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		c, err := redislimit.New(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		got := reserve(t, c, day("a", 10, 1), minute("m", 10, 1))
		for range 5 {
			c.Settle([]limit.Charge{settle(got[0], -1), settle(got[1], -1)})
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(f.calls) != 2 || f.calls[1].Sub(began) != 200*time.Millisecond || f.sent != 2 {
			t.Errorf("%d calls with %d settlements, the last after %v", len(f.calls), f.sent, f.calls[len(f.calls)-1].Sub(began))
		}
		// One that finds company needs no call of its own.
		c.Settle([]limit.Charge{settle(got[0], -1)})
		got = reserve(t, c, day("a", 10, 1))
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(f.calls) != 3 || f.sent != 3 {
			t.Errorf("%d calls with %d settlements, want 3 with 3", len(f.calls), f.sent)
		}

		f.set(true)
		c.Settle([]limit.Charge{settle(got[0], -1)})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(f.calls); n < 5 || n > 10 {
			t.Errorf("%d attempts while Redis is down", n)
		}
		// When it answers again, what waits is sent at once.
		f.set(false)
		reserve(t, c, day("a", 10, 1))
		synctest.Wait()
		if f.sent != 4 || len(f.calls) != 2 {
			t.Errorf("%d calls, %d settlements were sent; want 2 and 4", len(f.calls), f.sent)
		}
	})
}

// A slow is a Scripter whose answers come when the test says so.
type slow struct {
	redis.Scripter
	asked chan []any
	reply map[int64]chan []any // by the number of the call
}

func (s *slow) EvalSha(_ context.Context, _ string, _ []string, args ...any) *redis.Cmd {
	s.asked <- args
	return redis.NewCmdResult(<-s.reply[args[0].(int64)], nil)
}

// The last call that was answered is looked for: but not one of an epoch that is
// over, in the present one.
func TestTheLastAnswerIsOneOfThePresentEpoch(t *testing.T) {
	for name, test := range map[string]struct {
		second, third string // what the calls 2 and 3 are answered
		thirdFirst    bool
		acked         int64
		epoch         string
	}{
		"old after new": {"bb", "aa", false, 2, "bb"},
		"new after old": {"bb", "aa", true, 2, "bb"},
		"one epoch":     {"aa", "aa", true, 3, "aa"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slow{asked: make(chan []any, 1), reply: map[int64]chan []any{}}
				for n := range int64(4) {
					s.reply[n+1] = make(chan []any, 1)
				}
				c, err := redislimit.New(s, &redislimit.Options{Timeout: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				ask := func() []any {
					go func() { _, _, _ = c.Reserve(context.Background(), []limit.Charge{minute("a", 1, 1)}) }()
					return <-s.asked
				}
				answer := func(n int64, epoch string) {
					s.reply[n] <- []any{"ok", epoch, int64(epoch[0]), int64(1), int64(1), int64(-1), int64(0)}
					synctest.Wait()
				}
				ask()
				answer(1, "aa")
				ask()
				ask()
				if test.thirdFirst {
					answer(3, test.third)
				}
				answer(2, test.second)
				if !test.thirdFirst {
					answer(3, test.third)
				}
				args := ask()
				if args[1] != test.acked || args[3] != test.epoch || args[4] != int64(test.epoch[0]) {
					t.Errorf("call 4 knows %v", args[1:5])
				}
				answer(4, "bb")
			})
		})
	}
}

func TestMoreUseIsNeverForgottenWhileRedisIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{down: true}
		c, err := redislimit.New(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		const n = 700
		for range n {
			c.Settle([]limit.Charge{settle(day("a", 0, 0), 1)})
			if _, _, err := c.Reserve(t.Context(), []limit.Charge{day("a", 10, 1)}); err == nil {
				t.Fatal("no error")
			}
		}
		f.set(false)
		reserve(t, c, day("a", 10, 1))
		time.Sleep(time.Hour)
		synctest.Wait()
		if f.amounts["d"] != n {
			t.Errorf("%d were told, want %d", f.amounts["d"], n)
		}
		// A call that is sent again goes by what is known now, and asks for nothing.
		if f.new != 1 || f.asked != 1 {
			t.Errorf("%d calls knew no epoch, %d had charges, want 1 and 1", f.new, f.asked)
		}
	})
}

// Redis does not know any more whether a call was carried out: it may count more
// use twice, and gives nothing back.
func TestUseWhoseFateNobodyKnowsIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{status: "unknown"}
		c, err := redislimit.New(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Settle([]limit.Charge{settle(day("a", 0, 0), 5), settle(minute("a", 0, 0), -5)})
		if _, _, err := c.Reserve(t.Context(), []limit.Charge{day("a", 10, 1)}); err == nil {
			t.Error("no error")
		}
		f.mu.Lock()
		f.status = ""
		f.mu.Unlock()
		flush(t, c)
		if f.amounts["d"] != 10 || f.amounts["m"] != -5 {
			t.Errorf("%d and %d were told, want 10 and -5", f.amounts["d"], f.amounts["m"])
		}
	})
}

func TestOneCallIsBoundedAndAmountsDoNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		c, err := redislimit.New(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(1000) {
			ch := minute("a", 0, -1)
			ch.At = i + 1
			c.Settle([]limit.Charge{ch})
		}
		for range 3000 {
			c.Settle([]limit.Charge{settle(day("a", 0, 0), math.MaxInt64)})
		}
		month := day("a", 0, -5)
		month.Window = limit.Month
		c.Settle([]limit.Charge{month, settle(month, math.MinInt64)})
		flush(t, c)
		time.Sleep(time.Hour)
		synctest.Wait()
		if f.sent != 1002 || f.most > 256 {
			t.Errorf("%d settlements, up to %d in a call", f.sent, f.most)
		}
		if f.amounts["d"] != 1<<53-1 || f.amounts["o"] >= 0 {
			t.Errorf("%d and %d were told", f.amounts["d"], f.amounts["o"])
		}
	})
}

// A refusal is an error that Redis sends.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

func TestWhatRedisSaysIsNotRepeated(t *testing.T) {
	for _, text := range []string{"ERR CANARY-key", "OOM CANARY-key", "NOPERM CANARY-key", "READONLY CANARY-key", "LOADING CANARY-key", "NOAUTH CANARY-key", "CANARY-key"} {
		c, err := redislimit.New(saying{err: refusal(text)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Reserve(t.Context(), []limit.Charge{minute("a", 1, 1)})
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Error("no error, or one with what Redis said")
		} else if code, _, _ := strings.Cut(text, " "); code != text && code != "ERR" && !strings.Contains(err.Error(), code) {
			t.Errorf("%s is not in %q", code, err)
		}
	}
}

type saying struct {
	redis.Scripter
	err error
}

func (s saying) EvalSha(context.Context, string, []string, ...any) *redis.Cmd {
	return redis.NewCmdResult(nil, s.err)
}

func TestAContextThatHasEndedSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		c, err := redislimit.New(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := c.Reserve(ctx, []limit.Charge{minute("a", 1, 1)}); !errors.Is(err, context.Canceled) {
			t.Errorf("Reserve: %v", err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(f.calls) != 0 {
			t.Errorf("%d calls", len(f.calls))
		}
	})
}

func TestAReserveThatFailedIsAskedAboutWithoutAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{down: true}
		c, err := redislimit.New(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Reserve(t.Context(), []limit.Charge{minute("a", 1, 1)}); err == nil {
			t.Error("no error")
		}
		f.set(false)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(f.calls) != 1 || f.asked != 0 {
			t.Errorf("%d calls, %d of them reserved", len(f.calls), f.asked)
		}
	})
}

// A deaf is a Redis that does not answer, behind a client that listens to ctx.
type deaf struct{ redis.Scripter }

func (deaf) EvalSha(ctx context.Context, _ string, _ []string, _ ...any) *redis.Cmd {
	<-ctx.Done()
	return redis.NewCmdResult(nil, ctx.Err())
}

func TestItIsToldWhoseTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := redislimit.New(deaf{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			began := time.Now()
			_, _, err := c.Reserve(t.Context(), []limit.Charge{day("a", 1, 1)})
			if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 250*time.Millisecond {
				t.Fatalf("Reserve: %v after %v", err, time.Since(began))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, _, err = c.Reserve(ctx, []limit.Charge{day("a", 1, 1)})
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Reserve: %v", err)
			}
		}
		time.Sleep(time.Hour)
	})
}

func TestAnAnswerThatIsNoneOfTheScriptIsAnError(t *testing.T) {
	for _, values := range [][]any{nil, {"ok"}, {"ok", "ab", int64(1), int64(1), int64(1), int64(-1), "0"},
		{"odd", "ab", int64(1), int64(1), int64(1), int64(-1), int64(0)},
		{"ok", "ab", int64(1), int64(1), int64(1), int64(7), int64(0)},
		{"ok", "ab", int64(1), int64(1), int64(1), int64(-2), int64(0)},
		{"ok", "ab", int64(1), int64(1), int64(1), int64(-3), int64(0)}} {
		c, err := redislimit.New(odd{values: values}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if full, _, err := c.Reserve(t.Context(), []limit.Charge{minute("a", 1, 1)}); err == nil || full != -1 {
			t.Errorf("%v: Reserve = %d, %v", values, full, err)
		}
	}
}

type odd struct {
	redis.Scripter
	values []any
}

func (o odd) EvalSha(context.Context, string, []string, ...any) *redis.Cmd {
	return redis.NewCmdResult(o.values, nil)
}
