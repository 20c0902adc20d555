// Package hidden keeps printers from showing what a struct leads to.
//
// fmt's verbs, and packages that dump values, follow pointers and interfaces, also in
// unexported fields, and a struct of an SDK or of net/http leads to credentials. All of
// them print a func as its address, and so they do with an unsafe.Pointer, which is what
// an atomic.Pointer holds. A field that leads to what must not be printed is therefore
// a [Value], a [Pointer], or a func such as a method value.
package hidden

import "sync/atomic"

// A Value returns what it hides.
type Value[T any] func() T

// Of returns a Value that hides v. It allocates once; a call of the Value does not.
func Of[T any](v T) Value[T] { return func() T { return v } }

// A Pointer hides what it points to, without an allocation of its own.
type Pointer[T any] struct{ atomic.Pointer[T] }
