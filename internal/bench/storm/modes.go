package storm

import "time"

// Times are the durations of a storm. [DefaultTimes] has those of the real
// services; tests use shorter ones.
type Times struct {
	Answer  time.Duration // of the service, with a valid key
	Refusal time.Duration // of the service, without
	Read    time.Duration // of the store
	Rotate  time.Duration // from the start to the rotation
	Overlap time.Duration // mode overlap: how long both keys are valid
	Gap     time.Duration // modes lag and early: how long no key works
	Grace   time.Duration // of the Cache
}

// DefaultTimes returns the times of a chat completion, a 401 and a read of a
// secret.
func DefaultTimes() Times {
	return Times{
		Answer: 100 * time.Millisecond, Refusal: 20 * time.Millisecond, Read: 20 * time.Millisecond,
		Rotate: time.Second, Overlap: time.Second, Gap: 300 * time.Millisecond, Grace: 5 * time.Second,
	}
}

// A Mode is a way in which keys are rotated.
type Mode struct {
	Name string
	What string
	// Heals is false if no call can succeed after the rotation.
	Heals bool
	// steps are done after the rotation, at these times.
	steps func(t Times) []step
}

type step struct {
	at time.Duration
	do func(*service, *store)
}

// Modes returns all modes.
func Modes() []Mode {
	return []Mode{
		{"abrupt", "the store has the new key, and the old one is dead, at the same time", true, func(Times) []step {
			return []step{{0, func(svc *service, st *store) { st.publish(newKey); svc.accept(newKey) }}}
		}},
		{"overlap", "the store has the new key; the old one dies later", true, func(t Times) []step {
			return []step{
				{0, func(svc *service, st *store) { st.publish(newKey); svc.accept(oldKey, newKey) }},
				{t.Overlap, func(svc *service, _ *store) { svc.accept(newKey) }},
			}
		}},
		{"lag", "the old key is dead; the store has the new one later", true, func(t Times) []step {
			return []step{
				{0, func(svc *service, _ *store) { svc.accept(newKey) }},
				{t.Gap, func(_ *service, st *store) { st.publish(newKey) }},
			}
		}},
		{"early", "the old key is dead and the store has the new one; the service knows it later", true, func(t Times) []step {
			return []step{
				{0, func(svc *service, st *store) { st.publish(newKey); svc.accept() }},
				{t.Gap, func(svc *service, _ *store) { svc.accept(newKey) }},
			}
		}},
		{"dead", "the old key is dead; the store never has another", false, func(Times) []step {
			return []step{{0, func(svc *service, _ *store) { svc.accept() }}}
		}},
	}
}
