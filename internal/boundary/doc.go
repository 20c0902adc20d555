// Package boundary holds the tests of what the compiler does not check: which
// modules each package may link, which way imports run, the size of files,
// functions and exported surfaces, doc comments and examples, what library code
// never does, that the surface is the one in api/, and that the documents name tests
// and files that exist.
//
// It has no code of its own.
package boundary
