package middleware

import "sync/atomic"

const (
	budgetUnit = 10 // tokens are kept in tenths: a success earns one tenth
)

// A budget bounds the retries of a layer to a part of its traffic, so that an
// outage is not made worse by those who wait for its end (gRFC A6, "Throttling
// Retry Attempts"). It begins full. The nil budget is without bound.
type budget struct {
	tenths atomic.Int64
	full   int64
}

func newBudget(tokens int) *budget {
	b := &budget{full: int64(tokens) * budgetUnit}
	b.tenths.Store(b.full)
	return b
}

// succeeded pays in for an answer that needs no retry.
func (b *budget) succeeded() {
	if b == nil {
		return
	}
	// Full is the usual case: one load, no contention.
	for n := b.tenths.Load(); n < b.full; n = b.tenths.Load() {
		if b.tenths.CompareAndSwap(n, n+1) {
			return
		}
	}
}

// take pays for one retry, if there is enough.
func (b *budget) take() bool {
	if b == nil {
		return true
	}
	for n := b.tenths.Load(); n >= budgetUnit; n = b.tenths.Load() {
		if b.tenths.CompareAndSwap(n, n-budgetUnit) {
			return true
		}
	}
	return false
}
