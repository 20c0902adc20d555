package redislimit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

func TestMain(m *testing.M) {
	switch os.Getenv("LATCHKEY_TEST_CHILD") {
	case "counter":
		child(counterChild)
	case "limiter":
		child(limiterChild)
	case "client":
		child(clientChild)
	default:
		os.Exit(m.Run())
	}
}

// A use is what was used, for good, of what was reserved in a second.
type use struct {
	At     int64
	Minute bool
	Amount int64
}

// A report is what a process tells at its end.
type report struct {
	Uses            []use
	Refused, Failed int
	// Down are sends that were refused because of the counter.
	NotFlushed, Down int
}

// A worker is one goroutine of a process; turn is one reservation.
type worker interface {
	turn(ctx context.Context, r *rand.Rand, rep *report) error
}

// child works until its standard input ends, and then reports.
func child(open func(client *redis.Client) (worker, func(*report), error)) {
	opts := &redis.Options{Network: "unix", Addr: os.Getenv("LATCHKEY_TEST_SOCKET"), PoolSize: 20}
	if os.Getenv("LATCHKEY_TEST_ONCE") != "" {
		opts.MaxRetries, opts.DialerRetries = -1, 1
	}
	client := redis.NewClient(opts)
	w, end, err := open(client)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	reports := make([]report, goroutines)
	var wg sync.WaitGroup
	for i := range reports {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), 0))
			for ctx.Err() == nil {
				// No turn is given up half-way: its own end is what is tested here.
				if err := w.turn(context.Background(), r, &reports[i]); err != nil {
					reports[i].Failed++
					select {
					case <-ctx.Done():
					case <-time.After(30 * time.Millisecond):
					}
				}
			}
		})
	}
	wg.Wait()
	var sum report
	for _, rep := range reports {
		sum.Uses = append(sum.Uses, rep.Uses...)
		sum.Refused += rep.Refused
		sum.Failed += rep.Failed
		sum.Down += rep.Down
	}
	end(&sum)
	_ = json.NewEncoder(os.Stdout).Encode(sum)
	os.Exit(0)
}

// flushAll tries again for a while: after many failed dials, go-redis tries one a
// second.
func flushAll(c *redislimit.Counter, rep *report) {
	for range 200 {
		if c.Flush(context.Background()) == nil {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	rep.NotFlushed++
}

type counterWorker struct{ c *redislimit.Counter }

func counterChild(client *redis.Client) (worker, func(*report), error) {
	c, err := redislimit.New(client, &redislimit.Options{NewUntil: newUntil(), Timeout: 5 * time.Second})
	end := func(rep *report) { flushAll(c, rep) }
	return counterWorker{c}, end, err
}

// turn reserves of a day and of a minute, keeps a fifth, gives a fifth back
// and settles the others.
func (w counterWorker) turn(ctx context.Context, r *rand.Rand, rep *report) error {
	charges := []limit.Charge{minute("m", minuteMax, 1+r.Int64N(10)), day("d", dayMax, 1+r.Int64N(10))}
	full, _, err := w.c.Reserve(ctx, charges)
	if err != nil {
		return err
	}
	if full >= 0 {
		rep.Refused++
		return nil
	}
	for _, ch := range charges {
		used := ch.Amount
		switch r.IntN(5) {
		case 0:
		case 1:
			used = 0
		default:
			used = r.Int64N(ch.Amount + 1)
		}
		if used != ch.Amount {
			w.c.Settle([]limit.Charge{settle(ch, used-ch.Amount)})
		}
		rep.Uses = append(rep.Uses, use{At: ch.At, Minute: ch.Window == limit.Minute, Amount: used})
	}
	return nil
}

type limiterWorker struct{ l *limit.Limiter }

// limiterChild is a whole Limiter, as a program has it.
func limiterChild(client *redis.Client) (worker, func(*report), error) {
	c, err := redislimit.New(client, &redislimit.Options{NewUntil: newUntil(), Timeout: 5 * time.Second})
	if err != nil {
		return nil, nil, err
	}
	fallback, err := strconv.ParseFloat(os.Getenv("LATCHKEY_TEST_FALLBACK"), 64)
	if err != nil {
		return nil, nil, err
	}
	l, err := limit.New([]limit.Limit{
		{Name: "minute", Requests: requests, Per: limit.Minute},
		{Name: "day", Tokens: dayMax, Per: limit.Day, By: limit.ByTenant},
	}, &limit.Options{Counter: c, Processes: processes, Fallback: fallback, WorstInput: 10, WorstOutput: 10})
	end := func(rep *report) { flushAll(c, rep) }
	return limiterWorker{l}, end, err
}

func (w limiterWorker) turn(ctx context.Context, r *rand.Rand, rep *report) error {
	var res limit.Reservation
	s := limit.Send{Tenant: "t", Input: 1 + r.Int64N(5), Output: 1 + r.Int64N(5)}
	err := w.l.Reserve(ctx, s, &res)
	var full *limit.Error
	if errors.As(err, &full) {
		rep.Refused++
		return err // it waits a little then, and leaves room for the others
	} else if err != nil {
		rep.Down++
		return err
	}
	at := time.Now().Unix()
	used := s.Input + s.Output
	switch r.IntN(5) {
	case 0:
		res.Keep()
	case 1:
		used = 0
		res.Release()
	default:
		out := r.Int64N(s.Output + 1)
		used = s.Input + out
		res.Settle(limit.Tokens{Input: s.Input, Output: out})
	}
	rep.Uses = append(rep.Uses, use{At: at, Minute: true, Amount: 1}, use{At: at, Amount: used})
	return nil
}

func newUntil() time.Time {
	sec, _ := strconv.ParseInt(os.Getenv("LATCHKEY_TEST_NEW"), 10, 64)
	return time.Unix(sec, 0)
}
