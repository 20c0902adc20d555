package limit

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrPrice is in the error of a Reserve for a model that has no price, while a
	// limit with Cost is for it. Nothing is guessed: put the model or "*" into
	// Options.Prices.
	ErrPrice = errors.New("no price for the model")
	// ErrCounter is in the error of a Reserve while the shared counter fails, and
	// this process may not use what it asks for alone (Options.Fallback).
	ErrCounter = errors.New("the shared counter failed")
)

// An Error is the refusal of a send by a limit. Errors are shared between sends
// and must not be changed.
type Error struct {
	// Limit is the name of the limit, and What its ceiling that has no room:
	// "requests", "tokens", "cost" or "in flight".
	Limit, What string
	// Tenant, Model and Endpoint are set if the limit is for one or counts by
	// them.
	Tenant, Model, Endpoint string
	// Reset is when there is room for the send, if nothing else is reserved until
	// then and nothing is given back. It is zero for what is in flight, and for a
	// request that is larger than the ceiling itself, which never fits.
	Reset time.Time

	alone  bool // the counter failed
	shared bool // by keys beyond MaxKeys
}

const inFlight = "in flight"

// Error says which limit refused the send and until when.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("limit")
	if e.Limit != "" {
		b.WriteString(" " + quote(e.Limit))
	}
	b.WriteString(": ")
	if e.alone {
		b.WriteString(ErrCounter.Error() + ", and of what this process may use alone: ")
	}
	switch {
	case e.What == inFlight:
		b.WriteString("as many requests are in flight as it allows")
	case e.Reset.IsZero() && e.alone:
		b.WriteString("the request may use more " + e.What + " than all of it")
	case e.Reset.IsZero():
		b.WriteString("the request may use more " + e.What + " than the whole limit and never fits: raise the limit, or ask for less")
	default:
		b.WriteString("no room for more " + e.What)
	}
	sep := " for "
	for _, f := range [...]struct{ name, value string }{{"tenant ", e.Tenant}, {"model ", e.Model}, {"endpoint ", e.Endpoint}} {
		if f.value != "" {
			b.WriteString(sep + f.name + quote(f.value))
			sep = ", "
		}
	}
	if e.shared {
		b.WriteString(", in the count that all share for whom Options.MaxKeys leaves none")
	}
	if !e.Reset.IsZero() {
		b.WriteString(" until " + e.Reset.Format(time.RFC3339))
	}
	return b.String()
}

// Unwrap returns ErrCounter if the send was refused because the shared counter
// failed, and nil otherwise.
func (e *Error) Unwrap() error {
	if e.alone {
		return ErrCounter
	}
	return nil
}

// quote quotes what came from outside. It shows no more of it than tells what is
// meant.
func quote(s string) string {
	const most = 100
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

func (k kind) what() string {
	switch k {
	case requests:
		return "requests"
	case tokens:
		return "tokens"
	case cost:
		return "cost"
	default:
		return inFlight
	}
}

// remembered is the last error of a count, so that a refusal allocates nothing as
// long as it says the same.
type remembered struct {
	err   *Error
	rule  *rule
	reset int64
}

// refusal returns the error for kind k. reset is a Unix time, 0 for none.
func (c *count) refusal(r *rule, l *Limiter, k kind, reset int64, alone bool) *Error {
	m := &c.refused[k]
	if m.err != nil && m.rule == r && m.reset == reset && m.err.alone == alone {
		return m.err
	}
	e := &Error{Limit: r.limit.Name, What: k.what(), alone: alone, shared: c.shared}
	e.Tenant, e.Model, e.Endpoint = r.names(c.key)
	if reset != 0 {
		e.Reset = time.Unix(reset, 0).In(l.location)
	}
	m.err, m.rule, m.reset = e, r, reset
	return e
}
