package rotation

import "time"

// A Step is what a rotator does next, in the order of the constants. An [Event] may
// also tell of Revoke, of an orphan, and of End, of a run.
type Step string

// The steps. Issue includes staging the key. Wait means that nothing is due.
const (
	Prepare Step = "prepare"
	Issue   Step = "issue"
	Prove   Step = "prove"
	Promote Step = "promote"
	Retire  Step = "retire"
	Wait    Step = "wait"
	// Of events only.
	Revoke Step = "revoke"
	End    Step = "end"
)

// A plan is the next step, and when it is time for one if it is to wait.
type plan struct {
	step Step
	at   time.Time
}

// A claim is what one run knows beside the state: the token of the version that it
// has prepared, that of the one that it has proved, whether it has to rotate, and
// whether another service has prepared the version and directs the steps.
type claim struct {
	prepared, proved string
	force, directed  bool
}

// lease is how long a rotator has from prepare to stage. Then another one begins
// anew, under another token: what the first one may have made is never taken, and
// never revoked while it may be in use.
const lease = 5 * time.Minute

// next decides what is to be done.
func (o *Options) next(s State, now time.Time, c claim) plan {
	force := c.force
	switch {
	case s.Pending != nil && s.Pending.Secret.IsZero() && s.Pending.Token == c.prepared:
		return plan{step: Issue}
	case s.Pending != nil && s.Pending.Secret.IsZero() && now.Before(s.Pending.Prepared.Add(lease)):
		return plan{Wait, s.Pending.Prepared.Add(lease)}
	case s.Pending != nil && s.Pending.Secret.IsZero():
		return plan{step: Prepare}
	case s.Pending != nil && s.Pending.Token != c.proved:
		return plan{step: Prove}
	case s.Pending != nil && s.Previous != nil:
		// There is room for one previous version: it has to go first.
		return o.retiring(s, now, force)
	case s.Pending != nil:
		return plan{step: Promote}
	case s.Current == nil, force:
		return plan{step: Prepare}
	}
	due := o.due(s.Current)
	if s.Previous != nil {
		return o.retiring(s, now, false) // it goes before another one comes
	}
	if !now.Before(due) {
		return plan{step: Prepare}
	}
	return plan{Wait, due}
}

// due is when the next key is. One that ends earlier than Every needs, because it was
// promoted late or the issuer has shortened its life, goes as long before its end as
// any other, or else after half of its time: readers must not be left with a dead key.
func (o *Options) due(current *Version) time.Time {
	due := current.Promoted.Add(o.Every)
	if current.Expires.IsZero() {
		return due
	}
	by := current.Expires.Add(-o.Longest - o.Slack)
	if half := current.Promoted.Add(current.Expires.Sub(current.Promoted) / 2); by.Before(half) {
		by = half
	}
	if by.Before(due) {
		return by
	}
	return due
}

// retiring is to retire after the overlap, or at once where a key has to go.
func (o *Options) retiring(s State, now time.Time, force bool) plan {
	at := s.Current.Promoted.Add(o.Overlap)
	if s.Current.Urgent {
		at = s.Current.Promoted.Add(2 * o.ReadersTTL)
	}
	if force || !now.Before(at) {
		return plan{step: Retire}
	}
	return plan{Wait, at}
}
