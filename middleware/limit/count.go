package limit

import "sync"

// A kind is what is counted in a window. In flight is no kind: it has no window.
type kind uint8

const (
	requests kind = iota
	tokens
	cost
	kinds
)

// amounts holds a number for each kind.
type amounts [kinds]int64

// slots is how many seconds a count of a Minute remembers. At any instant of the
// second s, the seconds from s-60 on hold all of the last 60 seconds.
const slots = 61

func slot(sec int64) int64 { return ((sec % slots) + slots) % slots }

// A count is what the sends of one key have used of one limit.
type count struct {
	key    key
	per    Window
	shared bool // of all keys beyond MaxKeys

	mu    sync.Mutex // of all that follows
	begun bool
	dead  bool // the table has dropped it: look for another
	// last is the latest second that a Minute has seen; start and end are the
	// bounds of a Day or Month.
	last, start, end int64
	// jumps is how often the clock was set back. What was reserved before that
	// cannot be found again in its second.
	jumps    uint32
	inFlight int64 // reservations that are not settled
	// main has what was reserved, through the counter if there is one, alone what
	// was reserved while the counter failed.
	main, alone [kinds]*meter
	refused     [kinds + 1]remembered
	reported    [kinds + 1]report
}

// found is the answer that room gave last, and to what: a flood of refusals asks
// the same each time.
type found struct {
	n, most int64
	changes uint64
	room    int64
}

// A meter counts one kind in the present window.
type meter struct {
	used int64 // in the window, with all that is held in it
	held int64 // by reservations that are not settled, of any window
	// changes is how often something was added or taken within a second.
	changes uint64
	found   found
	ring    *[slots]int64
	past    [2]past // of a Day or Month, the latest first
}

// past is what was used in a window that is over: the clock may be set back.
type past struct{ start, used int64 }

// A report is when an event was last made, so that there is one a window.
type report struct {
	made bool
	at   int64
}

func newCount(k key, per Window) *count { return &count{key: k, per: per} }

func (c *count) meter(set *[kinds]*meter, k kind) *meter {
	if set[k] == nil {
		set[k] = &meter{}
		if c.per == Minute {
			set[k].ring = new([slots]int64)
		}
	}
	return set[k]
}

func (c *count) meters(f func(*meter)) {
	for k := range kinds {
		if m := c.main[k]; m != nil {
			f(m)
		}
		if m := c.alone[k]; m != nil {
			f(m)
		}
	}
}

// advance brings the count to the second now. c.mu is held.
//
// A caller may have read the clock, and then have waited for the lock while
// others brought the count further. Only if the clock is behind when it is read
// again, it was set back.
func (c *count) advance(now int64, l *Limiter) {
	switch {
	case c.per == Minute:
		if now != c.last || !c.begun {
			c.advanceMinute(now, l)
		}
	case c.per != 0:
		if now < c.start || now >= c.end {
			c.advanceDate(now, l)
		}
	}
}

func (c *count) advanceMinute(now int64, l *Limiter) {
	if !c.begun {
		c.begun, c.last = true, now
		return
	}
	if now < c.last {
		now = l.second()
	}
	switch d := now - c.last; {
	case d == 0, d == -1:
		// A clock that is set back by less than a second or so stands still for
		// as long.
		return
	case d < 0:
		// What was counted later than now was used before now, and nobody knows
		// how long before.
		c.jumps++
		c.meters(func(m *meter) {
			for s := max(now+1, c.last-slots+1); s <= c.last; s++ {
				n := m.ring[slot(s)]
				m.ring[slot(s)] = 0
				m.ring[slot(now)] += n
			}
			m.changes++
		})
	case d >= slots:
		c.meters(func(m *meter) {
			*m.ring = [slots]int64{}
			m.used = 0
		})
	default:
		c.meters(func(m *meter) {
			for s := c.last + 1; s <= now; s++ {
				i := slot(s)
				m.used -= m.ring[i]
				m.ring[i] = 0
			}
		})
	}
	c.last = now
}

func (c *count) advanceDate(now int64, l *Limiter) {
	if c.begun && now < c.start {
		now = l.second()
		if now >= c.start && now < c.end {
			return
		}
	}
	start, end := period(c.per, now, l.location)
	back := c.begun && start < c.start
	if back {
		c.jumps++
	}
	c.meters(func(m *meter) {
		switch {
		case back:
			m.back(start)
		case c.begun:
			m.past[1], m.past[0] = m.past[0], past{c.start, m.used}
			m.used = 0
		}
	})
	if !back {
		c.reported = [kinds + 1]report{}
	}
	c.begun, c.start, c.end = true, start, end
}

// back returns to a window that began earlier. What was counted in later windows
// was used before now, and so in this one.
func (m *meter) back(start int64) {
	for i, p := range m.past {
		if p.start >= start {
			m.used = add(m.used, p.used)
			m.past[i] = past{}
		}
	}
	if m.past[0] == (past{}) {
		m.past[0], m.past[1] = m.past[1], past{}
	}
}

// at is what names the present second of a Minute or the present window.
func (c *count) at() int64 {
	if c.per == Minute {
		return c.last
	}
	return c.start
}

// present returns when the present window is over.
func (c *count) present() int64 {
	if c.per == Minute {
		return c.last + slots
	}
	return c.end
}

// adjust adds n, which may be negative, to the window of at, or to the present one
// if that is over and n is positive.
func (c *count) adjust(m *meter, at int64, jumps uint32, n int64) {
	known := jumps == c.jumps
	switch {
	case c.per == Minute:
		if !known || at <= c.last-slots {
			if n <= 0 {
				return
			}
			at = c.last
		}
		r := &m.ring[slot(at)]
		// A saturated sum gives back no more than is in it.
		n = max(min(n, add(m.used, n)-m.used), -*r, -m.used)
		*r += n
		m.used += n
		m.changes++
	case known && at == c.start, n > 0:
		m.used = max(add(m.used, n), 0)
	}
}

// room returns the second from which on there is room for n below most, if nothing
// else is reserved.
func (c *count) room(m *meter, n, most int64) int64 {
	if c.per != Minute {
		return c.end
	}
	// What is over by itself does not change the answer.
	if l := &m.found; l.n != n || l.most != most || l.changes != m.changes || l.room == 0 {
		*l = found{n, most, m.changes, c.search(m, n, most)}
	}
	return m.found.room
}

func (c *count) search(m *meter, n, most int64) int64 {
	used := m.used
	for s := c.last - slots + 1; s <= c.last; s++ {
		used -= m.ring[slot(s)]
		if n <= most-used {
			return s + slots
		}
	}
	return c.last + slots
}

// idle reports whether the count is as if it were new.
func (c *count) idle(l *Limiter, now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.empty(l, now)
}

func (c *count) empty(l *Limiter, now int64) bool {
	c.advance(now, l)
	idle := c.inFlight == 0
	c.meters(func(m *meter) { idle = idle && m.used == 0 })
	return idle
}

// retire makes an idle count unusable, and reports whether it was idle.
func (c *count) retire(l *Limiter, now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = c.empty(l, now)
	return c.dead
}

// due reports whether an event of the kind is due, and notes that it is made. An
// event has its window; that of what is in flight is a minute.
func (c *count) due(k kind, now int64) bool {
	r := &c.reported[k]
	if r.made && (c.per == Day || c.per == Month) && k != kinds {
		return false
	}
	if r.made && now >= r.at && now-r.at < 60 {
		return false
	}
	*r = report{made: true, at: now}
	return true
}
