package credential

import (
	"errors"
	"time"
)

// An EventKind is the kind of an [Event].
type EventKind string

// The kinds of events.
const (
	// EventLoaded: a read gave the value in use, the first one or the same again.
	EventLoaded EventKind = "loaded"
	// EventRotated: a read gave another value, which is now in use.
	EventRotated EventKind = "rotated"
	// EventPromoted: the standby's value is now in use.
	EventPromoted EventKind = "promoted"
	// EventRejected: the service refused the value in use, and the source is
	// read for another one. A refusal that is refuted before the read, because
	// the service accepts the value on other calls, is no event.
	EventRejected EventKind = "rejected"
	// EventFailed: a read failed, or gave nothing that is not rejected.
	EventFailed EventKind = "failed"
	// EventStaleServed: a value past its TTL bridges an outage of the source.
	EventStaleServed EventKind = "stale-served"
	// EventExpiring: the value in use will soon expire, and the source has no
	// other one; see CacheOptions.ExpiryWarning. There is one for each value.
	EventExpiring EventKind = "expiring"
	// EventSkipped: a chain passed over a source that is not available, and
	// another one was available. Err says why.
	EventSkipped EventKind = "skipped"
)

// An Event tells what happened to the credential in a [Cache], for an audit
// log or a metric. It never holds the secret.
type Event struct {
	// Kind is what happened.
	Kind EventKind
	// Time is when it happened, by the clock of the Cache.
	Time time.Time
	// Source and Version are those of the value, or of what failed.
	Source, Version string
	// Tenant is whose credential it is, if the Cache is one of [Tenants].
	Tenant string
	// Age is how long ago the value was loaded; zero if it has just been.
	Age time.Duration
	// Expires is when the value expires; zero if it does not.
	Expires time.Time
	// Took is how long the read has taken that the event tells of, by the clock of the
	// Cache: of the kinds loaded, rotated, promoted and failed. It is zero for others.
	Took time.Duration
	// Err is why a read failed or a source was passed over; nil otherwise.
	Err error
}

// emit tells the handler what happened to e, the value in use; nil is none.
func (c *Cache) emit(kind EventKind, e *entry, err error) { c.tell(c.event(kind, e, err)) }

// emitRead is emit for what a read has brought.
func (c *Cache) emitRead(r *read, kind EventKind, e *entry, err error) {
	ev := c.event(kind, e, err)
	ev.Took = time.Duration(max(0, c.set.time()-r.began))
	c.tell(ev)
}

func (c *Cache) event(kind EventKind, e *entry, err error) Event {
	ev := Event{Kind: kind, Source: c.name, Err: err}
	se := (*SourceError)(nil)
	switch {
	case kind == EventFailed && errors.As(err, &se):
		ev.Source = se.Source
	case e != nil:
		ev.Source, ev.Version, ev.Expires = e.val.Source, e.val.Version, e.val.Expires
		ev.Age = time.Duration(max(0, c.set.time()-e.loaded))
	}
	return ev
}

// tell calls the handler. A panic of it must not fail the calls that wait.
func (c *Cache) tell(ev Event) {
	if c.set.onEvent == nil {
		return
	}
	defer func() { _ = recover() }()
	ev.Time = time.Unix(0, c.set.time())
	c.set.onEvent(ev)
}
