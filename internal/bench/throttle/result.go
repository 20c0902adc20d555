package throttle

import (
	"math"
	"slices"
	"time"
)

// Figures are what calls have cost.
type Figures struct {
	Calls, OK, Failed int
	// InTime counts the calls that succeeded before Scenario.For was over; it
	// is OK where groups have a number of calls.
	InTime int
	// Sends are the requests that arrived at the service, and Accepted those
	// of them that it let through.
	Sends, Accepted int
	// P50 and P99 are of the calls that succeeded.
	P50, P99 time.Duration
	// Wait is the longest time that a call was not on the wire.
	Wait time.Duration
	// Late are the failed calls that took longer than AtOnce.
	Late int
	// Refused are the failed calls that returned the service's own 429.
	Refused int
	// FirstError is the first failure's text.
	FirstError string
}

// AtOnce is more than one answer of the service takes, and less than any wait
// for a turn.
const AtOnce = 100 * time.Millisecond

// A Result is what a run has cost.
type Result struct {
	Client string
	Figures
	// Time is from the first call's begin to the last call's end.
	Time time.Duration
	// Groups are the figures by Group.Name.
	Groups map[string]Figures
	// Steady is of the calls and requests that began at Scenario.Steady or
	// later.
	Steady Figures
	// Shares of each process in what was accepted from Scenario.Steady on.
	Shares []float64
	// Drop is of the requests while a limit was lowered.
	Drop Figures
	// Recovery is how long after Scenario.Back the limit was in full use: at
	// least nine tenths of it over the next two seconds.
	Recovery time.Duration
	// PerSecond counts the requests in each second.
	PerSecond []Second
}

// A Second is the requests that arrived in it.
type Second struct{ Accepted, Refused int }

// SendsPerCall returns sends / calls.
func (f Figures) SendsPerCall() float64 { return ratio(float64(f.Sends), float64(f.Calls)) }

// Share returns how many calls of the first group succeeded in time, of those
// that the limit allows.
func (s Scenario) Share(r Result) float64 {
	name := s.Groups[0].Name
	return ratio(float64(r.Groups[name].InTime), float64(Ideal(s).Groups[name].InTime))
}

func ratio(n, of float64) float64 {
	if of == 0 {
		return 0
	}
	return n / of
}

func summary(s Scenario, client string, all []*call, seen []Arrival) Result {
	slices.SortFunc(seen, func(a, b Arrival) int { return int(a.At - b.At) })
	r := Result{Client: client, Figures: figures(s, all, seen), Groups: map[string]Figures{}}
	for _, c := range all {
		r.Time = max(r.Time, c.end)
	}
	for _, g := range s.Groups {
		mine := func(c *call) bool { return c.group.Name == g.Name }
		names := map[string]bool{}
		for _, other := range s.Groups {
			names[other.client()] = other.Name == g.Name
		}
		r.Groups[g.Name] = figures(s, where(all, mine), where(seen, func(a Arrival) bool { return names[a.Client] }))
	}
	late := where(seen, func(a Arrival) bool { return a.At >= s.Steady })
	r.Steady = figures(s, where(all, func(c *call) bool { return c.start >= s.Steady }), late)
	r.Shares = shares(s, late)
	if from, to, ok := s.dropped(); ok {
		within := func(at time.Duration) bool { return at >= from && at < to }
		r.Drop = figures(s, where(all, func(c *call) bool { return within(c.end) }),
			where(seen, func(a Arrival) bool { return within(a.At) }))
	}
	if s.Back > 0 {
		r.Recovery = s.recovery(seen)
	}
	r.PerSecond = perSecond(seen)
	return r
}

func perSecond(seen []Arrival) (all []Second) {
	for _, a := range seen {
		i := int(a.At / time.Second)
		for len(all) <= i {
			all = append(all, Second{})
		}
		if a.Accepted {
			all[i].Accepted++
		} else {
			all[i].Refused++
		}
	}
	return all
}

func where[T any](all []T, ok func(T) bool) []T {
	var some []T
	for _, x := range all {
		if ok(x) {
			some = append(some, x)
		}
	}
	return some
}

func figures(s Scenario, all []*call, seen []Arrival) Figures {
	var f Figures
	var took []time.Duration
	var first *call
	for _, c := range all {
		f.Calls++
		f.Wait = max(f.Wait, c.waited())
		if c.err == nil {
			f.OK++
			took = append(took, c.took())
			if s.For == 0 || c.end <= s.For {
				f.InTime++
			}
			continue
		}
		f.Failed++
		if c.took() > AtOnce {
			f.Late++
		}
		if status(c.err) == tooMany {
			f.Refused++
		}
		if first == nil || c.end < first.end {
			first, f.FirstError = c, c.err.Error()
		}
	}
	for _, a := range seen {
		f.Sends++
		if a.Accepted {
			f.Accepted++
		}
	}
	slices.Sort(took)
	f.P50, f.P99 = quantile(took, 0.5), quantile(took, 0.99)
	return f
}

// quantile returns the smallest of sorted that a share q does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

// shares returns each process's part of what was accepted.
func shares(s Scenario, seen []Arrival) []float64 {
	process := map[string]int{}
	var counts []float64
	for _, g := range s.Groups {
		process[g.client()] = g.Process
		for len(counts) <= g.Process {
			counts = append(counts, 0)
		}
	}
	total := 0.0
	for _, a := range seen {
		if a.Accepted {
			counts[process[a.Client]]++
			total++
		}
	}
	for i := range counts {
		counts[i] = ratio(counts[i], total)
	}
	return counts
}

// dropped returns when the limit of the first group's model is lowered, and
// until when.
func (s Scenario) dropped() (from, to time.Duration, ok bool) {
	limits := s.Limits[s.Groups[0].Model]
	if len(limits) == 0 {
		return 0, 0, false
	}
	from = limits[0].Phases[0].For
	return from, s.Back, from < s.Back
}

// recovery counts in windows of two seconds, so that a burst after a pause is
// not taken for full use.
func (s Scenario) recovery(seen []Arrival) time.Duration {
	const window, step = 2 * time.Second, 100 * time.Millisecond
	rate, _ := s.Limits[s.Groups[0].Model][0].phase(s.Back)
	for from := s.Back; from+window <= s.For; from += step {
		n := 0
		for _, a := range seen {
			if a.Accepted && a.At >= from && a.At < from+window {
				n++
			}
		}
		if float64(n) >= 0.9*rate*window.Seconds() {
			return from - s.Back
		}
	}
	return s.For - s.Back
}
