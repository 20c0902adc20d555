package interop_test

import (
	"fmt"
	"reflect"
)

// A place is somewhere that a value can be when it is printed.
type place struct {
	name  string
	value any
}

type (
	exportedField[T any]   struct{ Field T }
	unexportedField[T any] struct{ field T }
	pointerField[T any]    struct{ field *T }
	interfaceField         struct{ field any }
	outer[T any]           struct{ inner *struct{ Pointer **T } }
)

// A carrier is an error that keeps what it is about.
type carrier[T any] struct {
	Exported T
	hidden   *T
}

func (c *carrier[T]) Error() string { return "carrier: failed" }

// places puts *v wherever a program may have it.
func places[T any](v *T) []place {
	deep := v
	held := &carrier[T]{*v, v}
	out := []place{
		{"value", *v},
		{"pointer", v},
		{"pointer to a pointer", &deep},
		{"exported field", exportedField[T]{*v}},
		{"unexported field", unexportedField[T]{*v}},
		{"pointer in an unexported field", &pointerField[T]{v}},
		{"slice", []T{*v, *v}},
		{"array", [1]T{*v}},
		{"slice of pointers", []*T{v}},
		{"map value", map[string]T{"k": *v}},
		{"map key", map[*T]string{v: "v"}},
		{"interface", []any{*v}},
		{"interface in an unexported field", interfaceField{*v}},
		{"nested pointer", outer[T]{&struct{ Pointer **T }{&deep}}},
		{"error", held},
		{"wrapped error", fmt.Errorf("call: %w", held)},
	}
	if rv := reflect.ValueOf(*v); rv.IsValid() && rv.Comparable() {
		out = append(out, place{"map key by value", map[any]string{*v: "v"}})
	}
	return out
}

// A subject is one live value in all its places, beside those of a zero value.
type subject struct {
	// of is the exported type that it is an instance of, as "client.Error", or
	// what else it is.
	of         string
	live, zero []place
}

func of[T any](name string, v *T) subject {
	return subject{of: name, live: places(v), zero: places(new(T))}
}

// probe is one place of s and of its counterpart.
func (s subject) probe(i int, other subject) probe {
	p := probe{live: s.live[i].value}
	if i < len(s.zero) {
		p.zero = s.zero[i].value
	}
	if i < len(other.live) {
		p.other = other.live[i].value
	}
	return p
}
