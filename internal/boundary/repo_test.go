package boundary_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const modulePath = "github.com/latchkey-go/latchkey"

// A goFile is one parsed file of the repository.
type goFile struct {
	path   string // from the root of the repository, with slashes
	dir    string // "." for the root
	nested bool   // part of a module below internal/
	lines  int
	ast    *ast.File
}

func (f *goFile) test() bool { return strings.HasSuffix(f.path, "_test.go") }

// library reports whether users link the file: not a test, a program, or a
// module of our own tests.
func (f *goFile) library() bool {
	return !f.test() && !f.nested && f.ast.Name.Name != "main"
}

// public reports whether users import the package.
func (f *goFile) public() bool {
	return f.library() && !strings.HasPrefix(f.path, "internal/") && !strings.Contains(f.path, "/internal/")
}

// A repository is what stands in it. Files are found by walking, not by git,
// so that a file counts before it is committed.
type repository struct {
	root  string
	fset  *token.FileSet
	gos   []*goFile
	other []string // all other files, from the root, with slashes
}

var readRepository = sync.OnceValues(func() (*repository, error) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return nil, err
	}
	r := &repository{root: root, fset: token.NewFileSet()}
	nested := map[string]bool{}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, name)
		if err != nil || relErr != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		dir := path.Dir(rel)
		switch {
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin"):
			return filepath.SkipDir
		case d.IsDir():
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			nested[rel] = nested[dir] || rel != "." && err == nil
		case strings.HasSuffix(rel, ".go") && !strings.Contains(rel, "testdata/"):
			return r.parse(rel, dir, nested[dir])
		case slices.Contains([]string{".test", ".out", ".prof"}, path.Ext(rel)):
			// .gitignore has these
		default:
			r.other = append(r.other, rel)
		}
		return nil
	})
	return r, err
})

func (r *repository) parse(rel, dir string, nested bool) error {
	src, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(r.fset, rel, src, parser.ParseComments)
	if err != nil {
		return err
	}
	lines := strings.Count(string(src), "\n")
	r.gos = append(r.gos, &goFile{path: rel, dir: dir, nested: nested, lines: lines, ast: f})
	return nil
}

// files returns the Go files that keep says yes to.
func (r *repository) files(keep func(*goFile) bool) []*goFile {
	var out []*goFile
	for _, f := range r.gos {
		if keep(f) {
			out = append(out, f)
		}
	}
	return out
}

func (r *repository) read(t *testing.T, rel string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(rel)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// at names the file and line of n.
func (r *repository) at(n ast.Node) string {
	return r.fset.Position(n.Pos()).String()
}

// funcNames maps the top-level functions of the tree, nested modules included,
// to the files that declare them.
func (r *repository) funcNames() map[string][]string {
	names := map[string][]string{}
	for _, f := range r.gos {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				names[fn.Name.Name] = append(names[fn.Name.Name], f.path)
			}
		}
	}
	return names
}

func load(t *testing.T) *repository {
	t.Helper()
	r, err := readRepository()
	if err != nil {
		t.Fatal(err)
	}
	return r
}
