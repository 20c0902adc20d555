package azuretest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A Tool is a command on PATH that a developer is logged in to.
type Tool struct {
	dir, name string
	t         testing.TB
}

// NewAz puts a command az on PATH, as its only one, that gives out token. See
// https://learn.microsoft.com/cli/azure/account#az-account-get-access-token
func NewAz(t testing.TB, token string) *Tool {
	t.Helper()
	return newTool(t, "az", `{"accessToken":%q,"expires_on":%d,"expiresOn":"2026-01-01 00:00:00.000000","tokenType":"Bearer"}`, token)
}

// NewAzd puts a command azd on PATH, as its only one.
func NewAzd(t testing.TB, token string) *Tool {
	t.Helper()
	return newTool(t, "azd", `{"token":%q,"expiresOn":"2084-01-01T00:00:00Z"}`, token)
}

func newTool(t testing.TB, name, format, token string) *Tool {
	if runtime.GOOS == "windows" {
		t.Skip("the fake " + name + " is a shell script; CI runs this on Linux")
	}
	tool := &Tool{dir: t.TempDir(), name: name, t: t}
	script := fmt.Sprintf(`#!/bin/sh
echo run >> %[1]q/runs
if [ -e %[1]q/hang ]; then exec /bin/sleep 60; fi
if [ -e %[1]q/fail ]; then /bin/cat %[1]q/fail >&2; exit 1; fi
exec /bin/cat %[1]q/answer
`, tool.dir)
	tool.write(name, script, 0o700)
	if strings.Contains(format, "%d") {
		tool.write("answer", fmt.Sprintf(format, token, time.Now().Add(time.Hour).Unix()), 0o600)
	} else {
		tool.write("answer", fmt.Sprintf(format, token), 0o600)
	}
	t.Setenv("PATH", tool.dir)
	return tool
}

func (a *Tool) write(name, text string, mode os.FileMode) {
	a.t.Helper()
	// Another name first: a test may run the old one meanwhile.
	tmp := filepath.Join(a.dir, name+".new")
	if err := os.WriteFile(tmp, []byte(text), mode); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(a.dir, name)); err != nil {
		a.t.Fatal(err)
	}
}

// Answer makes the command print text.
func (a *Tool) Answer(text string) { a.write("answer", text, 0o600) }

// SetToken makes az give out another token, for an hour.
func (a *Tool) SetToken(token string) {
	a.Answer(fmt.Sprintf(`{"accessToken":%q,"expires_on":%d}`, token, time.Now().Add(time.Hour).Unix()))
}

// Hang makes the command hang until it is killed.
func (a *Tool) Hang() { a.write("hang", "", 0o600) }

// Fail makes the command write stderr and exit with status 1.
func (a *Tool) Fail(stderr string) { a.write("fail", stderr, 0o600) }

// Runs returns how often the command was started.
func (a *Tool) Runs() int {
	a.t.Helper()
	data, err := os.ReadFile(filepath.Join(a.dir, "runs"))
	if err != nil {
		return 0
	}
	return strings.Count(string(data), "run\n")
}
