package limit

import (
	"cmp"
	"slices"
	"time"
)

// whatCounter is Event.What for the Counter itself.
const whatCounter = "counter"

// An Event is what an operator may want to know. See Options.OnEvent.
type Event struct {
	// Limit, What, Tenant, Model and Endpoint are those of an [Error]. What is
	// "counter" if the Counter failed or is back, and then the others are empty.
	Limit, What, Tenant, Model, Endpoint string
	// Soft is whether the limit is soft and was passed. Otherwise it has refused.
	Soft bool
	// Reset is when there is room again.
	Reset time.Time
	// Err is the refusal, or the error of the Counter; nil if a soft limit was
	// passed or the Counter is back.
	Err error
}

// event adds the event of a refusal if it is due. c.mu is held.
func (c *count) event(events []Event, l *Limiter, r *rule, err *Error, now int64) []Event {
	if l.opts.OnEvent == nil || !c.due(kindOf(err.What), now) {
		return events
	}
	return append(events, Event{
		Limit: err.Limit, What: err.What, Tenant: err.Tenant, Model: err.Model, Endpoint: err.Endpoint,
		Reset: err.Reset, Err: err, Soft: r.limit.Soft,
	})
}

// passed adds the event of a soft limit that is passed if it is due. c.mu is held.
func (c *count) passed(events []Event, l *Limiter, r *rule, k kind, reset, now int64) []Event {
	if l.opts.OnEvent == nil || !c.due(k, now) {
		return events
	}
	e := Event{Limit: r.limit.Name, What: k.what(), Soft: true}
	e.Tenant, e.Model, e.Endpoint = r.names(c.key)
	if reset != 0 {
		e.Reset = time.Unix(reset, 0).In(l.location)
	}
	return append(events, e)
}

func kindOf(what string) kind {
	for k := range kinds {
		if k.what() == what {
			return k
		}
	}
	return kinds
}

// tell calls OnEvent. No lock is held.
func (l *Limiter) tell(events []Event) {
	for _, e := range events {
		l.opts.OnEvent(e)
	}
}

// A State is what one count has of one ceiling. Amounts are requests, tokens,
// or billionths of the currency.
type State struct {
	// Limit, What, Tenant, Model and Endpoint are those of an [Error].
	Limit, What, Tenant, Model, Endpoint string
	// Shared is whether it is the count of all keys beyond Options.MaxKeys.
	Shared bool
	// Used is what is counted in the present window, what is reserved in it
	// included. With a Counter it is what this process has used.
	Used int64
	// Reserved is what reservations hold that are not ended, of earlier windows
	// too.
	Reserved int64
	// Max is the ceiling.
	Max int64
	// Reset is when all that is counted now is over; zero if nothing is, and for
	// what is in flight.
	Reset time.Time
}

// State returns all counts that are in use, in the order of limits and names. The
// counts are read one after the other while sends are under way.
func (l *Limiter) State() []State {
	var states []State
	now := l.second()
	for _, r := range *l.rules.Load() {
		from := len(states)
		r.table.each(func(c *count) { states = c.state(states, l, r, now) })
		states = r.table.shared.state(states, l, r, now)
		states = r.table.long.state(states, l, r, now)
		slices.SortStableFunc(states[from:], func(a, b State) int {
			return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Endpoint, b.Endpoint))
		})
	}
	return states
}

func (c *count) state(states []State, l *Limiter, r *rule, now int64) []State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.empty(l, now) {
		return states
	}
	s := State{Limit: r.limit.Name, Shared: c.shared}
	s.Tenant, s.Model, s.Endpoint = r.names(c.key)
	for k := range kinds {
		if r.most[k] == 0 {
			continue
		}
		s := s
		s.What, s.Max = k.what(), r.most[k]
		var reset int64
		for _, m := range []*meter{c.main[k], c.alone[k]} {
			if m == nil {
				continue
			}
			s.Used, s.Reserved = add(s.Used, m.used), add(s.Reserved, m.held)
			if m.used > 0 {
				reset = max(reset, c.over(m))
			}
		}
		if reset != 0 {
			s.Reset = time.Unix(reset, 0).In(l.location)
		}
		states = append(states, s)
	}
	if r.limit.InFlight > 0 {
		s.What, s.Max, s.Used, s.Reserved = inFlight, r.limit.InFlight, c.inFlight, c.inFlight
		states = append(states, s)
	}
	return states
}

// over returns the second in which nothing of what is counted now is left.
func (c *count) over(m *meter) int64 {
	if c.per != Minute {
		return c.end
	}
	for s := c.last; s > c.last-slots; s-- {
		if m.ring[slot(s)] > 0 {
			return s + slots
		}
	}
	return c.last
}
