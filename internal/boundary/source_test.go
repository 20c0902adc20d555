package boundary_test

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines    = 400
	maxMachineLines = 800
	maxFuncLines    = 60 // between the braces
)

// machines are files that are one thing which would be worse in pieces.
var machines = map[string]string{
	"middleware/retry.go": "decides on every send: what is worth another one, when, and who pays for it",
	"middleware/pace.go":  "the line in front of a throttled model, and what is known of its limit",
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	r := load(t)
	for _, f := range r.gos {
		most := maxFileLines
		if machines[f.path] != "" {
			most = maxMachineLines
		}
		if f.lines > most {
			t.Errorf("%s has %d lines, at most %d: split it", f.path, f.lines, most)
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			n := r.fset.Position(fn.Body.Rbrace).Line - r.fset.Position(fn.Body.Lbrace).Line - 1
			if n > maxFuncLines {
				t.Errorf("%s: %s has %d lines, at most %d: split it", r.at(fn), fn.Name.Name, n, maxFuncLines)
			}
		}
	}
}

// exportedNames returns the exported package-level names of f: no methods, no
// fields.
func exportedNames(f *goFile) []*ast.Ident {
	var names []*ast.Ident
	add := func(id *ast.Ident) {
		if id.IsExported() {
			names = append(names, id)
		}
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				add(d.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					add(s.Name)
				case *ast.ValueSpec:
					for _, id := range s.Names {
						add(id)
					}
				}
			}
		}
	}
	return names
}

func TestExportedSurfacesStaySmall(t *testing.T) {
	r := load(t)
	byDir := map[string][]string{}
	for _, f := range r.files((*goFile).public) {
		values := enumerated(f)
		for _, id := range exportedNames(f) {
			if !values[id.Name] {
				byDir[f.dir] = append(byDir[f.dir], id.Name)
			}
		}
	}
	for dir, names := range byDir {
		b, ok := bounds[dir]
		if !ok {
			t.Errorf("%s: no entry in bounds: say what it may link, import and export", dir)
		} else if len(names) > b.exports {
			slices.Sort(names)
			t.Errorf("%s exports %d names, at most %d: %s", dir, len(names), b.exports, strings.Join(names, " "))
		}
	}
}

// enumerated returns the constants of a type of the package's own: go doc shows
// them with the type, and they count as one with it.
func enumerated(f *goFile) map[string]bool {
	values := map[string]bool{}
	for _, d := range f.ast.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		typed := false
		for _, s := range group.Specs {
			s, ok := s.(*ast.ValueSpec)
			if !ok {
				continue
			}
			if id, ok := s.Type.(*ast.Ident); ok || s.Type != nil || len(s.Values) > 0 {
				typed = ok && id.IsExported()
			}
			for _, id := range s.Names {
				values[id.Name] = typed
			}
		}
	}
	return values
}

func documented(groups ...*ast.CommentGroup) bool {
	for _, g := range groups {
		if strings.TrimSpace(g.Text()) != "" {
			return true
		}
	}
	return false
}

// receiver returns the type that a method belongs to; empty for a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	typ := fn.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return "?"
		}
	}
}

func TestEveryExportedNameHasADocComment(t *testing.T) {
	r := load(t)
	described := map[string]bool{}
	for _, f := range r.files((*goFile).public) {
		described[f.dir] = described[f.dir] || documented(f.ast.Doc)
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				recv := receiver(d)
				if d.Name.IsExported() && (recv == "" || ast.IsExported(recv)) && !documented(d.Doc) {
					t.Errorf("%s: %s has no doc comment", r.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					checkSpec(t, r, d, s)
				}
			}
		}
	}
	for dir, ok := range described {
		if !ok {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}

// checkSpec wants a comment on each exported name of a declaration and on each
// exported field. The comment of a group of constants or variables covers all.
func checkSpec(t *testing.T, r *repository, d *ast.GenDecl, s ast.Spec) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for _, id := range s.Names {
			if id.IsExported() && !documented(s.Doc, s.Comment, d.Doc) {
				t.Errorf("%s: %s has no doc comment", r.at(id), id.Name)
			}
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		if !documented(s.Doc) && (d.Lparen.IsValid() || !documented(d.Doc)) {
			t.Errorf("%s: %s has no doc comment", r.at(s), s.Name.Name)
		}
		st, ok := s.Type.(*ast.StructType)
		if !ok {
			return
		}
		for _, field := range st.Fields.List {
			for _, id := range field.Names {
				if id.IsExported() && !documented(field.Doc, field.Comment) {
					t.Errorf("%s: field %s.%s has no doc comment", r.at(id), s.Name.Name, id.Name)
				}
			}
		}
	}
}

