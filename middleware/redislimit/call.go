package redislimit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// delay is how long a settlement waits for a Reserve to go with. After failures
// it doubles, and after maxFailed of them nobody tries until the Counter is used
// again.
const (
	delay     = 200 * time.Millisecond
	maxFailed = 8
)

var (
	errAnswer  = errors.New("an answer that the script does not give: is something else in its place?")
	errUnknown = errors.New("the answer was lost: the charges may have been added")
	errClock   = errors.New("the window is not the present one by the clock of Redis: compare the clocks")
)

// An answer is what the script returns.
type answer struct {
	status, epoch string
	// order is that of the epoch, clock the second of Redis, at that of the charges.
	order, clock, at int64
	full             int // -2 if there were no charges
	reset            int64
}

func parse(values []any) (a answer, err error) {
	if len(values) != 7 {
		return a, errAnswer
	}
	var numbers [5]int64
	var ok [7]bool
	a.status, ok[0] = values[0].(string)
	a.epoch, ok[1] = values[1].(string)
	for i := range numbers {
		numbers[i], ok[i+2] = values[i+2].(int64)
	}
	if slices.Contains(ok[:], false) {
		return a, errAnswer
	}
	a.order, a.clock, a.at, a.full, a.reset = numbers[0], numbers[1], numbers[2], int(numbers[3]), numbers[4]
	return a, nil
}

// ask sends cl and waits for its answer, but no longer than ctx and the timeout.
// An answer that comes later is still listened to.
func (c *Counter) ask(ctx context.Context, cl *call) (answer, error) {
	type outcome struct {
		answer answer
		err    error
	}
	sending, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ended := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fmt.Errorf("no answer within %s: %w", c.timeout, os.ErrDeadlineExceeded)
	}
	var over atomic.Bool // who is first: the answer, or the end of the wait
	got := make(chan outcome, 1)
	go func() {
		a, err := c.send(sending, cl)
		if over.CompareAndSwap(false, true) {
			got <- outcome{a, err}
		} else if err == nil && a.full == -1 {
			c.giveBack(cl, a.at)
		}
	}()
	select {
	case <-sending.Done():
		if over.CompareAndSwap(false, true) {
			return answer{}, ended()
		}
	case out := <-got:
		got <- out
	}
	out := <-got
	if out.err != nil && sending.Err() != nil && errors.Is(out.err, sending.Err()) {
		out.err = ended()
	}
	return out.answer, out.err
}

// send runs the script for cl, and sees to what is to be done after it.
func (c *Counter) send(ctx context.Context, cl *call) (answer, error) {
	keys, args := c.arguments(cl)
	values, err := c.run(ctx, keys, args)
	var a answer
	if err == nil {
		a, err = parse(values)
	}
	if err != nil {
		var op *net.OpError
		c.ledger.unknown(cl, errors.As(err, &op) && op.Op == "dial")
		err = cause(err)
		c.arm(len(cl.charges) > 0)
		return answer{}, err
	}
	c.ledger.learn(cl, a)
	if c.ledger.recovered() {
		time.AfterFunc(0, c.tick)
	}
	switch a.status {
	case "ok":
		return a, nil
	case "forgot":
		return a, fmt.Errorf("%w, until %s", ErrForgot, time.Unix(a.reset, 0).UTC().Format(time.RFC3339))
	case "clock":
		return a, errClock
	case "unknown":
		c.ledger.recount(cl)
		return a, errUnknown
	}
	return a, errAnswer
}

// arguments are those of the script.
func (c *Counter) arguments(cl *call) (keys []string, args []any) {
	charges := cl.charges
	if cl.again {
		charges = nil
	}
	id := c.session + strconv.FormatInt(cl.number, 16)
	before := &cl.before
	keys = append(make([]string, 0, 2+len(cl.settlements)+len(charges)), c.prefix+"epoch", c.prefix+"s:"+c.session)
	args = append(make([]any, 0, 9+4*len(cl.settlements)+5*len(charges)),
		cl.number, before.acked, before.ackedAt, before.epoch, before.order,
		id, c.until, len(cl.settlements), len(charges))
	for _, s := range cl.settlements {
		keys = append(keys, s.key)
		args = append(args, s.kind, s.at, s.stop, s.amount)
	}
	for _, ch := range charges {
		keys = append(keys, ch.key)
		args = append(args, ch.kind, ch.start, ch.stop, ch.max, ch.amount)
	}
	return keys, args
}

// giveBack settles charges that were added at that second for a caller who was
// told that they failed.
func (c *Counter) giveBack(cl *call, at int64) {
	for _, ch := range cl.charges {
		s := settlement{target: ch.target, amount: -ch.amount}
		if s.kind == "m" {
			s.at = at
		}
		if s.amount != 0 {
			c.ledger.add(s)
		}
	}
	c.arm(true)
}

// flush sends the calls whose outcome is not known once more, and then what
// waits in the queue.
func (c *Counter) flush(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.flushing:
	}
	defer func() { c.flushing <- struct{}{} }()
	for range maxOpen {
		cl := c.ledger.oldest()
		if cl == nil {
			break
		}
		a, err := c.ask(ctx, cl)
		if err != nil && !errors.Is(err, errUnknown) {
			return err
		}
		if err == nil && a.full == -1 {
			c.giveBack(cl, a.at)
		}
	}
	for range maxQueue/maxBatch + 1 {
		cl := c.ledger.next(nil)
		if cl == nil {
			break
		}
		if _, err := c.ask(ctx, cl); err != nil {
			return err
		}
	}
	return nil
}

// arm starts a timer that flushes, if something waits and none runs.
func (c *Counter) arm(used bool) {
	if wait, ok := c.ledger.arm(used); ok {
		time.AfterFunc(wait, func() {
			c.ledger.disarm()
			c.tick()
		})
	}
}

func (c *Counter) tick() {
	if err := c.flush(context.Background()); err != nil {
		c.ledger.fail()
	}
	c.arm(false)
}

// cause is err without what a server, a URL or a key may have put into it.
func cause(err error) error {
	var answered redis.Error
	if !errors.As(err, &answered) {
		return err
	}
	code, _, _ := strings.Cut(answered.Error(), " ")
	switch code {
	case "OOM":
		return errors.New("redis is out of memory (OOM)")
	case "NOAUTH", "WRONGPASS":
		return fmt.Errorf("redis refuses the user or the password (%s)", code)
	case "NOPERM":
		return errors.New("redis does not let the user run the script (NOPERM): the package documentation has what it needs")
	case "READONLY":
		return errors.New("redis is a replica (READONLY)")
	case "LOADING", "BUSY", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "CROSSSLOT", "WRONGTYPE", "MOVED", "ASK":
		return fmt.Errorf("redis refuses (%s)", code)
	}
	return errors.New("redis answers with an error")
}
