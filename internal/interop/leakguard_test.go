package interop_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// leaky is what a careless library would hand out.
type leaky struct {
	Key string
	raw []byte
}

// The matrix proves something only as far as its sinks would show a key.
func TestEverySinkShowsAKeyThatIsNotHidden(t *testing.T) {
	mute := map[string]bool{"fmt %T": true} // the type's name alone
	inPlace := map[string]bool{}            // reads what other packages do not export
	for _, s := range reflectionSinks() {
		inPlace[s.name] = true
	}
	s := of("leaky", &leaky{fakeKey(1), []byte(fakeKey(1))})
	other := of("leaky", &leaky{fakeKey(2), []byte(fakeKey(2))})
	for _, sink := range sinks() {
		found := 0
		for i := range s.live {
			if out, _ := sink.run(s.probe(i, other)); showsKey(out) {
				found++
			}
		}
		switch {
		case found == 0 && !mute[sink.name]:
			t.Errorf("%s never shows anything", sink.name)
		case inPlace[sink.name] && found < len(s.live)-3: // Error hides it in two, and "%+v" of spew stops at a pointer
			t.Errorf("%s shows a key in %d of %d places", sink.name, found, len(s.live))
		}
	}
}

func TestTheMatrixHasEveryExportedType(t *testing.T) {
	t.Setenv(keyVariable, fakeKey(1))
	have := map[string]bool{}
	for _, s := range newWorld(t, kinds[0], 1).subjects(t) {
		have[s.of] = true
	}
	count := 0
	for _, dir := range []string{"credential", "middleware", "client", "credential/credentialtest", "client/clienttest"} {
		for _, name := range exportedTypes(t, filepath.Join("..", "..", dir)) {
			count++
			if full := filepath.Base(dir) + "." + name; !have[full] {
				t.Errorf("no live %s: add one to the subjects", full)
			}
		}
	}
	if count < 25 {
		t.Errorf("only %d exported types found", count)
	}
	t.Logf("%d exported types", count)
}

func exportedTypes(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.TYPE {
				for _, spec := range gen.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() {
						names = append(names, ts.Name.Name)
					}
				}
			}
		}
	}
	return names
}

const panicVariable = "LATCHKEY_INTEROP_PANIC"

// What the runtime prints of a panic that nobody recovers goes to a log, too.
func TestAPanicThatEndsTheProgramDoesNotShowTheKey(t *testing.T) {
	if name := os.Getenv(panicVariable); name != "" {
		for _, s := range newWorld(t, kinds[0], 1).subjects(t) {
			if s.of == name {
				panic(s.live[0].value)
			}
		}
		t.Fatal("no such subject")
	}
	t.Setenv(keyVariable, fakeKey(1))
	for _, name := range []string{
		"credential.Secret", "credential.Value", "credential.Cache", "client.Client", "client.Config",
		"error: 400 echo", "error: store: panic",
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$") //nolint:gosec // this very test
		cmd.Env = append(os.Environ(), panicVariable+"="+name, "GOTRACEBACK=all")
		out, err := cmd.CombinedOutput()
		exit := (*exec.ExitError)(nil)
		switch {
		case !errors.As(err, &exit) || !strings.Contains(string(out), "panic: "):
			t.Errorf("%s: the child did not panic", name)
		case showsKey(string(out)):
			t.Errorf("%s: the output of the panic shows the key", name)
		}
	}
}
