package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/wire"
	"github.com/latchkey-go/latchkey/middleware"
)

// AsError returns the service's refusal that err wraps, with its
// [Error.Hint], and whether there is one. err may be an [*Error], or an error
// of the official SDK or of github.com/sashabaranov/go-openai over this
// Client; AsError does not link these modules. RequestID and RetryAfter are empty where
// the SDK does not keep the answer's header. AsError may read the body of the
// answer that the official SDK keeps with its error, and puts it back: it must
// not be called for one error from two goroutines at once.
func AsError(err error) (*Error, bool) {
	if own := (*Error)(nil); errors.As(err, &own) {
		return own, true
	}
	if err == nil {
		return nil, false
	}
	if e := sdkError(err); e != nil {
		return e, true
	}
	switch u := err.(type) { //nolint:errorlint // this walks the tree itself
	case interface{ Unwrap() error }:
		return AsError(u.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range u.Unwrap() {
			if e, ok := AsError(inner); ok {
				return e, true
			}
		}
	}
	return nil, false
}

// sdkError reads the fields of an SDK's own type. To name the types would link
// the SDKs into every program.
func sdkError(err error) *Error {
	v := reflect.ValueOf(err)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct || !ofSDK(v.Elem().Type().PkgPath()) {
		return nil
	}
	v = v.Elem()
	status := number(v, "StatusCode", "HTTPStatusCode")
	if status == 0 {
		return nil
	}
	e := &Error{StatusCode: status, Code: text(v, "Code"), Type: text(v, "Type"), Param: text(v, "Param"), Message: text(v, "Message")}
	resp := kept[*http.Response](v, "Response") //nolint:bodyclose // it is the SDK's, in memory
	if e.Code == "" && e.Message == "" {
		e.fromBody(resp, kept[[]byte](v, "Body"))
	}
	if resp != nil {
		e.RequestID = wire.RequestID(resp.Header)
		e.RetryAfter, _ = wire.RetryAfter(resp.Header, time.Now())
	}
	return e
}

func ofSDK(path string) bool {
	return strings.HasPrefix(path, "github.com/openai/openai-go") || strings.HasPrefix(path, "github.com/sashabaranov/go-openai")
}

// fromBody fills e from an error body that the SDK has kept, but not read.
func (e *Error) fromBody(resp *http.Response, raw []byte) {
	if resp != nil && resp.Body != nil {
		raw, _ = io.ReadAll(io.LimitReader(resp.Body, middleware.DefaultMaxErrorBody)) // the SDK has it in memory
		resp.Body = io.NopCloser(bytes.NewReader(raw))
	}
	if len(raw) == 0 || resp != nil && mediaType(resp.Header) == "text/html" {
		return
	}
	said := wire.ParseError(raw)
	e.Code, e.Type, e.Param, e.Message = said.Code, said.Type, said.Param, said.Message
}

// kept returns the field of that name and type, or the zero value.
func kept[T any](v reflect.Value, name string) (value T) {
	if f := v.FieldByName(name); f.IsValid() && f.CanInterface() {
		value, _ = f.Interface().(T)
	}
	return value
}

func number(v reflect.Value, names ...string) int {
	for _, name := range names {
		if f := v.FieldByName(name); f.IsValid() && f.CanInt() {
			return int(f.Int())
		}
	}
	return 0
}

// text returns a field that is a string, or a pointer to one, or an interface
// that holds a string or an integer.
func text(v reflect.Value, name string) string {
	f := v.FieldByName(name)
	for f.IsValid() && (f.Kind() == reflect.Interface || f.Kind() == reflect.Pointer) {
		f = f.Elem() // of nil: invalid
	}
	switch {
	case !f.IsValid():
		return ""
	case f.Kind() == reflect.String:
		return f.String()
	case f.CanInt():
		return strconv.FormatInt(f.Int(), 10)
	}
	return ""
}
