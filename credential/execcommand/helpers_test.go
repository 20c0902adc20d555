package execcommand_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/execcommand"
)

var background = context.Background()

// helperDir makes the test binary the command of a source: what it does is in
// the files of that folder.
const helperDir = "LATCHKEY_TEST_HELPER"

func TestMain(m *testing.M) {
	dir, ok := os.LookupEnv(helperDir)
	if !ok {
		// go test always passes flags. A helper that has lost its variable must
		// not run the tests, which would start it again.
		if len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], "-test.") {
			os.Exit(99)
		}
		os.Exit(m.Run())
	}
	os.Exit(help(dir))
}

func help(dir string) int {
	file := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(dir, name))
		return string(b)
	}
	runs, err := os.OpenFile(filepath.Join(dir, "runs"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, _ = runs.WriteString("x")
		_ = runs.Close()
	}
	switch mode := file("mode"); mode {
	case "fail":
		fmt.Fprint(os.Stdout, "sk-CANARY-out")
		fmt.Fprint(os.Stderr, "sk-CANARY-err")
		return 3
	case "flood":
		for err := error(nil); err == nil; {
			_, err = fmt.Fprint(os.Stdout, strings.Repeat("sk-CANARY-", 1000))
		}
	case "long": // one byte too many, and no end
		fmt.Print(strings.Repeat("C", 64<<10+1))
		hang(file("address"))
	case "stdin":
		n, err := io.Copy(io.Discard, os.Stdin)
		fmt.Print("read:", n, err)
	case "arguments":
		return say(os.Args)
	case "environment":
		return say(os.Environ())
	case "tool": // that of another vendor
		if strings.Join(os.Args[1:], "\n") != file("arguments") {
			return 64
		}
		fmt.Fprint(os.Stderr, file("errors"))
		fmt.Print(file("text"))
		code, _ := strconv.Atoi(file("code"))
		return code
	case "hang":
		hang(file("address"))
	case "children", "daemon":
		fmt.Print("sk-CANARY-1")
		return beget(mode, dir)
	default:
		fmt.Print(file("text"))
	}
	return 0
}

// say prints what can be read back, and is no JSON object.
func say(list []string) int {
	b, _ := json.Marshal(list)
	fmt.Print("list:", strings.ReplaceAll(string(b), " ", "_"))
	return 0
}

// hang ends when the test does.
func hang(address string) {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// beget starts a child that hangs and holds the output open.
func beget(mode, dir string) int {
	if err := os.WriteFile(filepath.Join(dir, "mode"), []byte("hang"), 0o600); err != nil {
		return 1
	}
	child := exec.Command(os.Args[0])
	child.Env, child.Stdout = os.Environ(), os.Stdout
	if child.Start() != nil {
		return 1
	}
	if mode == "children" {
		_ = child.Wait()
	}
	return 0
}

// A helper is the command of a source.
type helper struct {
	dir   string
	conns net.Listener
}

func newHelper(t *testing.T, mode, text string) *helper {
	t.Helper()
	h := &helper{dir: t.TempDir()}
	h.put(t, "mode", mode)
	h.put(t, "text", text)
	return h
}

func (h *helper) put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// hang makes the helper hang, connected to the test.
func (h *helper) hang(t *testing.T, mode string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	h.conns = l
	h.put(t, "address", l.Addr().String())
	h.put(t, "mode", mode)
}

func (h *helper) runs() int {
	b, _ := os.ReadFile(filepath.Join(h.dir, "runs"))
	return len(b)
}

// fastExit takes away the second for which the race detector delays each exit.
const fastExit = "GORACE=atexit_sleep_ms=0"

func (h *helper) env() []string { return []string{helperDir + "=" + h.dir, fastExit} }

func executable(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (h *helper) source(t testing.TB, edit ...func(*execcommand.Options)) *execcommand.Source {
	t.Helper()
	// A busy machine takes its time to start a process.
	o := &execcommand.Options{Env: h.env(), Timeout: time.Minute}
	for _, f := range edit {
		f(o)
	}
	src, err := execcommand.New(executable(t), nil, o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return src
}

// list is what a helper said. It is not a secret.
func list(t *testing.T, src credential.Source) []string {
	t.Helper()
	v, err := src.Retrieve(background)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	if json.Unmarshal([]byte(strings.TrimPrefix(v.Secret.Reveal(), "list:")), &out) != nil {
		t.Fatal("the helper said something else")
	}
	return out
}

// wantFault checks that err is a SourceError that says how lasting it is, and
// shows nothing that the command wrote.
func wantFault(t testing.TB, err error, transient bool, parts ...string) {
	t.Helper()
	se := (*credential.SourceError)(nil)
	if !errors.As(err, &se) {
		t.Errorf("got a %T, want a *credential.SourceError", err)
		return
	}
	shown := fmt.Sprintf("%v %+v %#v", err, err, err)
	for inner := error(se); inner != nil; inner = errors.Unwrap(inner) {
		shown += fmt.Sprintf("%v %+v %#v", inner, inner, inner)
	}
	if strings.Contains(shown, "CANARY") {
		t.Error("the error shows what the command wrote")
		return
	}
	if se.Transient != transient {
		t.Errorf("Transient is %v, want %v: %v", se.Transient, transient, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not tell %q", err, part)
		}
	}
}
