// Package credentialtest helps to test code that uses credentials. [Store] is a
// secret store whose contents, delays and faults a test decides. [TestSource] is
// the conformance suite that every source of latchkey passes, and that a source
// of your own should pass.
//
//	store := credentialtest.NewStore("sk-1")
//	cache, err := credential.NewCache(store, nil)
//	...
//	store.Rotate("sk-2") // the next read gives this
//
// A Store works inside a testing/synctest bubble as well as outside.
package credentialtest
