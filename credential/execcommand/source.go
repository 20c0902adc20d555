package execcommand

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

// DefaultTimeout is how long the command may take.
const DefaultTimeout = 10 * time.Second

// Options configures a [Source]. The zero value and nil are ready to use.
type Options struct {
	// Env is the command's environment, as "NAME=value". Nil is the environment
	// of this process; an empty slice is none. It does not change where the
	// command is looked for.
	Env []string
	// Timeout bounds one run of the command. 0 is DefaultTimeout; negative is
	// refused. For more than 10 seconds, raise CacheOptions.Timeout as well.
	Timeout time.Duration
	// Scheme is what the command prints: an API key, or with
	// [credential.BearerToken] a token. The token of an ExecCredential is a
	// bearer token whatever this is.
	Scheme credential.Scheme
}

// A Source runs a command at each Retrieve. It is safe for concurrent use and
// immutable.
type Source struct {
	name    string
	scheme  credential.Scheme
	timeout time.Duration
	// A func hides the arguments and the environment, as package hidden tells: they
	// may hold secrets.
	command func(ctx context.Context, path string) *exec.Cmd
}

var _ credential.Source = (*Source)(nil)

// New returns a Source that runs name with args. It does no I/O and does not
// look for the command. It fails if name is empty or a relative path, if an
// argument cannot be passed on, or if the options are malformed. The name is
// shown in errors, the arguments are not.
func New(name string, args []string, opts *Options) (*Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("execcommand: %w", err)
	}
	for i, arg := range args {
		if strings.ContainsRune(arg, 0) {
			return nil, fmt.Errorf("execcommand: argument %d has a zero byte", i+1)
		}
	}
	for i, e := range opts.Env {
		if strings.IndexByte(e, '=') < 1 || strings.ContainsRune(e, 0) {
			return nil, fmt.Errorf(`execcommand: entry %d of Env is malformed: want "NAME=value"`, i+1)
		}
	}
	if opts.Timeout < 0 {
		return nil, fmt.Errorf("execcommand: negative Timeout %v: every run needs a bound", opts.Timeout)
	}
	if opts.Scheme > credential.BearerToken {
		return nil, fmt.Errorf("execcommand: Scheme is an %v: want APIKey or BearerToken", opts.Scheme)
	}
	s := &Source{name: name, scheme: opts.Scheme, timeout: opts.Timeout}
	if s.timeout == 0 {
		s.timeout = DefaultTimeout
	}
	args, env := slices.Clone(args), slices.Clone(opts.Env)
	s.command = func(ctx context.Context, path string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // running it is what the package is for
		cmd.Args[0] = name
		cmd.Env = env
		return cmd
	}
	return s, nil
}

func checkName(name string) error {
	const want = "want a command on PATH, or an absolute path"
	switch {
	case name == "":
		return errors.New("the command's name is empty: " + want)
	case strings.HasPrefix(name, "sk-"):
		return errors.New("the command's name starts like a key: " + want)
	case strings.ContainsRune(name, 0):
		return errors.New("the command's name has a zero byte: " + want)
	case filepath.IsAbs(name):
		return nil
	case name == "." || name == ".." || strings.ContainsRune(name, '/') || filepath.Base(name) != name || filepath.VolumeName(name) != "":
		return fmt.Errorf("the command %q is a relative path: %s", name, want)
	}
	return nil
}

// Retrieve runs the command and reads what it printed. Expires is the
// expirationTimestamp of an ExecCredential, else zero.
//
// Its errors are [*credential.SourceError]s that wrap
//
//   - [credential.ErrUnavailable] if there is no such command;
//   - context.DeadlineExceeded if it took longer than Timeout;
//   - an [*exec.ExitError] without its output if it failed: the helpers of
//     others do not say whether that will last, and so it is transient;
//   - what else is wrong: it could not be started, printed more than 64 KiB,
//     nothing, or an ExecCredential without a token. None quotes the output.
//
// A done ctx kills the command and is returned as its cause.
func (s *Source) Retrieve(ctx context.Context) (credential.Value, error) {
	if s == nil || s.command == nil {
		return credential.Value{}, &credential.SourceError{Source: "execcommand", Op: "run",
			Err: errors.New("the zero Source names no command"), Hint: "make one with New"}
	}
	if ctx.Err() != nil {
		return credential.Value{}, context.Cause(ctx)
	}
	path, err := s.find()
	if err != nil {
		return credential.Value{}, err
	}
	out, err := s.run(ctx, path)
	if err != nil {
		return credential.Value{}, err
	}
	v := credential.Value{Scheme: s.scheme, Source: s.String()}
	if err := parse(out, &v); err != nil {
		return credential.Value{}, &credential.SourceError{Source: s.String(), Op: "read the command's output", Err: err,
			Hint: "it has to print the key and nothing else, or an ExecCredential with status.token"}
	}
	return v, nil
}

// find looks for the command, for each run: a tool may be installed or moved.
func (s *Source) find() (string, error) {
	path, err := exec.LookPath(s.name)
	fail := func(err error, hint string) (string, error) {
		return "", &credential.SourceError{Source: s.String(), Op: "find the command", Err: err, Hint: hint}
	}
	switch {
	case errors.Is(err, exec.ErrDot) || err == nil && !filepath.IsAbs(path):
		// LookPath allows it with GODEBUG=execerrdot=0; we do not.
		return fail(errors.New("PATH finds it in a relative directory"), "name it by its absolute path, or take the directory out of PATH")
	case errors.Is(err, exec.ErrNotFound) || missing(err):
		return fail(fmt.Errorf("%w: there is no such command", credential.ErrUnavailable), "install it, or add its directory to PATH")
	case err != nil:
		return fail(errors.New("it is not an executable file"), "let this process execute it")
	}
	return path, nil
}

// String names the command.
func (s *Source) String() string {
	if s == nil || s.name == "" {
		return "execcommand"
	}
	return "execcommand:" + s.name
}
