package redislimit

import (
	"sync"
	"time"
)

const (
	// maxQueue bounds the settlements that wait, maxBatch those of one call.
	maxQueue = 4096
	maxBatch = 256
	// slots is how many calls of a process Redis remembers; the script has it too.
	slots = 1024
	// maxOpen bounds the calls whose outcome is not known, maxPlain those of them
	// without a settlement: nobody misses what they reserved.
	maxOpen  = slots / 2
	maxPlain = maxOpen / 2
)

// A call is one run of the script. Redis knows its number, and carries it out
// once.
type call struct {
	number      int64
	settlements []settlement
	charges     []charge
	// before is what the process knew of the Redis when it made the call.
	before view
	// again is set when the call was sent before: it reserves nothing then.
	again bool
}

// A view is what a process has seen of the Redis.
type view struct {
	epoch   string
	order   int64 // of the epoch among others
	acked   int64 // the highest call that was answered in the epoch
	ackedAt int64 // when, by the clock of Redis
}

// A ledger is what a process has still to send, and what it knows. No lock is
// held while something is sent.
type ledger struct {
	mu     sync.Mutex
	number int64
	// live has, for each slot that Redis remembers a call in, the number of the
	// call that is under way or open. No other may overwrite what is known of it.
	live   [slots]int64
	view   view
	queue  map[target]int64
	open   []*call // sent, and nobody knows what came of it; oldest first
	sizes  int     // the settlements of open
	plain  int     // those of open without one
	armed  bool    // a timer runs that will send
	failed int     // how often it failed in a row
	broken bool    // the last call that ended had no answer
}

func newLedger() *ledger { return &ledger{queue: map[target]int64{}} }

// add takes a settlement into the queue.
func (l *ledger) add(s settlement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(s)
}

func (l *ledger) put(s settlement) {
	old, known := l.queue[s.target]
	if !known && len(l.queue)+l.sizes >= maxQueue && (s.amount < 0 || !l.makeRoom()) {
		return
	}
	sum := min(max(old+s.amount, -most), most)
	if sum == 0 {
		delete(l.queue, s.target)
		return
	}
	l.queue[s.target] = sum
}

// makeRoom drops something that would be given back.
func (l *ledger) makeRoom() bool {
	for t, amount := range l.queue {
		if amount < 0 {
			delete(l.queue, t)
			return true
		}
	}
	return false
}

// next makes a call of charges and what waits in the queue; nil if that is
// nothing.
func (l *ledger) next(charges []charge) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(charges)+len(l.queue) == 0 {
		return nil
	}
	l.number++
	for range slots {
		if l.live[l.number%slots] == 0 {
			break
		}
		l.number++
	}
	l.live[l.number%slots] = l.number
	c := &call{number: l.number, charges: charges, before: l.view}
	for t, amount := range l.queue {
		if len(c.settlements) == maxBatch {
			break
		}
		c.settlements = append(c.settlements, settlement{target: t, amount: amount})
		delete(l.queue, t)
	}
	return c
}

// done frees the slot of a call that is not asked about again.
func (l *ledger) done(c *call) {
	if slot := &l.live[c.number%slots]; *slot == c.number {
		*slot = 0
	}
}

// oldest takes the oldest call whose outcome is not known.
func (l *ledger) oldest() *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) == 0 {
		return nil
	}
	c := l.open[0]
	l.open[0] = nil
	l.open = l.open[1:]
	l.sizes -= len(c.settlements)
	if len(c.settlements) == 0 {
		l.plain--
	}
	c.before = l.view
	return c
}

// unknown keeps a call whose outcome is not known, to ask again. It is unsent if
// the last attempt did not find the Redis: then what it was to reserve is not
// worth a place, though an earlier attempt of the client may have added it.
func (l *ledger) unknown(c *call, unsent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	unsent = unsent && !c.again
	c.again, l.broken = true, true
	plain := len(c.settlements) == 0
	switch {
	case plain && (unsent || l.plain >= maxPlain):
		l.done(c)
		return
	case len(l.open) >= maxOpen || len(l.queue)+l.sizes+len(c.settlements) > maxQueue:
		l.done(c)
		l.more(c)
		return
	case plain:
		l.plain++
	}
	l.open = append(l.open, c)
	l.sizes += len(c.settlements)
}

// learn takes from an answer to c what it tells about the Redis.
func (l *ledger) learn(c *call, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done(c)
	v := &l.view
	switch {
	case a.epoch == v.epoch:
	case c.before.epoch == v.epoch:
		*v = view{epoch: a.epoch, order: a.order}
	default:
		return // of an epoch that is over
	}
	if c.number > v.acked {
		v.acked, v.ackedAt = c.number, a.clock
	}
}

// recount takes over from a call of which Redis does not know any more whether it
// was carried out.
func (l *ledger) recount(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more(c)
}

// more puts back into the queue what more was used. It may be counted twice,
// which is the safe side; what would be given back stays reserved.
func (l *ledger) more(c *call) {
	for _, s := range c.settlements {
		if s.amount > 0 {
			l.put(s)
		}
	}
}

// arm reports whether a timer is to be started, and how long it waits. After
// maxFailed failures it takes somebody who uses the Counter.
func (l *ledger) arm(used bool) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.armed || len(l.queue)+len(l.open) == 0 || l.failed >= maxFailed && !used {
		return 0, false
	}
	l.armed = true
	return delay << min(l.failed, maxFailed), true
}

func (l *ledger) disarm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
}

// fail counts a failure of the timer.
func (l *ledger) fail() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
}

// recovered reports whether this is the first answer after a failure, and there
// is something to send.
func (l *ledger) recovered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.broken
	l.failed, l.broken = 0, false
	return was && len(l.queue)+len(l.open) > 0
}
