// Package audit writes what happened to credentials, and what was done with
// them, as records that nobody can edit unnoticed.
//
// A [Log] takes the events of a [credential.Cache] and, if wanted, the sends of a
// client, and writes one line of JSON for each. Every line holds the hash of the
// line before, and every so often a line is signed, so that [Verify] finds the
// first line that was changed, removed or put elsewhere. It also tells which
// version of which credential served how many sends.
//
// A call never waits for the log: records go through a queue of bounded length,
// and a line says how many did not fit.
package audit
