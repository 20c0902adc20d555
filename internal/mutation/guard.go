package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A guard is an entry of guards.txt:
//
//	what it holds
//	file middleware/origin.go
//	- the lines that are the guard
//	+ the lines without it
//	test ./middleware TestName
//
// Entries are separated by empty lines. A line of the file is matched without its
// indentation, and all of the entry's lines must stand in the file exactly once.
type guard struct {
	entry, holds, file, pkg, test string
	old, new                      []string
}

// parse reads guards.txt.
func parse(text string) ([]guard, error) {
	var guards []guard
	for entry := range strings.SplitSeq(text, "\n\n") {
		entry = strings.TrimSpace(entry)
		if entry == "" || strings.HasPrefix(entry, "#") {
			continue
		}
		g := guard{entry: entry}
		for i, line := range strings.Split(entry, "\n") {
			mark, rest, _ := strings.Cut(line, " ")
			switch {
			case i == 0:
				g.holds = line
			case mark == "file":
				g.file = rest
			case mark == "test":
				g.pkg, g.test, _ = strings.Cut(rest, " ")
			case mark == "-":
				g.old = append(g.old, strings.TrimSpace(rest))
			case mark == "+":
				g.new = append(g.new, strings.TrimSpace(rest))
			default:
				return nil, fmt.Errorf("guards.txt: %q: no file, test, - or +", line)
			}
		}
		if g.file == "" || g.test == "" || len(g.old) == 0 {
			return nil, fmt.Errorf("guards.txt: %q: file, test and - are required", g.holds)
		}
		guards = append(guards, g)
	}
	return guards, nil
}

// without returns the file without the guard.
func (g *guard) without(source string) (string, error) {
	lines := strings.Split(source, "\n")
	at, found := -1, 0
	for i := range lines {
		if matches(lines[i:], g.old) {
			at, found = i, found+1
		}
	}
	if found != 1 {
		return "", fmt.Errorf("the guard stands in the file %d times: mend guards.txt", found)
	}
	out := append([]string{}, lines[:at]...)
	out = append(out, g.new...)
	return strings.Join(append(out, lines[at+len(g.old):]...), "\n"), nil
}

func matches(lines, want []string) bool {
	if len(lines) < len(want) {
		return false
	}
	for i, w := range want {
		if strings.TrimSpace(lines[i]) != w {
			return false
		}
	}
	return true
}

// try returns nil if the test fails without the guard.
func (g *guard) try(ctx context.Context) error {
	source, err := os.ReadFile(g.file)
	if err != nil {
		return fmt.Errorf("run it in the root of the repository: %w", err)
	}
	text, err := g.without(string(source))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return fmt.Errorf("%w", err)
	}
	defer os.RemoveAll(dir)
	overlay, err := g.overlay(dir, text)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-count=1", "-failfast", "-timeout=2m", "-run", "^"+g.test+"$", g.pkg)
	said, err := cmd.CombinedOutput()
	if err == nil {
		return errors.New("the test passes without it")
	}
	// A mutant that does not compile proves nothing; one that hangs or dies does.
	if output := string(said); !strings.Contains(output, "--- FAIL: "+g.test) && !strings.Contains(output, "panic: ") {
		return fmt.Errorf("the test did not run: %w: %s", err, firstLines(output, 5))
	}
	return nil
}

// overlay writes the edited file into dir, and what go test -overlay wants.
func (g *guard) overlay(dir, text string) (string, error) {
	edited, overlay := filepath.Join(dir, "edited.go"), filepath.Join(dir, "overlay.json")
	original, err := filepath.Abs(g.file)
	if err != nil {
		return "", fmt.Errorf("%w", err)
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: edited}})
	if err != nil {
		return "", fmt.Errorf("%w", err)
	}
	return overlay, errors.Join(os.WriteFile(edited, []byte(text), 0o600), os.WriteFile(overlay, replace, 0o600))
}

func firstLines(s string, n int) string {
	lines := strings.SplitN(s, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}
