package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Limiter holds ceilings. It is made by [New] and safe for concurrent use.
//
// Times are wall time. If the clock is set forward, or the process was frozen,
// the windows that have passed are over. If it is set back, what was counted
// belongs to the window that the clock is in then: a Minute has room again after a
// minute, a Day or Month when the clock enters the next one.
type Limiter struct {
	opts     Options
	now      func() time.Time
	location *time.Location
	prices   map[string]*price
	rules    atomic.Pointer[[]*rule]
	set      sync.Mutex // Set

	// down is whether the last answer of the counter was an error.
	down atomic.Bool
	owed owed
}

// A Send is a request that is about to be sent.
type Send struct {
	// Tenant, Model and Endpoint are what limits are for and count by. What is
	// not known is empty; that is a name like any other.
	Tenant, Model, Endpoint string
	// Input and Output are how many tokens the request may use at the most; less
	// than 0 is not known, and then Options.WorstInput and WorstOutput count.
	Input, Output int64
}

// second returns the wall time in whole seconds.
func (l *Limiter) second() int64 { return l.now().Unix() }

// Reserve counts one request, and the tokens and cost that the send may use at the
// most, against all limits that are for it, or against none. It records in r what
// it has counted; each r that was reserved must be ended by one of its methods.
//
// The error is an [*Error] if a limit has no room; it wraps [ErrPrice] if a limit
// has Cost and the model no price, also if it is soft, and [ErrCounter] if the
// Counter failed. ctx is for the Counter: if it ends while Reserve waits for that,
// the error wraps ctx.Err(). After an error nothing is held, except that what the
// Counter has added before it failed stays counted there.
//
// A send that would fit may be refused because, at the same moment, another send holds
// room that it gives back when another limit refuses it.
func (l *Limiter) Reserve(ctx context.Context, s Send, r *Reservation) error {
	if !r.state.CompareAndSwap(free, busy) {
		return errors.New("limit: the Reservation is in use: end it first, or use one for each send")
	}
	if err := l.reserve(ctx, &s, r); err != nil {
		r.state.Store(free)
		return err
	}
	r.state.Store(reserved)
	return nil
}

func (l *Limiter) reserve(ctx context.Context, s *Send, r *Reservation) error {
	r.reset(l, s)
	w := local
	if l.opts.Counter != nil {
		w = through
	}
	now := l.second()
	for _, rule := range *l.rules.Load() {
		if !rule.matches(s) {
			continue
		}
		if err := r.priced(rule, s); err != nil {
			r.undo(now)
			return err
		}
		err, events := l.hold(rule, s, r, w, now)
		if err != nil {
			r.undo(now)
			l.tell(events)
			return err
		}
		l.tell(events)
	}
	if w == local {
		return nil
	}
	return l.through(ctx, s, r)
}

// hold takes what the send may use of one limit.
func (l *Limiter) hold(rule *rule, s *Send, r *Reservation, w way, now int64) (*Error, []Event) {
	k := rule.key(s)
	c := rule.table.find(k, l, now)
	for {
		h := r.next()
		*h = hold{count: c, rule: rule}
		err, events, ok := rule.table.begin(h, k, l, &r.reserved, w, now)
		if !ok {
			// Others have dropped the count in between, or made one.
			c = rule.table.insert(k, l, now)
			continue
		}
		if err == nil {
			r.n++
		}
		return err, events
	}
}

// priced sets what the send may cost if the rule needs to know.
func (r *Reservation) priced(rule *rule, s *Send) error {
	if rule.most[cost] == 0 || r.price != nil {
		return nil
	}
	p := priceOf(r.limiter.prices, s.Model)
	if p == nil {
		return fmt.Errorf("limit %s: %w %s: put it into Options.Prices", quote(rule.limit.Name), ErrPrice, quote(s.Model))
	}
	r.price = p
	input, output := r.limiter.worst(s)
	r.reserved[cost] = p.worst(input, output)
	return nil
}

func (l *Limiter) worst(s *Send) (input, output int64) {
	input, output = s.Input, s.Output
	if input < 0 {
		input = l.opts.WorstInput
	}
	if output < 0 {
		output = l.opts.WorstOutput
	}
	return input, output
}
