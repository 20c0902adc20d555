package anomaly

import (
	"fmt"
	"math"

	"github.com/latchkey-go/latchkey/middleware"
)

// window is the number of minutes in which refusals are counted.
const window = 5

const (
	refusedShare = 0.05 // of the sends, at least
	refusedTimes = 5    // what is usual, at least
	// usualMinutes is over how many minutes with sends the usual share is taken.
	usualMinutes = 24 * 60
)

// refusals count the sends of a source, and those that were refused.
type refusals struct {
	minute        int64
	last          [window]tally // by minute
	judged        tally         // the window at the end of a Replay, which is not judged twice
	version       string        // that was refused last
	process       string        // in which it was
	sends, refuse float64       // what is usual in a minute, decaying; only their share is of use
}

type tally struct{ sends, refused int64 }

// count counts a send. When a minute has ended it looks at the window.
func (f *finding) count(s *source, by *send, id *middleware.Identity, refused, ours bool) {
	r := &s.refusals
	now := f.now / minute
	if r.minute == 0 {
		r.minute = now
	}
	if now > r.minute {
		f.judge(r, identity{id.Tenant, id.Source}, ours)
		r.advance(now)
	}
	t := &r.last[now%window]
	t.sends++
	if refused && !s.replaced(id.Version) {
		t.refused++
		r.refusedBy(id.Version, by.process)
	}
}

// refusedBy remembers what was refused last, without an allocation if it is the same.
func (r *refusals) refusedBy(version, process string) {
	if r.version != version {
		r.version = clone(version)
	}
	if r.process != process {
		r.process = clone(process)
	}
}

// replaced reports whether there is a newer version: that this one is refused is the
// end of a rotation.
func (s *source) replaced(name string) bool {
	for _, v := range s.versions {
		if v.name == name {
			return v.replaced != 0
		}
	}
	return false
}

func (r *refusals) sum() (sum tally) {
	for _, t := range r.last {
		sum.sends += t.sends
		sum.refused += t.refused
	}
	return sum
}

// usual is the share that is usually refused.
func (r *refusals) usual() float64 {
	if r.sends == 0 {
		return 0
	}
	return r.refuse / r.sends
}

// many reports whether the window has too many refusals.
func (r *refusals) many(least int) bool {
	sum := r.sum()
	if sum.refused < int64(least) {
		return false
	}
	share := float64(sum.refused) / float64(sum.sends)
	return share > refusedShare && share > refusedTimes*r.usual()
}

// advance learns the minute that has ended and makes room for the next.
func (r *refusals) advance(now int64) {
	ended := r.last[r.minute%window]
	if ended.sends > 0 {
		const keep = 1 - 1.0/usualMinutes
		r.sends = r.sends*keep + float64(ended.sends)
		r.refuse = r.refuse*keep + float64(ended.refused)
	}
	for m := r.minute + 1; m <= min(now, r.minute+window); m++ {
		r.last[m%window] = tally{}
	}
	r.minute, r.judged = now, tally{}
}

// judge alerts if the window has too many refusals. ours is whether the source is a
// single one.
func (f *finding) judge(r *refusals, id identity, ours bool) {
	c := cause{rule: Refusals, tenant: id.tenant, source: id.source}
	if !ours {
		c = cause{rule: Refusals, source: "(other)", more: true}
	}
	sum := r.sum()
	if sum == r.judged || !r.many(f.opts.Refusals) || !f.opens(c) {
		return
	}
	f.add(Alert{
		Rule: Refusals, Tenant: c.tenant, Source: c.source, Version: r.version, Process: r.process,
		Text:  fmt.Sprintf("%d of %d sends with %q were refused within %d minutes", sum.refused, sum.sends, c.source, window),
		Value: float64(sum.refused), Norm: math.Ceil(float64(sum.sends) * max(refusedShare, refusedTimes*r.usual())),
	})
}

// judgeAll judges the last minute, after which nothing may come.
func (w *Watch) judgeAll() []Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := finding{Watch: w, at: w.now}
	last := func(r *refusals, id identity, ours bool) {
		f.judge(r, id, ours)
		r.judged = r.sum()
	}
	for id, s := range w.sources.items {
		last(&s.of.refusals, id, true)
	}
	last(&w.sources.other.of.refusals, identity{}, false)
	return f.alerts
}
