package credential

import (
	"errors"
	"time"
)

// An Event tells what happened to the credential in a [Cache], for an audit
// log or a metric. It never holds the secret.
type Event struct {
	// Kind is one of
	//
	//	loaded        a read gave the value in use: the first one, or the same again
	//	rotated       a read gave another value, now in use
	//	promoted      the standby's value is now in use
	//	rejected      the service refused the value in use, for the first time
	//	failed        a read failed, or gave nothing that is not rejected
	//	stale-served  an outage is bridged with a value older than its TTL
	Kind string
	// Time is when it happened, by the Cache's clock.
	Time time.Time
	// Source and Version are those of the value, or of what failed.
	Source, Version string
	// Age is how long ago the value was loaded; zero if it just was.
	Age time.Duration
	// Err is why a read failed; nil otherwise.
	Err error
}

func (c *Cache) emit(kind string, e *entry, err error) {
	if c.set.onEvent == nil {
		return
	}
	now := c.set.time()
	ev := Event{Kind: kind, Time: now, Err: err}
	se := (*SourceError)(nil)
	switch {
	case kind == "failed" && errors.As(err, &se):
		ev.Source = se.Source
	case e != nil:
		ev.Source, ev.Version = e.val.Source, e.val.Version
		ev.Age = time.Duration(max(0, now.UnixNano()-e.loaded))
	default:
		ev.Source = sourceName(c.src())
	}
	// A panic of the handler must not fail the calls that wait for this one.
	defer func() { _ = recover() }()
	c.set.onEvent(ev)
}
