package client

import (
	"encoding/json"
	"fmt"
)

// decodeError keeps an error of encoding/json to the position and the Go type.
// A syntax error quotes a byte of the answer, and most of the others quote what
// does not fit: those of a number, of a field with the option "string", of a
// time, and whatever an UnmarshalJSON or UnmarshalText of the caller's says. It
// does not wrap them either, for they would be printed then.
func decodeError(err error) error {
	switch e := err.(type) { //nolint:errorlint // Unmarshal returns them bare
	case nil:
		return nil
	case *json.SyntaxError:
		return fmt.Errorf("malformed JSON at byte %d", e.Offset)
	case *json.UnmarshalTypeError:
		return fmt.Errorf("at byte %d: does not fit the Go type %s of field %q", e.Offset, e.Type, e.Field)
	case *json.InvalidUnmarshalError:
		return err // it is about out alone
	}
	return fmt.Errorf("a value does not fit its Go type (%T, whose text may quote the answer)", err)
}
