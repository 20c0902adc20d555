package rotation

import "time"

// An Event tells of a step that was taken or has failed, of an orphan that was revoked,
// or of the end of a run. It holds no secret.
type Event struct {
	// Time is when the step ended, by the clock of the Rotator.
	Time time.Time
	// Step is what was done: a step, Revoke for an orphan, or End for the end of a run.
	Step Step
	// Token and KeyID name the version that the step is about, and its key. KeyID is
	// empty where there is no key yet; at the end of a run Token is the current version.
	Token, KeyID string
	// Err is why the step or the run has failed; nil otherwise. A step that has failed
	// may have been carried out all the same.
	Err error
	// Report is that of the run, at its end; otherwise nil.
	Report *Report
}

func (n *run) event(e Event) {
	if n.opts.OnEvent != nil {
		e.Time = n.opts.Now()
		n.opts.OnEvent(e)
	}
}

// taken is the event of a step that was taken in the state s.
func (n *run) taken(step Step, s State, err error) Event {
	e := Event{Step: step, Err: err}
	about := s.Pending
	switch {
	case step == Prepare:
		e.Token = n.prepared
		return e
	case step == Issue:
		e.KeyID = n.issued
	case step == Retire:
		about = s.Previous
	}
	if about != nil {
		e.Token = about.Token
		if about.KeyID != "" {
			e.KeyID = about.KeyID
		}
	}
	return e
}
