package throttle

import (
	"math"
	"time"
)

// A Limit is what a service lets through, in requests or in tokens.
type Limit struct {
	// Tokens is true if the prompts' tokens count, false if requests do.
	Tokens bool
	// Burst is what the token bucket holds.
	Burst float64
	// Window replaces the bucket, if it is not zero: each window of this length
	// lets Rate × Window through, at any time in it. Burst has no meaning then.
	Window time.Duration
	// Phases is how the rate changes over time. The last one stays.
	Phases []Phase
}

// A Phase is a rate, in units per second, and how long it is in force.
type Phase struct {
	Rate float64
	For  time.Duration
}

// forever is the end of the last phase.
const forever = time.Duration(math.MaxInt64)

// phase returns the rate at a time since the start, and when it ends.
func (l Limit) phase(at time.Duration) (rate float64, end time.Duration) {
	for i, p := range l.Phases {
		if end += p.For; i == len(l.Phases)-1 {
			return p.Rate, forever
		}
		if at < end {
			return p.Rate, end
		}
	}
	return math.Inf(1), forever
}

// cost is what a prompt takes of the limit.
func (l Limit) cost(tokens int) float64 {
	if l.Tokens {
		return float64(tokens)
	}
	return 1
}

// A meter is a limit in force. Its times are those since the start, and must
// not go backwards.
type meter struct {
	limit Limit
	level float64 // what can be taken now
	at    time.Duration
}

func newMeter(l Limit) *meter {
	m := &meter{limit: l}
	m.level = m.capacity()
	return m
}

// capacity is the most that can be taken at once.
func (m *meter) capacity() float64 {
	if m.limit.Window == 0 {
		return m.limit.Burst
	}
	rate, _ := m.limit.phase(m.at)
	return rate * m.limit.Window.Seconds()
}

// advance lets time pass.
func (m *meter) advance(now time.Duration) {
	if w := m.limit.Window; w != 0 {
		fresh := now/w != m.at/w
		m.at = max(m.at, now)
		if fresh {
			m.level = m.capacity()
		}
		return
	}
	for m.at < now {
		rate, end := m.limit.phase(m.at)
		end = min(end, now)
		m.level = min(m.limit.Burst, m.level+rate*(end-m.at).Seconds())
		m.at = end
	}
}

// slack forgives the rounding of the bucket's level.
const slack = 1e-6

func (m *meter) has(cost float64) bool { return m.level+slack >= cost }

func (m *meter) take(cost float64) { m.level -= cost }

// wait tells how long it takes until cost is there if the rate stays as it is
// and nobody takes anything: what the service can tell its clients.
func (m *meter) wait(cost float64) time.Duration {
	if m.has(cost) {
		return 0
	}
	if w := m.limit.Window; w != 0 {
		return w - m.at%w
	}
	rate, _ := m.limit.phase(m.at)
	return seconds((cost - m.level) / rate)
}

// earliest returns the first time from now on at which cost is there, in
// knowledge of all phases, and advances to it. cost must not exceed capacity.
func (m *meter) earliest(cost float64, now time.Duration) time.Duration {
	m.advance(now)
	for !m.has(cost) {
		_, end := m.limit.phase(m.at)
		m.advance(min(end, m.at+max(m.wait(cost), 1)))
	}
	return max(m.at, now)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
