package anomaly

import (
	"fmt"
	"hash/maphash"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// A source is what is known of one source of credentials.
type source struct {
	versions []*version // at most mostVersions
	now      *version   // the one that was put into use last
	since    int64      // when it was, or when the source was first seen
	refusals refusals
}

// mostVersions is how many versions of a source are remembered. One that comes back
// after it was forgotten looks like a new one.
const mostVersions = 16

// A version is what is known of one version of a source.
type version struct {
	name     string
	process  bool  // it is a time: other processes have others
	first    int64 // when it was first seen
	last     int64 // when it was last seen
	replaced int64 // 0 while it was not
	by       string
	refused  [mostProcesses]refusal
}

// A refusal is when a process, known by a hash of its name, was last refused a
// version.
type refusal struct {
	process uint64
	at      int64
}

// find returns the version, and adds it if it is new.
func (s *source) find(name string, now int64) (v *version, isNew bool) {
	for _, v := range s.versions {
		if v.name == name {
			v.last = now
			return v, false
		}
	}
	_, err := time.Parse(time.RFC3339Nano, name)
	v = &version{name: clone(name), first: now, last: now, process: err == nil}
	if len(s.versions) < mostVersions {
		s.versions = append(s.versions, v)
		return v, true
	}
	oldest := 0
	for i, other := range s.versions {
		if other != s.now && (s.versions[oldest] == s.now || other.last < s.versions[oldest].last) {
			oldest = i
		}
	}
	s.versions[oldest] = v
	return v, true
}

// seen notes that a process has a version. A version that was not known is newer
// than the others, unless they came into sight at about the same time: then the
// Watch has begun in the middle of a rotation.
func (f *finding) seen(s *source, name string) *version {
	if s == nil {
		return nil
	}
	if name == "" {
		if s.since == 0 {
			s.since = f.now
		}
		return nil
	}
	v, isNew := s.find(name, f.now)
	if isNew && (s.now == nil || v.process || f.now-s.now.first >= f.opts.Overlap.Milliseconds()) {
		f.put(s, v)
	}
	return v
}

// current notes that an event has named the version that is now in use. It may be an
// earlier one again.
func (f *finding) current(s *source, name string) {
	if s == nil {
		return
	}
	if name == "" {
		s.since = f.now
		return
	}
	v, _ := s.find(name, f.now)
	if s.now != v || v.replaced != 0 {
		f.put(s, v)
	}
}

// put makes v the version of the source that is in use. What others were refused
// until now has thereby found its end.
func (f *finding) put(s *source, v *version) {
	if s.now != nil {
		for i := range s.refusals.last {
			s.refusals.last[i].refused = 0
		}
	}
	s.now, s.since, v.replaced = v, f.now, 0
	for _, other := range s.versions {
		if other != v && other.replaced == 0 && !other.process {
			other.replaced, other.by = f.now, v.name
		}
	}
}

// used takes what a send tells of a credential that went out with it.
func (f *finding) used(s *send, id *middleware.Identity, refused bool) {
	src, ours := f.sources.get(identity{id.Tenant, id.Source}, f.now)
	f.count(src, s, id, refused, ours)
	if !ours {
		return
	}
	v := f.seen(src, id.Version)
	if refused {
		f.refusedIn(src, id.Tenant, id.Source, id.Version, s.process)
	}
	f.late(src, id.Tenant, id.Source, s.process)
	if v == nil || v.replaced == 0 || s.started <= v.replaced+f.opts.Overlap.Milliseconds() {
		return
	}
	if f.opens(cause{rule: OldVersion, tenant: id.Tenant, source: id.Source, which: id.Version}) {
		f.add(Alert{
			Rule: OldVersion, Tenant: id.Tenant, Source: id.Source, Version: id.Version, Model: s.model, Endpoint: s.endpoint, Process: s.process,
			Text: fmt.Sprintf("version %q of %q is still used by %q: version %q has replaced it at %s", id.Version, id.Source, s.process, v.by,
				time.UnixMilli(v.replaced).UTC().Format(time.RFC3339)),
			Value: float64(s.started-v.replaced) / float64(minute), Norm: f.opts.Overlap.Minutes(),
		})
	}
}

// refusedIn notes that a process was refused a version, and counts the processes.
// What a version that was replaced is refused is the end of a rotation.
func (f *finding) refusedIn(s *source, tenant, name, versionName, process string) {
	if s == nil || versionName == "" {
		return
	}
	v := f.seen(s, versionName)
	if v.replaced != 0 {
		return
	}
	hash := maphash.String(f.seed, process)
	at, processes := 0, 1 // the slot of the process, or else the oldest one
	for i, r := range v.refused {
		if r.at > 0 && r.process == hash {
			at = i
			break
		}
		if r.at < v.refused[at].at {
			at = i
		}
	}
	v.refused[at] = refusal{hash, f.now}
	for i, r := range v.refused {
		if i != at && r.at > 0 && f.now-r.at < window*minute {
			processes++
		}
	}
	if processes >= f.opts.Processes && f.opens(cause{rule: RefusedWidely, tenant: tenant, source: name, which: versionName}) {
		f.add(Alert{
			Rule: RefusedWidely, Tenant: tenant, Source: name, Version: versionName, Process: process, Value: float64(processes), Norm: float64(f.opts.Processes),
			Text: fmt.Sprintf("version %q of %q was refused in %d processes within %d minutes", versionName, name, processes, window),
		})
	}
}

// late alerts if the source has had no new version for too long.
func (f *finding) late(s *source, tenant, name, process string) {
	every := f.opts.RotateEvery.Milliseconds()
	if s == nil || every == 0 || s.since == 0 || float64(f.now-s.since) <= 1.1*float64(every) {
		return
	}
	if f.opens(cause{rule: Late, tenant: tenant, source: name}) {
		var current string
		if s.now != nil {
			current = s.now.name
		}
		f.add(Alert{
			Rule: Late, Tenant: tenant, Source: name, Version: current, Process: process,
			Text:  fmt.Sprintf("%q has had no new version since %s", name, time.UnixMilli(s.since).UTC().Format(time.RFC3339)),
			Value: float64(f.now-s.since) / float64(hour), Norm: float64(every) / float64(hour),
		})
	}
}
