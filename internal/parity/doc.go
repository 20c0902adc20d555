// Package parity has only tests. They hold latchkey to promise P11, never worse
// than what is underneath: a table of cases, each run over openai-go or net/http
// alone and over latchkey with its defaults, against the same scripted server.
// Latchkey is the same or better in outcome, sends and wait, or the row names
// its reason. docs/parity.md is written from the table:
//
//	go test -run TestParity . -update
//
// It is a module of its own, so that neither openai-go's root package nor the
// HTTP/2 framer is in the go.mod of who imports the library.
package parity
