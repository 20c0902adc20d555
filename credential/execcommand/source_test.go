package execcommand_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/credential/execcommand"
)

const nowhere = "latchkey-no-such-command"

func TestSourceKeepsTheRules(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			h := newHelper(t, "print", secret)
			return credentialtest.Harness{
				Source: h.source(t),
				Rotate: func(secret string) { h.put(t, "text", secret) },
				Fail:   func() { h.put(t, "mode", "fail") },
				Hang:   func() { h.hang(t, "hang") },
			}
		},
		Unavailable: func(t *testing.T) credential.Source {
			src, err := execcommand.New(nowhere, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return src
		},
	})
}

func TestOutputIsAKeyOrAnExecCredential(t *testing.T) {
	const v1 = `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":`
	for name, c := range map[string]struct {
		text    string
		scheme  credential.Scheme // asked for
		got     credential.Scheme
		expires string
		part    string
	}{
		"a key":               {text: "sk-CANARY-1\n"},
		"a token":             {text: "sk-CANARY-1", scheme: credential.BearerToken, got: credential.BearerToken},
		"with an expiry":      {text: v1 + `{"token":"sk-CANARY-1","expirationTimestamp":"2099-01-02T03:04:05Z"}}`, got: credential.BearerToken, expires: "2099-01-02T03:04:05Z"},
		"in another zone":     {text: "\n " + v1 + `{"token":"sk-CANARY-1","expirationTimestamp":"2099-01-02T03:04:05+02:00"}}`, got: credential.BearerToken, expires: "2099-01-02T01:04:05Z"},
		"without an expiry":   {text: v1 + `{"token":"sk-CANARY-1"}}` + "\n", got: credential.BearerToken},
		"no expiry, so named": {text: v1 + `{"token":"sk-CANARY-1","expirationTimestamp":null}}`, got: credential.BearerToken},
		"v1beta1, and a cert": {text: `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{},"status":{"token":"sk-CANARY-1","clientKeyData":"x"}}`, got: credential.BearerToken},

		"nothing":           {text: " \n", part: "printed nothing"},
		"broken JSON":       {text: v1 + `{"token":"sk-CANARY-1"`, part: "not an ExecCredential"},
		"two documents":     {text: v1 + `{"token":"sk-CANARY-1"}}{"x":"CANARY"}`, part: "not an ExecCredential"},
		"no time":           {text: v1 + `{"token":"sk-CANARY-1","expirationTimestamp":"CANARY"}}`, part: "not an ExecCredential"},
		"a number":          {text: v1 + `{"token":1}}`, part: "not an ExecCredential"},
		"another document":  {text: `{"access_token":"sk-CANARY-1"}`, part: "kind is not ExecCredential"},
		"another kind":      {text: `{"kind":"CANARY","status":{"token":"sk-CANARY-1"}}`, part: "kind is not ExecCredential"},
		"another group":     {text: `{"kind":"ExecCredential","apiVersion":"CANARY/v1","status":{"token":"sk-CANARY-1"}}`, part: "apiVersion"},
		"a certificate":     {text: v1 + `{"clientKeyData":"CANARY"}}`, part: "without status.token"},
		"an empty document": {text: `{}`, part: "kind is not"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHelper(t, "print", c.text)
			v, err := h.source(t, func(o *execcommand.Options) { o.Scheme = c.scheme }).Retrieve(background)
			if c.part != "" {
				wantFault(t, err, false, c.part, "it has to print")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			expires := ""
			if !v.Expires.IsZero() {
				expires = v.Expires.UTC().Format(time.RFC3339)
			}
			if v.Scheme != c.got || expires != c.expires || strings.TrimSpace(v.Secret.Reveal()) != "sk-CANARY-1" {
				t.Errorf("got a %v until %q, want a %v until %q, or another secret", v.Scheme, expires, c.got, c.expires)
			}
		})
	}
}

