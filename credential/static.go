package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	maxSecret = 16 << 10
	maxFile   = 64 << 10
	// fileRecheck is how often a file in use is read again: well within the
	// minute that a kubelet takes to update a mounted secret.
	fileRecheck = 10 * time.Second
)

// Static returns a Source of one secret that never changes. It is for tests
// and for keys that the program already has. An empty secret is [ErrUnavailable].
func Static(secret Secret, scheme Scheme) Source {
	return &static{v: Value{Secret: secret, Scheme: scheme, Source: "static"}}
}

type static struct{ v Value }

func (s *static) String() string { return "static" }

func (s *static) Retrieve(ctx context.Context) (Value, error) {
	if ctx.Err() != nil {
		return Value{}, context.Cause(ctx)
	}
	if s.v.Secret.IsZero() {
		return Value{}, unavailable("static", "the secret is empty", "pass a secret")
	}
	return checked(s.v)
}

// Env returns a Source that reads the API key in the environment variable
// name, at each Retrieve. Unset or empty is [ErrUnavailable]; a value that
// cannot be a key (see [NewCache]) is an error that does not quote it. Nor is
// a name quoted that starts like a key of OpenAI: somebody passed the key.
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
	return checked(Value{Secret: NewSecret(text), Source: e.String()})
}

// File returns a Source that reads the API key in the file at path, at each
// Retrieve, and asks its Cache to look again after 10 seconds of use: a
// mounted Kubernetes secret or the file of an agent is picked up when it
// changes, and at once on a rejection. One trailing newline is dropped. A
// missing file is [ErrUnavailable]; a file that is empty, larger than 64 KiB,
// unreadable or not a regular file is an error. Version is the time of the
// last modification.
func File(path string) Source { return file(path) }

type file string

func (f file) String() string { return "file:" + string(f) }

func (f file) Retrieve(ctx context.Context) (Value, error) {
	if ctx.Err() != nil {
		return Value{}, context.Cause(ctx)
	}
	fail := func(err error, hint string) (Value, error) {
		return Value{}, &SourceError{Source: f.String(), Op: "read", Err: err, Hint: hint}
	}
	// Stat first: opening a named pipe would block.
	info, err := os.Stat(string(f))
	switch {
	case errors.Is(err, os.ErrNotExist) || f == "":
		return Value{}, unavailable(f.String(), "there is no such file", "mount or write it")
	case err != nil:
		return fail(plainPathError(err), "let the process read it")
	case !info.Mode().IsRegular():
		return fail(errors.New("not a regular file"), "name the file that holds the key")
	case info.Size() > maxFile:
		return fail(fmt.Errorf("%d bytes, at most %d are read", info.Size(), maxFile), "name the file that holds only the key")
	}
	in, err := os.Open(string(f))
	if err != nil {
		return fail(plainPathError(err), "let the process read it")
	}
	defer func() { _ = in.Close() }() // read only
	if now, err := in.Stat(); err == nil {
		info = now // a mount may have been swapped since
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return fail(plainPathError(err), "try again")
	}
	if len(data) > maxFile {
		return fail(fmt.Errorf("more than %d bytes", maxFile), "name the file that holds only the key")
	}
	return checked(Value{
		Secret:       NewSecret(string(data)),
		Source:       f.String(),
		Version:      info.ModTime().UTC().Format(time.RFC3339Nano),
		RefreshAfter: time.Now().Add(fileRecheck),
	})
}

// plainPathError drops the path, which the SourceError names already.
func plainPathError(err error) error {
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func unavailable(source, what, hint string) error {
	return &SourceError{Source: source, Err: fmt.Errorf("%w: %s", ErrUnavailable, what), Hint: hint}
}

// checked returns v with its secret normalized, or why it cannot be sent.
func checked(v Value) (Value, error) {
	text := v.Secret.Reveal()
	clean, err := normalize(text)
	if err != nil {
		return Value{}, &SourceError{Source: v.Source, Op: "check the secret", Err: err, Hint: "store the bare key, or name its field"}
	}
	if len(clean) != len(text) {
		v.Secret = NewSecret(clean)
	}
	return v, nil
}

// normalize drops one trailing newline and admits what can stand in a header
// and be a key: 1 byte to 16 KiB of printable ASCII without spaces (RFC 9110,
// section 5.5; RFC 6750, section 2.1). net/http would send other bytes in
// silence, and the service would answer with a puzzling 401. The errors tell
// the position and the kind, never the content.
func normalize(text string) (string, error) {
	if t, ok := strings.CutSuffix(text, "\n"); ok {
		text = strings.TrimSuffix(t, "\r")
	}
	switch {
	case text == "":
		return "", errors.New("it is empty")
	case len(text) > maxSecret:
		return "", fmt.Errorf("it has %d bytes, a key has at most %d", len(text), maxSecret)
	case strings.HasPrefix(text, "@Microsoft.KeyVault("):
		return "", errors.New("it is an unresolved Key Vault reference: the platform could not read the vault")
	case text[0] == '{' || text[0] == '[':
		return "", errors.New("it is a JSON document, not a key")
	case text[0] == '"' || text[0] == '\'':
		return "", errors.New("it is in quotes")
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' {
			return "", fmt.Errorf("byte %d of %d is %s", i+1, len(text), kindOfByte(c))
		}
	}
	return text, nil
}

func kindOfByte(c byte) string {
	switch {
	case c == '\n' || c == '\r':
		return "a line break"
	case c == ' ' || c == '\t':
		return "white space"
	case c < ' ' || c == 0x7f:
		return "a control character"
	default:
		return "not ASCII"
	}
}
