package execcommand

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

const (
	maxOutput = 64 << 10
	// patience is how long output is waited for once the command has ended: a
	// helper may leave a daemon behind that holds it open.
	patience = time.Second
)

var errTooLong = fmt.Errorf("it printed more than %d bytes", maxOutput)

// run runs the command and returns what it printed.
func (s *Source) run(caller context.Context, path string) ([]byte, error) {
	bounded, cancel := context.WithTimeout(caller, s.timeout)
	defer cancel()
	ctx, stop := context.WithCancelCause(bounded)
	defer stop(nil)
	out := &output{stop: func() { stop(errTooLong) }}
	noise := &counter{}
	cmd := s.command(ctx, path)
	cmd.Stdout, cmd.Stderr = out, noise
	cmd.WaitDelay = patience
	isolate(cmd)
	err := cmd.Run()

	fail := func(err error, hint string, transient bool) ([]byte, error) {
		return nil, &credential.SourceError{Source: s.String(), Op: "run the command", Err: err, Hint: hint, Transient: transient}
	}
	exit := (*exec.ExitError)(nil)
	switch {
	case out.over:
		return fail(errTooLong, "it has to print the key and nothing else", false)
	case caller.Err() != nil:
		return nil, context.Cause(caller)
	case bounded.Err() != nil && err != nil:
		return fail(context.DeadlineExceeded, fmt.Sprintf("it took longer than %v and was killed; it cannot ask for input", s.timeout), true)
	case errors.As(err, &exit):
		// Not what it wrote there: that may be the key, or a request with it.
		return fail(&exec.ExitError{ProcessState: exit.ProcessState},
			fmt.Sprintf("it wrote %d bytes to standard error, which are not shown; run it by hand to read them", noise.n), true)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		// The text has the path and the system's reason, and no more.
		return fail(fmt.Errorf("it cannot be started: %w", err), "run it by hand", true)
	}
	return out.text, nil
}

// missing reports that an absolute path leads nowhere.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// An output keeps what the command prints, up to maxOutput, and stops it there.
type output struct {
	stop func()
	text []byte
	over bool
}

func (o *output) Write(p []byte) (int, error) {
	if o.over || len(o.text)+len(p) > maxOutput {
		o.over, o.text = true, nil
		o.stop()
		return 0, errTooLong
	}
	o.text = append(o.text, p...)
	return len(p), nil
}

// A counter counts bytes and keeps none.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
