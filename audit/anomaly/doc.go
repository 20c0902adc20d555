// Package anomaly finds uses of credentials that are not as usual.
//
// A [Watch] takes the events of a [credential.Cache] and the sends of a client
// while they happen, or out of the files of package audit, and applies eight
// rules to them, each of which is a [Rule]. What a rule finds is an [Alert], told
// once for each cause: again only after the cause was absent for a day.
//
// A Watch learns what is usual from what it is given, and holds what it has learned
// in memory of bounded size. It has no clock of its own: time is that of the events
// and the sends. So a Watch can learn from the files of the last weeks, and then go
// on with what happens now.
//
// It sees what programs with this library send and log. A key that was taken
// elsewhere shows only in the service's own report of its usage.
package anomaly