// A runnable example has a comment that says what it prints; go test compares.
func TestEveryPublicPackageHasARunnableExample(t *testing.T) {
	r := load(t)
	want := map[string]bool{}
	for _, f := range r.files((*goFile).public) {
		want[f.dir] = want[f.dir] || len(exportedNames(f)) > 0
	}
	have := map[string]bool{}
	for _, f := range r.files((*goFile).test) {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Example") || fn.Recv != nil {
				continue
			}
			for _, c := range f.ast.Comments {
				text := strings.ToLower(c.Text())
				output := strings.HasPrefix(text, "output:") || strings.HasPrefix(text, "unordered output:")
				if fn.Pos() < c.Pos() && c.End() < fn.End() && output {
					have[f.dir] = true
				}
			}
		}
	}
	for dir, exports := range want {
		if exports && !have[dir] {
			t.Errorf("package %s has no Example with an Output comment", dir)
		}
	}
}

// variables that library code may keep at package level, with the reason.
// Errors made by errors.New or fmt.Errorf, var _ and embedded files need no entry.
var variables = map[string]string{
	"client/clienttest.openAIHeader":       "a table that is only read",
	"client/clienttest.azureHeader":        "a table that is only read",
	"client/clienttest.modelIDs":           "a table that is only read",
	"client/clienttest.credentialHeaders":  "a table that is only read",
	"credential/credentialtest.oddSecrets": "a table that is only read",
}

// panics are the files of library code that may panic, with the reason.
var panics = map[string]string{
	"client/clienttest/faults.go":            "http.ErrAbortHandler: net/http has no other way to reset an HTTP/2 stream",
	"credential/credentialtest/store.go":     "a store that panics when the script of a test says so",
	"internal/testing/openaitest/service.go": "http.ErrAbortHandler, as above",
}

func TestLibraryCodeKeepsNoStateAndNeverPanics(t *testing.T) {
	r := load(t)
	for _, f := range r.files((*goFile).library) {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s: init runs in programs that never call us", r.at(d))
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					checkVariables(t, r, f, d)
				}
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" && panics[f.path] == "" {
					t.Errorf("%s: panic; return an error", r.at(call))
				}
			}
			return true
		})
	}
}

func checkVariables(t *testing.T, r *repository, f *goFile, d *ast.GenDecl) {
	for _, s := range d.Specs {
		s, ok := s.(*ast.ValueSpec)
		if !ok || embedded(d.Doc) || embedded(s.Doc) {
			continue
		}
		for i, id := range s.Names {
			isError := len(s.Values) == len(s.Names) && (calls(s.Values[i], "errors", "New") || calls(s.Values[i], "fmt", "Errorf"))
			if id.Name != "_" && !isError && variables[f.dir+"."+id.Name] == "" {
				t.Errorf("%s: package-level variable %s: a constant, a function or a field would do; else give the reason in variables", r.at(id), id.Name)
			}
		}
	}
}

func embedded(g *ast.CommentGroup) bool {
	return g != nil && slices.ContainsFunc(g.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// calls reports whether e is a call of pkg.name.
func calls(e ast.Node, pkg, name string) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}

// A sleep makes a test slow and still lets it fail on a busy machine; in
// library code it is deaf to the context. In the fake time of testing/synctest
// it is neither: packages whose tests have that may sleep in them.
func TestNothingSleeps(t *testing.T) {
	r := load(t)
	fake := map[string]bool{}
	for _, f := range r.gos {
		for _, imp := range f.ast.Imports {
			fake[f.dir] = fake[f.dir] || f.test() && imp.Path.Value == `"testing/synctest"`
		}
	}
	for _, f := range r.files(func(f *goFile) bool { return f.test() && !fake[f.dir] || f.library() }) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if calls(n, "time", "Sleep") {
				t.Errorf("%s: time.Sleep; wait for what should happen, or use a timer and the context", r.at(n))
			}
			return true
		})
	}
}

func TestEverySkipSaysWhy(t *testing.T) {
	r := load(t)
	for _, f := range r.gos {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if ok && len(call.Args) == 0 && (sel.Sel.Name == "Skip" || sel.Sel.Name == "SkipNow") {
				t.Errorf("%s: %s without a reason", r.at(call), sel.Sel.Name)
			}
			return true
		})
	}
}
