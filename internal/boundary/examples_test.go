package boundary_test

import (
	"go/ast"
	"strings"
	"testing"
)

// A constructor is an exported function whose first result is a type of its own
// package. go doc shows how each is called.
func TestEveryConstructorHasAnExample(t *testing.T) {
	r := load(t)
	types, called := map[string]bool{}, map[string]bool{}
	for _, f := range r.gos {
		for _, d := range f.ast.Decls {
			if g, ok := d.(*ast.GenDecl); ok && !f.test() {
				for _, spec := range g.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok {
						types[f.dir+"."+ts.Name.Name] = true
					}
				}
			}
			if fn, ok := d.(*ast.FuncDecl); ok && f.test() && strings.HasPrefix(fn.Name.Name, "Example") {
				if !hasOutput(f.ast, fn) {
					t.Errorf("%s: %s has no comment with its output, so it never runs", r.at(fn), fn.Name.Name)
				}
				ast.Inspect(fn, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						called[f.dir+"."+s.Sel.Name] = true
					}
					return true
				})
			}
		}
	}
	constructors := 0
	for _, f := range r.gos {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !f.public() || fn.Recv != nil || !fn.Name.IsExported() || fn.Type.Results == nil {
				continue
			}
			result := fn.Type.Results.List[0].Type
			if p, ok := result.(*ast.StarExpr); ok {
				result = p.X
			}
			if id, ok := result.(*ast.Ident); !ok || !id.IsExported() || !types[f.dir+"."+id.Name] {
				continue
			}
			constructors++
			if !called[f.dir+"."+fn.Name.Name] {
				t.Errorf("%s: no Example of the package calls %s", r.at(fn), fn.Name.Name)
			}
		}
	}
	if constructors < 30 {
		t.Errorf("%d constructors found", constructors)
	}
}

func hasOutput(file *ast.File, fn *ast.FuncDecl) bool {
	for _, c := range file.Comments {
		text := strings.ToLower(c.Text())
		if c.Pos() > fn.Pos() && c.End() < fn.End() &&
			(strings.HasPrefix(text, "output:") || strings.HasPrefix(text, "unordered output:")) {
			return true
		}
	}
	return false
}
