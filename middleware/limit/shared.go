package limit

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// through reserves in the counter. r has its places in flight already, no lock is
// held.
func (l *Limiter) through(ctx context.Context, s *Send, r *Reservation) error {
	now := l.second()
	for i := range r.n {
		if err, events := r.hold(i).larger(l, &r.reserved, now); err != nil {
			r.undo(now)
			l.tell(events)
			return err
		}
	}
	charges := r.charge(s, now)
	if len(charges) == 0 {
		return nil
	}
	full, reset, err := l.opts.Counter.Reserve(ctx, charges)
	now = l.second()
	if err == nil && (full < -1 || full >= len(charges)) {
		err = fmt.Errorf("it says that charge %d of %d is full", full, len(charges))
	}
	if err != nil && ctx.Err() != nil {
		r.undo(now)
		return fmt.Errorf("limit: waiting for the shared counter: %w", ctx.Err())
	}
	if err != nil {
		l.failed(err)
		return l.alone(s, r, err)
	}
	l.answered()
	if full >= 0 {
		err, events := r.full(full, reset, now)
		r.undo(now)
		l.tell(events)
		return err
	}
	r.way, r.charges, r.since = through, charges, now
	for i := range r.n {
		_, events := r.hold(i).add(l, &r.reserved, through, now)
		l.tell(events)
	}
	return nil
}

// alone reserves from what this process may use while the counter fails. What the
// counter may have added before it failed is lost.
func (l *Limiter) alone(s *Send, r *Reservation, cause error) error {
	now := l.second()
	r.way = alone
	for i := range r.n {
		h := r.hold(i)
		if l.opts.Fallback == 0 && !h.rule.limit.Soft && h.rule.limit.Per != 0 {
			r.undo(now)
			return fmt.Errorf("limit: %w: %w", ErrCounter, cause)
		}
		err, events := h.add(l, &r.reserved, alone, now)
		if err != nil {
			r.undo(now)
			l.tell(events)
			return err
		}
		l.tell(events)
	}
	r.charges, r.since = r.charge(s, now), now
	for i := range r.charges {
		r.charges[i].At = now
	}
	return nil
}

// larger refuses what is more than all that may be reserved, through the counter
// and without it.
func (h *hold) larger(l *Limiter, a *amounts, now int64) (*Error, []Event) {
	r := h.rule
	if r.limit.Soft {
		return nil, nil
	}
	for k := range kinds {
		if r.most[k] > 0 && a[k] > max(r.through[k], r.alone[k]) {
			h.count.mu.Lock()
			defer h.count.mu.Unlock()
			err := h.count.refusal(r, l, k, 0, false)
			return err, h.count.event(nil, l, r, err, now)
		}
	}
	return nil, nil
}

// full returns the error for charge number n, which the counter has no room for.
func (r *Reservation) full(n int, reset time.Time, now int64) (*Error, []Event) {
	for i := range r.n {
		h := r.hold(i)
		for k := range kinds {
			if h.rule.most[k] == 0 {
				continue
			}
			if n--; n >= 0 {
				continue
			}
			sec := reset.Unix()
			if reset.Nanosecond() > 0 {
				sec++
			}
			h.count.mu.Lock()
			defer h.count.mu.Unlock()
			if reset.IsZero() {
				h.count.advance(now, r.limiter)
				sec = h.count.present()
			}
			if r.reserved[k] > h.rule.through[k] {
				sec = 0
			}
			err := h.count.refusal(h.rule, r.limiter, k, sec, false)
			return err, h.count.event(nil, r.limiter, h.rule, err, now)
		}
	}
	return nil, nil
}

// charge returns a charge for each count and kind, in the order of the holds.
func (r *Reservation) charge(s *Send, now int64) []Charge {
	n := 0
	for i := range r.n {
		for _, most := range r.hold(i).rule.most {
			if most > 0 {
				n++
			}
		}
	}
	charges := make([]Charge, 0, n)
	for i := range r.n {
		rule := r.hold(i).rule
		for k := range kinds {
			if rule.most[k] == 0 {
				continue
			}
			c := Charge{Key: rule.name(k, rule.key(s)), Window: rule.limit.Per, Max: rule.through[k], Amount: r.reserved[k]}
			if rule.limit.Soft {
				c.Max = math.MaxInt64
			}
			c.move(now, r.limiter.location)
			charges = append(charges, c)
		}
	}
	return charges
}

