package credential

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/smallfile"
)

const (
	maxSecret = 16 << 10
	// fileRecheck is how often a file in use is read again. A kubelet takes up
	// to a minute to update a mounted secret.
	fileRecheck = 10 * time.Second
)

// Static returns a Source of one secret that never changes. It is for tests,
// and for keys that the program already has. If the secret is empty the error of
// Retrieve wraps [ErrUnavailable].
func Static(secret Secret, scheme Scheme) Source {
	return &static{v: Value{Secret: secret, Scheme: scheme, Source: "static", Fixed: true}}
}

type static struct{ v Value }

func (s *static) String() string { return "static" }

func (s *static) Retrieve(ctx context.Context) (Value, error) {
	if ctx.Err() != nil {
		return Value{}, context.Cause(ctx)
	}
	if s.v.Secret.IsZero() {
		return Value{}, unavailable("static", "the "+s.v.noun()+" is empty", "pass one")
	}
	return checked(s.v)
}

// Env returns a Source of the API key in an environment variable, which it
// reads at each Retrieve. If the variable is unset or empty the error wraps
// [ErrUnavailable]. A value that cannot be a key (see [NewCache]) is an error
// that does not quote the value. If name begins with "sk-", somebody has passed
// the key itself, and errors do not quote the name either.
func Env(name string) Source { return env(name) }

type env string

func (e env) String() string {
	if e.valid() {
		return "env:" + string(e)
	}
	return "env"
}

func (e env) valid() bool {
	return e != "" && !strings.ContainsAny(string(e), "=\x00") && !strings.HasPrefix(string(e), "sk-")
}

func (e env) Retrieve(ctx context.Context) (Value, error) {
	if ctx.Err() != nil {
		return Value{}, context.Cause(ctx)
	}
	if !e.valid() {
		return Value{}, &SourceError{Source: "env", Op: "read a variable", Err: errors.New("not a variable's name"), Hint: "name one, for example OPENAI_API_KEY"}
	}
	text := os.Getenv(string(e))
	if text == "" {
		return Value{}, unavailable(e.String(), "the variable is unset or empty", "set it")
	}
	return checked(Value{Secret: NewSecret(text), Source: e.String(), Fixed: true})
}

// File returns a Source of the API key in the file at path, which it reads at
// each Retrieve. One trailing newline is dropped. A [Cache] reads the file again
// after 10 seconds of use, so that it notices when a mounted Kubernetes secret
// or the file of an agent has changed, and at once after a rejection.
//
// If there is no such file the error wraps [ErrUnavailable]. A file that is
// empty, larger than 64 KiB, unreadable or not a regular file is another error.
// Version is the time of the last modification.
func File(path string) Source { return file(path) }

type file string

func (f file) String() string { return "file:" + string(f) }

func (f file) Retrieve(ctx context.Context) (Value, error) {
	if ctx.Err() != nil {
		return Value{}, context.Cause(ctx)
	}
	in, err := smallfile.Read(string(f), smallfile.Max)
	if err != nil {
		hint := "let the process read it"
		switch {
		case errors.Is(err, os.ErrNotExist):
			return Value{}, unavailable(f.String(), "there is no such file", "mount or write it")
		case errors.Is(err, smallfile.ErrNotRegular):
			hint = "name the file that holds the key"
		case errors.Is(err, smallfile.ErrTooLarge):
			hint = "name the file that holds only the key"
		}
		return Value{}, &SourceError{Source: f.String(), Op: "read", Err: err, Hint: hint}
	}
	return checked(Value{
		Secret:       NewSecret(string(in.Text)),
		Source:       f.String(),
		Version:      in.Modified.UTC().Format(time.RFC3339Nano),
		RefreshAfter: time.Now().Add(fileRecheck),
	})
}

func unavailable(source, what, hint string) error {
	return &SourceError{Source: source, Err: fmt.Errorf("%w: %s", ErrUnavailable, what), Hint: hint}
}
