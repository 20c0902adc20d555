// Package leaf is what the sources of package credential have in common when
// they ask a store, an issuer or a platform over HTTP: the client, the words
// for what can go wrong on the way, and work that callers can leave.
//
// [HTTP] makes the client. It sends nothing without TLS to another machine,
// follows no redirect, reads no more of an answer than it is told, and uses no
// connection that died while the process was frozen.
//
// [Hints.Explain] and [Passing] hold one rule for all sources: what came
// instead of the store's own answer is transient, because a store that cannot
// be reached, or that something else answers for, must not fail calls while the
// last good credential works. The store's own refusal is final.
//
// Small files are read with package smallfile.
package leaf
