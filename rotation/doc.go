// Package rotation replaces a key by a new one, so that no person handles it and no
// reader loses a call.
//
// A [Rotator] does it in steps. Each can be killed anywhere and run again, because
// what has been done stands in the [Store]:
//
//	prepare   the store notes a version without a key
//	issue     the [Issuer] makes the key
//	stage     the store has it, as pending: readers may try it when the current one is refused
//	prove     the service accepts it, which may take a minute for a new key
//	promote   it is the current one; the one before is previous
//	retire    the previous one is revoked, when readers have had the time to read again and it is used no more
//
// [Rotator.Run] does what is due and reports when to run again: every hour, by a
// timer, is enough. Two that run at once do no harm: every change is a
// compare-and-set, so that one goes on, and the other gets [ErrConflict].
//
// A key that was issued and got lost in a crash is found by its name and revoked,
// and each key has an expiry, so that one that nobody finds dies by itself.
package rotation
