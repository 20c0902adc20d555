package awssecretsmanager

import (
	"sync"
	"time"
)

// A version is one version of a secret. The text is behind a func, so that no
// printer by reflection shows it.
type version struct {
	id   string
	text func() string
}

// handOverAge bounds the age of what is handed over. A Cache asks the standby
// right after the primary.
const handOverAge = time.Second

// A handOver passes what the primary's read got on to the standby, which has
// its key in the same document: once, at once, and errors as well, or an
// outage would cost two calls a read.
type handOver struct {
	mu     sync.Mutex
	reads  int
	result func() (version, error) // nil: nothing to take
	at     time.Time
}

// begin returns the number of a read that starts now. What an older read got
// may be from before the rejection.
func (h *handOver) begin() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads++
	h.result = nil
	return h.reads
}

func (h *handOver) put(n int, doc version, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n == h.reads {
		h.result = func() (version, error) { return doc, err }
		h.at = time.Now().Round(0) // by the wall: the process may freeze
	}
}

func (h *handOver) take() (doc version, err error, ok bool) { //nolint:revive,staticcheck // err is what was handed over
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.result == nil {
		return version{}, nil, false
	}
	doc, err = h.result()
	h.result = nil
	age := time.Now().Round(0).Sub(h.at)
	return doc, err, age >= 0 && age <= handOverAge
}
