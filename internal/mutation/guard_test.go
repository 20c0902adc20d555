package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The list names guards and tests that exist. Whether each test notices that its guard is gone is
// what the command finds out.
func TestEachGuardStandsInItsFileAndHasItsTest(t *testing.T) {
	guards, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	for _, g := range guards {
		source, err := os.ReadFile(filepath.Join(root, g.file))
		if err != nil {
			t.Error(err)
			continue
		}
		text, err := g.without(string(source))
		if err != nil || text == string(source) {
			t.Errorf("%s: %s: %v", g.file, strings.Join(g.old, " "), err)
		}
		if !hasTest(t, filepath.Join(root, g.pkg), g.test) {
			t.Errorf("%s has no %s", g.pkg, g.test)
		}
		if seen[g.file+strings.Join(g.old, "\n")] {
			t.Errorf("%s stands there twice: %s", g.file, g.old[0])
		}
		seen[g.file+strings.Join(g.old, "\n")] = true
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^func ` + name + `\(`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && declared.Match(text) {
			return true
		}
	}
	return false
}

func TestAGuardThatIsAmbiguousIsNotRemoved(t *testing.T) {
	g := guard{old: []string{"if a {"}, new: []string{"if false {"}}
	if _, err := g.without("if a {\n}\n\tif a {\n"); err == nil {
		t.Error("one of two was removed")
	}
	if text, err := g.without("x\n\tif a {\n}\n"); err != nil || text != "x\nif false {\n}\n" {
		t.Errorf("%q, %v", text, err)
	}
}
