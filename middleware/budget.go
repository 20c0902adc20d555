package middleware

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// failureEarns is what a first send that failed pays in: an outage costs so
// many more sends for each call, apart from what was in hand before it.
const failureEarns = 0.08

// A budget bounds the retries of a layer while nothing succeeds, so that an
// outage is not made worse by those who wait for its end (gRFC A6, "Throttling
// Retry Attempts"). It begins full. A retry takes a token and brings it back if
// it succeeds; a call that succeeds at once pays one in. A retry that finds
// none waits for one as long as it would have waited without us. The nil budget
// is without bound.
type budget struct {
	full    float64
	isFull  atomic.Bool // no need for the lock
	mu      sync.Mutex
	tokens  float64
	waiting list.List // of chan struct{}: one token each
}

func newBudget(tokens int) *budget {
	b := &budget{full: float64(tokens), tokens: float64(tokens)}
	b.isFull.Store(true)
	return b
}

// succeeded pays in for a call that succeeds at once, or brings a token back.
func (b *budget) succeeded() {
	if b == nil || b.isFull.Load() {
		return
	}
	b.pay(1)
}

// failed pays in for a first send that failed.
func (b *budget) failed() {
	if b != nil && !b.isFull.Load() {
		b.pay(failureEarns)
	}
}

func (b *budget) pay(n float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens += n
	for b.tokens >= 1 && b.waiting.Len() > 0 {
		b.tokens--
		first := b.waiting.Front()
		close(tokenOf(first))
		b.waiting.Remove(first)
	}
	b.tokens = min(b.tokens, b.full)
	b.isFull.Store(b.tokens == b.full)
}

// take takes a token, if there is one. If not, it returns a place in the line.
func (b *budget) take() *list.Element {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens >= 1 && b.waiting.Len() == 0 {
		b.tokens--
		b.isFull.Store(false)
		return nil
	}
	return b.waiting.PushBack(make(chan struct{}))
}

// leave gives a place up. It reports whether the caller has a token anyway.
func (b *budget) leave(place *list.Element) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-tokenOf(place):
		return true
	default:
	}
	b.waiting.Remove(place)
	return false
}

// giveUp is leave for a call that has ended. A nil place is none.
func (b *budget) giveUp(place *list.Element) {
	if place != nil && b.leave(place) {
		b.succeeded() // the token was not used
	}
}

// tokenOf returns the channel that is closed when a place gets its token.
func tokenOf(place *list.Element) chan struct{} {
	token, _ := place.Value.(chan struct{}) // nothing else is put in
	return token
}
