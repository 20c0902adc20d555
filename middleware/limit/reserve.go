package limit

// A way is how a reservation is counted.
type way uint8

const (
	local   way = iota // in this process, up to the ceiling
	through            // in the counter; this process notes it without a ceiling
	alone              // in this process, up to its share, since the counter failed
)

// A hold is what a reservation holds of one count.
type hold struct {
	count *count
	rule  *rule
	// at and jumps name the second or the window of what is counted. They are
	// set if counted is.
	at      int64
	jumps   uint32
	counted bool
}

// begin takes a place in flight and, if the way is local, what the send may use.
// It reports false if the count is dead.
func (h *hold) begin(l *Limiter, a *amounts, w way, now int64) (*Error, []Event, bool) {
	c := h.count
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil, nil, false
	}
	c.advance(now, l)
	var events []Event
	lim := &h.rule.limit
	if lim.InFlight > 0 && c.inFlight >= lim.InFlight {
		if !lim.Soft {
			err := c.refusal(h.rule, l, kinds, 0, false)
			return err, c.event(events, l, h.rule, err, now), true
		}
		events = c.passed(events, l, h.rule, kinds, 0, now)
	}
	if w == local {
		err, more := h.take(l, a, w, now)
		if events = append(events, more...); err != nil {
			return err, events, true
		}
	}
	c.inFlight++
	return nil, events, true
}

// add takes what the send may use of a count in which the hold has a place in
// flight.
func (h *hold) add(l *Limiter, a *amounts, w way, now int64) (*Error, []Event) {
	h.count.mu.Lock()
	defer h.count.mu.Unlock()
	h.count.advance(now, l)
	return h.take(l, a, w, now)
}

// take counts the amounts, all or none. The lock of the count is held.
func (h *hold) take(l *Limiter, a *amounts, w way, now int64) (*Error, []Event) {
	c, r := h.count, h.rule
	set, most := &c.main, &r.most
	if w == alone {
		set, most = &c.alone, &r.alone
	}
	for k := range kinds {
		if r.most[k] == 0 {
			continue
		}
		m := c.meter(set, k)
		if w == through || r.limit.Soft || a[k] <= most[k]-m.used {
			continue
		}
		reset := int64(0)
		if a[k] <= most[k] {
			reset = c.room(m, a[k], most[k])
		}
		err := c.refusal(r, l, k, reset, w == alone)
		return err, c.event(nil, l, r, err, now)
	}
	var events []Event
	for k := range kinds {
		if r.most[k] == 0 {
			continue
		}
		m := set[k]
		before := m.used
		m.used = add(m.used, a[k])
		m.held = add(m.held, a[k])
		if m.ring != nil {
			m.ring[slot(c.last)] += m.used - before
			m.changes++
		}
		if r.limit.Soft {
			events = c.check(events, l, r, k, now)
		}
	}
	h.at, h.jumps, h.counted = c.at(), c.jumps, true
	return nil, events
}

// end gives back the place in flight and the difference between what was reserved
// and what was used.
func (h *hold) end(l *Limiter, w way, reserved, used *amounts, now int64) []Event {
	c, r := h.count, h.rule
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight--
	if !h.counted {
		return nil
	}
	c.advance(now, l)
	set := &c.main
	if w == alone {
		set = &c.alone
	}
	var events []Event
	for k := range kinds {
		if r.most[k] == 0 {
			continue
		}
		m := set[k]
		m.held = max(m.held-reserved[k], 0)
		if used[k] == reserved[k] {
			continue
		}
		c.adjust(m, h.at, h.jumps, used[k]-reserved[k])
		if r.limit.Soft {
			events = c.check(events, l, r, k, now)
		}
	}
	return events
}

// check makes an event if a soft limit is passed.
func (c *count) check(events []Event, l *Limiter, r *rule, k kind, now int64) []Event {
	m := c.meter(&c.main, k)
	used := m.used
	if c.alone[k] != nil {
		used = add(used, c.alone[k].used)
	}
	if used <= r.most[k] {
		return events
	}
	return c.passed(events, l, r, k, c.room(m, 0, r.most[k]), now)
}
