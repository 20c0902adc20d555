// Package limit holds ceilings for requests, tokens and money, for one process
// or, with a shared [Counter], for several. It sends nothing: the layer
// middleware.Limit asks it before each send and tells it what the send used.
//
// A [Limiter] reserves before a request is sent: what the request can cost at
// the most is counted at once, so that a burst of calls cannot pass a ceiling
// together. When the service has told what it used, the reservation is settled,
// and the rest is free again. A reservation for a send whose use nobody knows is
// kept as it is: of a stream that was cut, for example.
//
// A Month or a Day is one of the calendar, a Minute is any 60 seconds. Money is
// counted in billionths of the currency, rounded up for each send. A send that
// asks for more than a limit has room for is refused with an [*Error]; nothing
// waits.
//
// The counts of one process are lost when it ends.
package limit

import (
	"context"
	"time"
)

// A Window is the time that a ceiling is for.
type Window uint8

const (
	// Minute is any minute: at every instant, what was reserved in the last 60
	// seconds is at most the ceiling. Time is counted in whole seconds, upwards.
	Minute Window = iota + 1
	// Day is a day of the calendar in Options.Location. It has 23 or 25 hours
	// where the clocks change.
	Day
	// Month is a month of the calendar in Options.Location.
	Month
)

// A Key is a set of things that a [Limit] counts by: ByTenant|ByModel is a count
// for each model of each tenant. The zero Key is one count for all.
type Key uint8

const (
	// ByTenant is a count for each tenant.
	ByTenant Key = 1 << iota
	// ByModel is a count for each model.
	ByModel
	// ByEndpoint is a count for each endpoint.
	ByEndpoint
)

// A Limit is a ceiling, or several: each of Requests, Tokens, Cost and InFlight is one
// by itself; 0 is none.
type Limit struct {
	// Name is what errors, events and a shared counter call the limit. It must be
	// unique among those of a Limiter. It may be empty if the Limiter has one
	// limit only.
	Name string
	// Tenant, Model and Endpoint restrict the limit to the sends for them; empty
	// is all. Model is the name that the request has for it, Endpoint that of the
	// endpoint among several.
	Tenant, Model, Endpoint string
	// By is what is counted by.
	By Key
	// Per is the window of Requests, Tokens and Cost; without one of these it
	// must be 0.
	Per Window
	// Requests is how many requests may be sent: each retry is one more.
	Requests int64
	// Tokens is how many tokens may be used, input and output together.
	Tokens int64
	// Cost is how much may be spent, in the currency of Options.Prices.
	Cost float64
	// InFlight is how many requests may be under way at once. It is counted in each
	// process for itself, also with a shared counter: nobody can tell what a
	// process had under way that was killed.
	InFlight int64
	// Soft lets a send pass that is over the ceiling, and only reports it to
	// Options.OnEvent. A model without a price is refused all the same.
	Soft bool
}

// A Price is what a model costs, in a currency of the operator's choice for a
// million tokens.
type Price struct {
	// Input and Output are for tokens that none of the other prices is for.
	Input, Output float64
	// CachedInput is for input that the service had in its cache, CacheWrite for
	// input that it has put there. 0 is the price of Input.
	CachedInput, CacheWrite float64
	// Reasoning is for output that the caller does not see. 0 is the price of
	// Output.
	Reasoning float64
}

// A Counter counts for several processes; redislimit has one.
// It must be safe for concurrent use.
type Counter interface {
	// Reserve adds Amount of each charge to its count if no count passes its Max
	// by that, and else adds none. It returns the index of the first charge that
	// there is no room for, and when there may be; the index is -1 if all were
	// added, and then At is set in each charge. If it returns an error it may
	// have added them. It does not use charges after it has returned.
	Reserve(ctx context.Context, charges []Charge) (full int, reset time.Time, err error)
	// Settle adds Amount, which is mostly negative, of each charge to the window
	// that At names, and Max does not matter. It does not block: it may be sent
	// later, with the next Reserve. A charge whose window is over is dropped. The
	// slice is the counter's from then on.
	Settle(charges []Charge)
}

// A Charge is an amount for one window of one count.
type Charge struct {
	// Key names the count: the limit, what it counts, and whose. It is unique
	// among the counts of a Limiter, and may hold any byte.
	Key string
	// Window is the kind of window. A Minute is the last 60 seconds of the counter's
	// own clock.
	Window Window
	// Start is the first moment of a Day or Month and End that of the next one, by
	// the clock of the process; both are zero for a Minute.
	Start, End time.Time
	// Max is the ceiling and Amount what is added: requests, tokens, or
	// billionths of the currency. Max is math.MaxInt64 for a soft limit.
	Max, Amount int64
	// At is the second, as Unix time by the counter's own clock, at which the
	// charge was reserved. What was used while the counter failed has the second
	// of the process's clock.
	At int64
}
