package credential

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/redact"
)

// checkAnswer returns the value that the source of that name has answered, or
// why it cannot be used. The source may have given a value before.
func checkAnswer(name string, before bool, v Value, err error, now int64) (Value, error) {
	se, ok := err.(*SourceError) //nolint:errorlint // only the outermost error is renamed
	switch {
	case before && errors.Is(err, ErrUnavailable): // a file that is being replaced, say
		return Value{}, &SourceError{Source: name, Op: "retrieve", Err: errors.New("gone, after it was there: " + bare(err)), Transient: true}
	case ok && strings.HasPrefix(name, se.Source+":"): // the kind of the source alone
		named := *se
		named.Source = name
		return Value{}, &named
	case err != nil:
		return Value{}, err
	}
	if v.Source == "" || strings.HasPrefix(name, v.Source+":") {
		v.Source = name
	}
	if v.end() <= now {
		return Value{}, &SourceError{Source: v.Source, Op: "check the value", Transient: true,
			Err:  fmt.Errorf("it expired at %s", v.Expires.UTC().Format(time.RFC3339)),
			Hint: "check the clock here and at the issuer"}
	}
	return checked(v)
}

// maxVersion bounds the name of a version, in bytes. It stands in every log, and
// comes from the store: what is longer may be the token that the store was asked
// with.
const maxVersion = 128

// checked returns v with its secret normalized, or why it cannot be sent. It
// drops a version that may be a secret.
func checked(v Value) (Value, error) {
	text := v.Secret.Reveal()
	clean, p := normalize(text)
	if p.what != "" {
		if p.what == document && !hasFields(v.Source) {
			p.do = alone
		}
		if v.Scheme == BearerToken {
			p = p.ofToken()
		}
		return Value{}, &SourceError{Source: v.Source, Op: "check the " + v.noun(), Err: errors.New(p.what), Hint: p.do}
	}
	if len(clean) != len(text) {
		v.Secret = NewSecret(clean)
	}
	if len(v.Version) > maxVersion || redact.Text(v.Version, false, clean) != v.Version {
		v.Version = ""
	}
	return v, nil
}

// noun is what v's credential is called: nobody stores a token as a secret.
func (v *Value) noun() string {
	if v.Scheme == BearerToken {
		return "token"
	}
	return "secret"
}

// hasFields reports whether the source can be told which field of a document
// holds the key.
func hasFields(source string) bool {
	kind, _, _ := strings.Cut(source, ":")
	return kind != "env" && kind != "file" && kind != "static" && kind != "execcommand"
}

// panicError does not show the value of the panic, which may hold anything,
// unless the runtime made it.
func panicError(name string, p any) error {
	what := fmt.Sprintf("panic with a %T", p)
	if re, ok := p.(runtime.Error); ok && madeByRuntime(p) {
		what = "panic: " + re.Error()
	}
	return &SourceError{Source: name, Op: "retrieve", Err: errors.New(what), Hint: "a bug in the source", Transient: true}
}

// madeByRuntime tells the runtime's own errors, whose text is about types and
// indexes, from other types that have a method RuntimeError.
func madeByRuntime(p any) bool {
	t := reflect.TypeOf(p)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == "runtime"
}
