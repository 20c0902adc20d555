package awssecret

import (
	"sync"
	"time"
)

const (
	// handOverAge bounds the age of what is handed over. A Cache asks the
	// standby right after the primary.
	handOverAge = time.Second
	// rejectedFor is for how long after a rejection every read goes past the
	// caches on the way: twice the grace of a credential.Cache.
	rejectedFor = 10 * time.Second
)

// A link connects a primary with its standbys.
//
// It passes what the primary's read got on to the standby that has its key in
// the same document: once, at once, and errors as well, or an outage would cost
// two calls a read. And it tells the primary of a rejection that its standby
// suffered.
type link struct {
	mu     sync.Mutex
	reads  int
	result func() (Version, error) // nil: nothing to take
	at     time.Time               // wall time of result: the process may freeze
	last   time.Time               // wall time of the last rejection
}

func now() time.Time { return time.Now().Round(0) }

func within(d time.Duration, at time.Time) bool {
	age := now().Sub(at)
	return age >= 0 && age <= d
}

// begin returns the number of a read that starts now. What an older read got
// may be from before the rejection.
func (l *link) begin() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	l.result = nil
	return l.reads
}

// put hands over what the read of that number got, unless it is out of a cache.
func (l *link) put(n int, fresh bool, doc Version, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == l.reads && fresh {
		l.result = func() (Version, error) { return doc, err }
		l.at = now()
	}
}

func (l *link) take() (doc Version, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.result == nil {
		return Version{}, false, nil
	}
	doc, err = l.result()
	l.result = nil
	return doc, within(handOverAge, l.at), err
}

func (l *link) reject() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = now()
}

func (l *link) rejected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return within(rejectedFor, l.last)
}
