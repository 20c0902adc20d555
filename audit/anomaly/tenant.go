package anomaly

import (
	"fmt"
	"math"
	"time"
)

const (
	hoursOfWeek = 7 * 24
	// unusualHours is how long the use of a tenant is learned for UnusualHour. For Rate
	// it is until the hour comes again.
	unusualHours = 2 * hoursOfWeek
	sixDays      = 6 * 24
	// forgetHours is after what time without a send a tenant is learned anew.
	forgetHours = 5 * hoursOfWeek
	// weekWeight is how much the last week counts in mean and deviation.
	weekWeight = 0.3
)

// A tenant is what is known of the use of one tenant.
type tenant struct {
	succeeded bool  // once
	first     int64 // the hour, since 1970, of the first send; 0 before
	hour      int64 // the present one
	amount    float64
	sends     int
	week      [hoursOfWeek]slot
}

// A slot is what an hour of the week is usually like. Days of the week are those of
// UTC; the hours before and after are looked at as well, so that nothing looks strange
// when the clocks are set for summer or winter.
type slot struct {
	mean, variance float64
	weeks          uint16
	used           int64 // the hour, since 1970, in which it was first used; 0 is never
}

// hours counts the use of the tenant.
func (f *finding) hours(s *send) {
	t, ours := f.tenants.get(s.credential.Tenant, f.now)
	if s.status >= 200 && s.status <= 299 && !t.succeeded {
		t.succeeded = ours
		if s.credential.Tenant != "" {
			f.isNew("tenant", s.credential.Tenant, ours, s)
		}
	}
	t.advance(f.now/hour, &f.opts)
	t.amount += s.amount
	t.sends++
	name := s.credential.Tenant
	if !ours {
		name = "(other)"
	}
	f.rate(t, name, s)
	f.unusual(t, name, s)
}

// advance learns the hours that are over.
func (t *tenant) advance(now int64, opts *Options) {
	if t.first != 0 && now-t.hour > forgetHours {
		*t = tenant{succeeded: t.succeeded}
	}
	if t.first == 0 {
		t.first, t.hour = now, now
	}
	for ; t.hour < now; t.hour++ {
		if s := &t.week[t.hour%hoursOfWeek]; s.used == 0 && t.sends > 0 {
			s.used = t.hour
		}
		if t.hour > t.first { // of the first hour, the beginning is not known
			t.learn(opts)
		}
		t.amount, t.sends = 0, 0
	}
}

// learn takes the present hour into its slot. What is far too much counts only as much
// as may be used without an alert, so that a runaway does not become usual at once.
func (t *tenant) learn(opts *Options) {
	x := t.amount
	if _, bound, ok := t.bound(opts); ok {
		x = min(x, bound)
	}
	s := &t.week[t.hour%hoursOfWeek]
	d := x - s.mean
	if s.weeks == 0 {
		s.mean = x
	} else {
		s.mean += weekWeight * d
		s.variance = (1 - weekWeight) * (s.variance + weekWeight*d*d)
	}
	s.weeks = min(s.weeks, math.MaxUint16-1) + 1
}

// around returns the slots of the present hour, the one before and the one after.
func (t *tenant) around() [3]*slot {
	h := t.hour % hoursOfWeek
	return [3]*slot{&t.week[h], &t.week[(h+hoursOfWeek-1)%hoursOfWeek], &t.week[(h+1)%hoursOfWeek]}
}

// bound returns what is usual in the present hour, and the most that is no alert.
func (t *tenant) bound(opts *Options) (norm, bound float64, learned bool) {
	slots := t.around()
	if slots[0].weeks == 0 {
		return 0, 0, false
	}
	var variance float64
	for _, s := range slots {
		norm, variance = max(norm, s.mean), max(variance, s.variance)
	}
	return norm, max(opts.RateFloor, opts.RateRatio*norm, norm+opts.RateDeviations*math.Sqrt(variance)), true
}

func (f *finding) rate(t *tenant, name string, s *send) {
	norm, bound, learned := t.bound(&f.opts)
	if !learned || t.amount <= bound || !f.opens(cause{rule: Rate, tenant: name}) {
		return
	}
	text := fmt.Sprintf("tenant %q has used %.0f tokens since %s; usual is %.0f in the whole hour", name, t.amount, clock(t.hour), norm)
	if f.prices != nil {
		text = fmt.Sprintf("tenant %q has spent %.2f since %s; usual is %.2f in the whole hour", name, t.amount, clock(t.hour), norm)
	}
	f.add(Alert{
		Rule: Rate, Tenant: name, Source: s.credential.Source, Version: s.credential.Version, Model: s.model, Endpoint: s.endpoint, Process: s.process,
		Text: text, Value: t.amount, Norm: norm,
	})
}

func clock(h int64) string { return time.UnixMilli(h * hour).UTC().Format("15:04 MST") }

func (f *finding) unusual(t *tenant, name string, s *send) {
	if t.sends < f.opts.UnusualSends || t.hour-t.first < unusualHours {
		return
	}
	for _, slot := range t.around() {
		if slot.used != 0 && slot.used <= t.hour-sixDays { // not in the last hours only
			return
		}
	}
	if !f.opens(cause{rule: UnusualHour, tenant: name}) {
		return
	}
	f.add(Alert{
		Rule: UnusualHour, Tenant: name, Source: s.credential.Source, Version: s.credential.Version, Model: s.model, Endpoint: s.endpoint, Process: s.process,
		Text:  fmt.Sprintf("tenant %q has sent %d requests since %s %s: it never has at this time of the week", name, t.sends, weekday(t.hour), clock(t.hour)),
		Value: float64(t.sends),
	})
}

func weekday(h int64) string { return time.UnixMilli(h * hour).UTC().Weekday().String() }
