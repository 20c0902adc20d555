package limit

import "sync/atomic"

// Tokens are what a send has used, as services tell it.
type Tokens struct {
	// CachedInput and CacheWrite are parts of Input, Reasoning is a part of Output.
	// Negative numbers are 0, and a part is no more than the whole.
	Input, CachedInput, CacheWrite, Output, Reasoning int64
}

// inlineHolds is how many limits a reservation has room for without allocating.
const inlineHolds = 6

// What a Reservation is about.
const (
	free     uint32 = iota // nothing is reserved
	busy                   // it is being reserved or ended
	reserved               // it is held
)

// A Reservation is what is counted for one send. The zero Reservation holds
// nothing and is ready for [Limiter.Reserve]. It must not be copied.
//
// One of Settle, Release, Cancel and Keep ends it; of several, the first counts,
// and without a reservation they do nothing. They may be called by several
// goroutines at once. After that it is ready for another Reserve.
type Reservation struct {
	state   atomic.Uint32
	way     way
	n       int
	limiter *Limiter
	price   *price // if a limit with Cost is for the send
	// reserved is what the send may use, the same for each hold.
	reserved amounts
	inline   [inlineHolds]hold
	more     []hold
	// charges are what the counter was asked for, at the second since.
	charges []Charge
	since   int64
}

func (r *Reservation) reset(l *Limiter, s *Send) {
	r.way, r.n, r.limiter, r.price, r.charges, r.since = local, 0, l, nil, nil, 0
	r.more = r.more[:0]
	input, output := l.worst(s)
	r.reserved = amounts{requests: 1, tokens: add(input, output)}
}

// next returns the hold that is to be filled, number r.n.
func (r *Reservation) next() *hold {
	if r.n >= inlineHolds && len(r.more) <= r.n-inlineHolds {
		r.more = append(r.more, hold{})
	}
	return r.hold(r.n)
}

func (r *Reservation) hold(i int) *hold {
	if i < inlineHolds {
		return &r.inline[i]
	}
	return &r.more[i-inlineHolds]
}

// Settle tells what the send has used. What was reserved above that is free again.
// If the send has used more than it had said, the rest is counted as well, even
// above a ceiling. Both are counted where the send was reserved; if that window is
// over, nothing is given back, and what is more counts in the present one.
func (r *Reservation) Settle(t Tokens) {
	if !r.state.CompareAndSwap(reserved, busy) {
		return
	}
	t = t.sane()
	used := amounts{requests: 1, tokens: add(t.Input, t.Output)}
	if r.price != nil {
		used[cost] = r.price.of(t)
	}
	r.end(&used)
}

// Release tells that the request was sent and has used nothing, as it was refused:
// tokens and cost are free again, the request counts.
func (r *Reservation) Release() {
	if r.state.CompareAndSwap(reserved, busy) {
		r.end(&amounts{requests: 1})
	}
}

// Cancel tells that the request was not sent: all is free again.
func (r *Reservation) Cancel() {
	if r.state.CompareAndSwap(reserved, busy) {
		r.end(&amounts{})
	}
}

// Keep tells that nobody knows what the send has used: all that was reserved
// stays counted. Only its place in flight is free again.
func (r *Reservation) Keep() {
	if r.state.CompareAndSwap(reserved, busy) {
		used := r.reserved
		r.end(&used)
	}
}

func (r *Reservation) end(used *amounts) {
	l := r.limiter
	now := l.second()
	for i := range r.n {
		l.tell(r.hold(i).end(l, r.way, &r.reserved, used, now))
	}
	if len(r.charges) > 0 {
		r.settle(used, now)
	}
	r.n, r.charges = 0, nil
	r.state.Store(free)
}

// undo gives back all that was taken in this process, since the send is refused.
func (r *Reservation) undo(now int64) {
	for i := range r.n {
		r.hold(i).end(r.limiter, r.way, &r.reserved, &amounts{}, now)
	}
	r.n, r.charges = 0, nil
}
