// Package interop has only tests. They hold latchkey to its promises with the
// clients that people use it with, openai-go and go-openai, and with the
// printers that follow unexported fields, go-cmp and spew. It is a module of its own,
// so that none of these is in the go.mod of a program that imports latchkey.
package interop