// move sets the window of a charge to the one that holds the second now.
func (c *Charge) move(now int64, loc *time.Location) {
	if c.Window == Minute {
		return
	}
	start, end := period(c.Window, now, loc)
	c.Start, c.End = time.Unix(start, 0).In(loc), time.Unix(end, 0).In(loc)
}

// name returns what the counter calls a count. No two counts have the same, as the
// length of each part is in it.
func (r *rule) name(k kind, of key) string {
	b := make([]byte, 0, 32+len(r.limit.Name)+of.len())
	for _, part := range [...]string{r.limit.Name, k.what(), of.tenant, of.model, of.endpoint} {
		b = strconv.AppendInt(b, int64(len(part)), 10)
		b = append(b, ':')
		b = append(b, part...)
	}
	b = strconv.AppendInt(b, int64(r.limit.By), 10)
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(r.limit.Per), 10)
	return string(b)
}

// settle tells the counter what was used.
func (r *Reservation) settle(used *amounts, now int64) {
	l := r.limiter
	settled := r.charges[:0]
	n := 0
	for i := range r.n {
		for k := range kinds {
			if r.hold(i).rule.most[k] == 0 {
				continue
			}
			c := r.charges[n]
			n++
			if r.way == alone {
				// The counter has not counted any of it.
				c.Amount = used[k]
			} else {
				c.Amount = used[k] - r.reserved[k]
			}
			if r.late(&c, now) && c.Amount < 0 {
				continue
			}
			if c.Amount != 0 {
				settled = append(settled, c)
			}
		}
	}
	if len(settled) == 0 {
		return
	}
	if r.way == alone {
		l.owed.add(settled)
		if !l.down.Load() {
			l.pay()
		}
		return
	}
	l.opts.Counter.Settle(settled)
}

// late reports whether the window of a charge is over. What was used through the
// counter above what was reserved then counts in the present one.
func (r *Reservation) late(c *Charge, now int64) bool {
	if c.Window == Minute {
		if now-r.since < slots {
			return false
		}
		if r.way == through {
			c.At += now - r.since
		}
		return true
	}
	if now < c.End.Unix() {
		return false
	}
	if r.way == through {
		c.At += max(now-r.since, 0)
		c.move(now, r.limiter.location)
	}
	return true
}

// maxOwed is how many charges are kept for a counter that fails. Those beyond are
// dropped: the ceilings hold without them, since what a process uses alone is
// never offered through the counter.
const maxOwed = 4096

// owed are charges that were used alone and not told to the counter.
type owed struct {
	some    atomic.Bool
	mu      sync.Mutex
	charges []Charge
}

func (o *owed) add(charges []Charge) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.charges = append(o.charges, charges[:min(len(charges), maxOwed-len(o.charges))]...)
	o.some.Store(true)
}

// pay tells the counter what is owed.
func (l *Limiter) pay() {
	if !l.owed.some.Load() {
		return
	}
	l.owed.mu.Lock()
	charges := l.owed.charges
	l.owed.charges = nil
	l.owed.some.Store(false)
	l.owed.mu.Unlock()
	if len(charges) > 0 {
		l.opts.Counter.Settle(charges)
	}
}

func (l *Limiter) failed(err error) {
	if l.down.CompareAndSwap(false, true) && l.opts.OnEvent != nil {
		l.opts.OnEvent(Event{What: whatCounter, Err: err})
	}
}

func (l *Limiter) answered() {
	if l.down.Load() && l.down.CompareAndSwap(true, false) && l.opts.OnEvent != nil {
		l.opts.OnEvent(Event{What: whatCounter})
	}
	l.pay()
}
