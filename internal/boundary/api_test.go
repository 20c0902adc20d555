package boundary_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files in api/")

// The surface of each public package is a file in api/, a line for each thing that a
// program can name: a change of the API is a change of a file, which a reviewer sees.
func TestTheAPIIsWrittenDown(t *testing.T) {
	r := load(t)
	surface := map[string][]string{}
	for _, f := range r.files((*goFile).public) {
		path := filepath.Join("api", f.dir+".txt")
		for _, d := range f.ast.Decls {
			surface[path] = append(surface[path], apiLines(r.fset, d)...)
		}
	}
	for path, lines := range surface {
		slices.Sort(lines)
		if len(lines) == 0 {
			continue
		}
		want, file := strings.Join(lines, "\n")+"\n", filepath.Join(r.root, path)
		if *update {
			write(t, file, want)
			continue
		}
		have, err := os.ReadFile(file)
		if err != nil || string(have) != want {
			t.Errorf("%s is not the API that the code has; if the change is meant: go test ./internal/boundary -run API -update%s",
				path, difference(string(have), want))
		}
	}
	noFileIsLeft(t, r.root, surface)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// noFileIsLeft wants a package for each file.
func noFileIsLeft(t *testing.T, root string, surface map[string][]string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, "api"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".txt" {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err == nil && len(surface[rel]) == 0 {
			t.Errorf("%s is of no package", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// difference returns the lines that one has and the other has not.
func difference(have, want string) string {
	var b strings.Builder
	old, now := strings.Split(have, "\n"), strings.Split(want, "\n")
	for _, l := range old {
		if !slices.Contains(now, l) {
			b.WriteString("\n-" + l)
		}
	}
	for _, l := range now {
		if !slices.Contains(old, l) {
			b.WriteString("\n+" + l)
		}
	}
	return b.String()
}

// apiLines returns what a declaration exports.
func apiLines(fset *token.FileSet, d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		recv := receiver(d)
		switch {
		case !d.Name.IsExported() || recv != "" && !ast.IsExported(recv):
			return nil
		case recv == "":
			return []string{"func " + d.Name.Name + signature(fset, d.Type)}
		}
		return []string{"method (" + text(fset, d.Recv.List[0].Type) + ") " + d.Name.Name + signature(fset, d.Type)}
	case *ast.GenDecl:
		var lines []string
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				lines = append(lines, valueLines(fset, d.Tok, s)...)
			case *ast.TypeSpec:
				lines = append(lines, typeLines(fset, s)...)
			}
		}
		return lines
	}
	return nil
}

// valueLines returns constants with their values, which programs depend on, and
// variables without.
func valueLines(fset *token.FileSet, tok token.Token, s *ast.ValueSpec) []string {
	var lines []string
	for i, id := range s.Names {
		if !id.IsExported() {
			continue
		}
		line := tok.String() + " " + id.Name
		if s.Type != nil {
			line += " " + text(fset, s.Type)
		}
		if tok == token.CONST && i < len(s.Values) {
			line += " = " + text(fset, s.Values[i])
		}
		lines = append(lines, line)
	}
	return lines
}

func typeLines(fset *token.FileSet, s *ast.TypeSpec) []string {
	if !s.Name.IsExported() {
		return nil
	}
	name := "type " + s.Name.Name
	if s.TypeParams != nil {
		name += "[" + fields(fset, s.TypeParams, true) + "]"
	}
	if s.Assign.IsValid() {
		name += " ="
	}
	switch typ := s.Type.(type) {
	case *ast.StructType:
		return append([]string{name + " struct"}, memberLines(fset, name+" struct", typ.Fields)...)
	case *ast.InterfaceType:
		return append([]string{name + " interface"}, memberLines(fset, name+" interface", typ.Methods)...)
	}
	return []string{name + " " + text(fset, s.Type)}
}

// memberLines returns the exported fields or methods of a type.
func memberLines(fset *token.FileSet, of string, list *ast.FieldList) []string {
	var lines []string
	for _, f := range list.List {
		if len(f.Names) == 0 {
			lines = append(lines, of+", "+text(fset, f.Type))
		}
		for _, id := range f.Names {
			if fn, ok := f.Type.(*ast.FuncType); ok && id.IsExported() && strings.HasSuffix(of, "interface") {
				lines = append(lines, of+", "+id.Name+signature(fset, fn))
			} else if id.IsExported() {
				lines = append(lines, of+", "+id.Name+" "+text(fset, f.Type))
			}
		}
	}
	return lines
}

// signature is a function's type without the names of its parameters.
func signature(fset *token.FileSet, f *ast.FuncType) string {
	s := ""
	if f.TypeParams != nil {
		s = "[" + fields(fset, f.TypeParams, true) + "]"
	}
	s += "(" + fields(fset, f.Params, false) + ")"
	results := fields(fset, f.Results, false)
	switch {
	case results == "":
		return s
	case strings.Contains(results, ", "):
		return s + " (" + results + ")"
	}
	return s + " " + results
}

func fields(fset *token.FileSet, list *ast.FieldList, names bool) string {
	if list == nil {
		return ""
	}
	var all []string
	for _, f := range list.List {
		if names {
			var ids []string
			for _, id := range f.Names {
				ids = append(ids, id.Name)
			}
			all = append(all, strings.Join(ids, ", ")+" "+text(fset, f.Type))
			continue
		}
		for range max(1, len(f.Names)) {
			all = append(all, text(fset, f.Type))
		}
	}
	return strings.Join(all, ", ")
}

// text is the source of a node on one line.
func text(fset *token.FileSet, n ast.Node) string {
	if fn, ok := n.(*ast.FuncType); ok {
		return "func" + signature(fset, fn)
	}
	var b strings.Builder
	if err := (&printer.Config{}).Fprint(&b, fset, n); err != nil {
		return fmt.Sprintf("%T", n)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
