// Package credentialtest has what tests of credentials need: [Store], a secret
// store whose contents, delays and faults a test scripts, and [TestSource],
// the conformance suite that every source of latchkey passes and that a
// source of your own should pass as well.
//
//	store := credentialtest.NewStore("sk-1")
//	cache, err := credential.NewCache(store, nil)
//	...
//	store.Rotate("sk-2") // the next read gives this
//
// A Store tells time by package time and waits on channels, so that it works
// inside a testing/synctest bubble as well as outside.
package credentialtest