func TestACacheRunsTheCommandOnce(t *testing.T) {
	h := newHelper(t, "print", `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"sk-CANARY-1","expirationTimestamp":"2099-01-02T03:04:05Z"}}`)
	cache, err := credential.NewCache(h.source(t), &credential.CacheOptions{TTL: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := cache.Retrieve(background); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.runs(); n != 1 {
		t.Errorf("%d runs for 100 calls, want 1", n)
	}
}

func TestAFailureTellsTheExitCodeAndNoOutput(t *testing.T) {
	_, err := newHelper(t, "fail", "").source(t).Retrieve(background)
	wantFault(t, err, true, "exit status 3", "13 bytes to standard error")
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || len(exit.Stderr) > 0 {
		t.Errorf("%v: not an ExitError with the code, and nothing else", err)
	}
	if errors.Is(err, credential.ErrUnavailable) {
		t.Error("a chain would go on")
	}
}

func TestMoreThan64KiBIsCutOff(t *testing.T) {
	_, err := newHelper(t, "flood", "").source(t).Retrieve(background)
	wantFault(t, err, false, "more than 65536 bytes")
	h := newHelper(t, "", "")
	h.hang(t, "long")
	_, err = h.source(t, func(o *execcommand.Options) { o.Timeout = time.Hour }).Retrieve(background)
	wantFault(t, err, false, "more than 65536 bytes")
	for size, ok := range map[int]bool{64 << 10: true, 64<<10 + 1: false} {
		_, err := newHelper(t, "print", strings.Repeat("C", size)).source(t).Retrieve(background)
		if (err == nil) != ok {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestTheCommandIsKilledAtItsTimeout(t *testing.T) {
	h := newHelper(t, "", "")
	h.hang(t, "hang")
	src := h.source(t, func(o *execcommand.Options) { o.Timeout = 50 * time.Millisecond })
	_, err := src.Retrieve(background)
	wantFault(t, err, true, "longer than 50ms and was killed")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v: not a DeadlineExceeded", err)
	}
}

func TestACallerWhoLeavesKillsTheCommand(t *testing.T) {
	cause := errors.New("the caller's own reason")
	h := newHelper(t, "", "")
	h.hang(t, "hang")
	killedWith(t, h, cause)
}

// killedWith cancels a run once the helper hangs, and waits for the end of the
// process that does.
func killedWith(t *testing.T, h *helper, cause error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(background)
	done := make(chan error, 1)
	src := h.source(t)
	go func() {
		_, err := src.Retrieve(ctx)
		done <- err
	}()
	conn, err := h.conns.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
	// The system closes the connection of a process that is dead.
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the process lives: %v", err)
	}
}

func isTimeout(err error) bool {
	timeout := interface{ Timeout() bool }(nil)
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestADaemonThatHoldsTheOutputOpenDoesNoHarm(t *testing.T) {
	h := newHelper(t, "", "")
	h.hang(t, "daemon")
	v, err := h.source(t).Retrieve(background)
	if err != nil || v.Secret.Reveal() != "sk-CANARY-1" {
		t.Errorf("no key, or another one: %v", err)
	}
	conn, err := h.conns.Accept() // it lives, and ends with this
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestStandardInputIsEmpty(t *testing.T) {
	v, err := newHelper(t, "stdin", "").source(t).Retrieve(background)
	if err != nil || v.Secret.Reveal() != "read:0 <nil>" {
		t.Errorf("the command could read something: %v", err)
	}
}

func TestNoShellTouchesTheArguments(t *testing.T) {
	args := []string{"$HOME", "a b", "*", "; exit 1", "`id`", "", `"'\`, "--x=%PATH%"}
	h := newHelper(t, "arguments", "")
	src, err := execcommand.New(executable(t), args, &execcommand.Options{Env: h.env(), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(args)
	want[1] = "a_b"
	want[3] = ";_exit_1"
	args[0] = "changed" // New has a copy
	if got := list(t, src); !slices.Equal(got[1:], want) {
		t.Errorf("the arguments were %q, want %q", got[1:], want)
	}
}

func TestTheEnvironmentIsOursUnlessItIsGiven(t *testing.T) {
	t.Setenv("LATCHKEY_TEST_MARK", "1")
	h := newHelper(t, "environment", "")
	if slices.Contains(list(t, h.source(t)), "LATCHKEY_TEST_MARK=1") {
		t.Error("our environment went to a command that was given another")
	}
	t.Setenv(helperDir, h.dir)
	if !slices.Contains(list(t, h.source(t, func(o *execcommand.Options) { o.Env = nil })), "LATCHKEY_TEST_MARK=1") {
		t.Error("our environment did not go to the command")
	}
}

func TestWhatCannotBeRunIsRefused(t *testing.T) {
	for part, c := range map[string]struct {
		name string
		args []string
		opts *execcommand.Options
	}{
		"name is empty":              {},
		"starts like a key":          {name: "sk-CANARY-1"},
		`"./x" is a relative path`:   {name: "./x"},
		`"a/x" is a relative path`:   {name: "a/x"},
		`"../x" is a relative path`:  {name: "../x"},
		`".." is a relative path`:    {name: ".."},
		`"." is a relative path`:     {name: "."},
		"name has a zero byte":       {name: "x\x00"},
		"argument 2 has a zero byte": {name: "x", args: []string{"", "CANARY\x00"}},
		"entry 1 of Env":             {name: "x", opts: &execcommand.Options{Env: []string{"CANARY"}}},
		"entry 2 of Env":             {name: "x", opts: &execcommand.Options{Env: []string{"A=", "=CANARY"}}},
		"negative Timeout":           {name: "x", opts: &execcommand.Options{Timeout: -1}},
		"unknown scheme":             {name: "x", opts: &execcommand.Options{Scheme: 7}},
	} {
		src, err := execcommand.New(c.name, c.args, c.opts)
		if err == nil || src != nil {
			t.Errorf("%s: New did not fail", part)
		} else if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("New does not say %q", part)
		}
	}
}

func TestACommandThatIsNotThereIsUnavailable(t *testing.T) {
	for _, name := range []string{nowhere, filepath.Join(t.TempDir(), "none")} {
		src, err := execcommand.New(name, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = src.Retrieve(background)
		wantFault(t, err, false, "no such command", src.String())
		if !errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%v: a chain would stop here", err)
		}
	}
}

// A caller who is gone has not seen that there is no such command: a chain must
// not go on for that.
func TestACallerWhoIsGoneGetsTheCauseAndNothingElse(t *testing.T) {
	src, err := execcommand.New(nowhere, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("the caller's own reason")
	ctx, cancel := context.WithCancelCause(background)
	cancel(cause)
	if _, err := src.Retrieve(ctx); !errors.Is(err, cause) || errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestTheZeroSourceFailsWithoutAPanic(t *testing.T) {
	for _, src := range []*execcommand.Source{nil, {}} {
		_, err := src.Retrieve(background)
		wantFault(t, err, false, "New")
		if src.String() != "execcommand" {
			t.Errorf("its name is %q", src)
		}
	}
}
