package anomaly

import (
	"context"
	"log/slog"
	"time"
)

// A Rule is what an [Alert] is about.
type Rule string

// The rules.
const (
	// OldVersion: sends go on with a version of a credential that was replaced
	// longer ago than Options.Overlap. A version is replaced when an event says that
	// another one of the same source was promoted or rotated in, or when another one
	// that was not known before comes into use. Versions that are times, such as those
	// of files and of tokens that each process gets for itself, are left out.
	OldVersion Rule = "old-version"
	// RefusedWidely: the service refuses one version, which was not replaced, in
	// several processes within five minutes. Only Replay sees several processes.
	RefusedWidely Rule = "refused-widely"
	// Refusals: at least Options.Refusals sends with the credentials of one source
	// were refused within five minutes, more than 5 % of its sends, and 5 times the
	// share that is usual for it. It is judged when a minute has
	// ended, so that a rotation may cure them, by the next send or at the end of Replay.
	Refusals Rule = "refusals"
	// Rate: what a tenant has used since the hour began is far above what it uses in
	// that hour of the week. See Options.RateRatio.
	Rate Rule = "rate"
	// NewName: a model, an endpoint or a tenant had a send that succeeded, for the first
	// time since the Watch began to learn.
	NewName Rule = "new"
	// UnusualHour: a tenant sends in an hour of the week in which, and in the hours
	// before and after which, it has never sent. It takes two weeks to learn.
	UnusualHour Rule = "unusual-hour"
	// Expiring: a credential will soon expire, and its source has no other one. It is
	// the event [credential.EventExpiring].
	Expiring Rule = "expiring"
	// Late: a source has had no new version for longer than 1.1 times
	// Options.RotateEvery.
	Late Rule = "late"
)

// An Alert is one thing that a rule has found. It holds names, as the events and
// the sends have them, and never a secret. What does not apply is empty.
type Alert struct {
	// Rule is the rule that has found it.
	Rule Rule
	// Time is the time of the event or the send by which it was found.
	Time time.Time
	// Tenant, Source and Version name the credential.
	Tenant, Source, Version string
	// Model and Endpoint are those of the send. An endpoint is the name of its route,
	// or else its host.
	Model, Endpoint string
	// Process is the process by which it was found.
	Process string
	// Text says in words what was found. Names in it are quoted.
	Text string
	// Value is what was measured, and Norm what is usual or allowed: minutes since the
	// version was replaced for OldVersion, processes for RefusedWidely, sends for
	// Refusals and UnusualHour, tokens or spend since the hour began for Rate, hours
	// since the last new version for Late, hours that are left for Expiring. Both are
	// zero for NewName.
	Value, Norm float64
}

// log writes the alert with the level Warn.
func (a *Alert) log(logger *slog.Logger) {
	attrs := make([]slog.Attr, 0, 9)
	for _, f := range [...]struct{ name, text string }{
		{"rule", string(a.Rule)}, {"tenant", a.Tenant}, {"source", a.Source}, {"version", a.Version}, {"model", a.Model}, {"endpoint", a.Endpoint},
		{"process", a.Process},
	} {
		if f.text != "" {
			attrs = append(attrs, slog.String(f.name, f.text))
		}
	}
	attrs = append(attrs, slog.Time("at", a.Time), slog.Float64("value", a.Value), slog.Float64("norm", a.Norm))
	logger.LogAttrs(context.Background(), slog.LevelWarn, a.Text, attrs...)
}
