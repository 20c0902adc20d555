package interop_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "github.com/aws/aws-sdk-go-v2/config"                 // the documents use it
	_ "github.com/aws/aws-sdk-go-v2/service/secretsmanager" // the same

	_ "github.com/latchkey-go/latchkey/credential/auto"       // the same
	_ "github.com/latchkey-go/latchkey/middleware/redislimit" // the same
	_ "github.com/latchkey-go/latchkey/middleware/telemetry"  // the same
)

// documents are the pages whose blocks of Go have to compile, and what their blocks
// take for granted beside given. A block is the inside of a function, or declarations
// if it begins with "func" or "type".
var documents = []struct{ name, given string }{
	{"docs/where.md", ""},
	{"docs/migration.md", ""},
	{"docs/audit.md", `
var (
	source, signingKey, fingerprintKey credential.Source
	lastWeeks                          io.Reader
)
`},
	{"docs/limits.md", `
var (
	src        credential.Source
	prices     map[string]limit.Price
	list       []limit.Limit
	options    *redis.Options
	firstStart time.Time
)
`},
	{"docs/rotation.md", `
var (
	src    credential.Source
	vault  *vaultapi.Client
	events *http.ServeMux
)
`},
	{"docs/telemetry.md", ""},
	{"docs/testing.md", `
var (
	service = clienttest.NewService()
	store   = credentialtest.NewStore("")
)
`},
	{"README.md", `
var (
	src, west credential.Source
	prices    map[string]limit.Price
	readKey   func(context.Context) (string, error)
	tokens    atomic.Int64
)
`},
}

// packages are what a block may use, by the name that it uses.
var packages = map[string]string{
	"auto": latchkey + "credential/auto", "file": latchkey + "rotation/file", "vaultstore": latchkey + "rotation/hashivault",
	"anomaly": latchkey + "audit/anomaly", "audit": latchkey + "audit", "telemetry": latchkey + "middleware/telemetry", "redislimit": latchkey + "middleware/redislimit",
	"clienttest": latchkey + "client/clienttest", "credentialtest": latchkey + "credential/credentialtest",
	"openaiadmin": latchkey + "rotation/openaiadmin", "rotation": latchkey + "rotation",
	"awssecretsmanager": latchkey + "credential/awssecretsmanager",
	"azureidentity":     latchkey + "credential/azureidentity", "azurekeyvault": latchkey + "credential/azurekeyvault",
	"client": latchkey + "client", "credential": latchkey + "credential", "dialguard": latchkey + "dialguard",
	"hashivault": latchkey + "credential/hashivault", "limit": latchkey + "middleware/limit", "middleware": latchkey + "middleware",

	"azidentity":     "github.com/Azure/azure-sdk-for-go/sdk/azidentity",
	"azure":          "github.com/openai/openai-go/v3/azure",
	"config":         "github.com/aws/aws-sdk-go-v2/config",
	"goopenai":       "github.com/sashabaranov/go-openai",
	"openai":         "github.com/openai/openai-go/v3",
	"option":         "github.com/openai/openai-go/v3/option",
	"redis":          "github.com/redis/go-redis/v9",
	"secretsmanager": "github.com/aws/aws-sdk-go-v2/service/secretsmanager",
	"vaultapi":       "github.com/hashicorp/vault/api",

	"context": "context", "errors": "errors", "http": "net/http", "io": "io", "json": "encoding/json", "os": "os", "slog": "log/slog",
	"strings": "strings", "atomic": "sync/atomic", "sync": "sync", "synctest": "testing/synctest", "testing": "testing", "time": "time",
}

const latchkey = "github.com/latchkey-go/latchkey/"

// given is what blocks take for granted.
const given = `
var (
	ctx      context.Context
	r        *http.Request
	logger   *slog.Logger
	err      error
	params   openai.ChatCompletionNewParams
	customer string
)
`

var (
	block     = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	qualifier = regexp.MustCompile(`\b([a-z]+)\.[A-Z]`)
	top       = regexp.MustCompile(`(?m)\A(?://.*\n)*(?:func|type) `)
)

func TestTheCodeInTheDocumentsCompiles(t *testing.T) {
	fset := token.NewFileSet()
	imports := exports(t, fset)
	for _, doc := range documents {
		text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(doc.name)))
		if err != nil {
			t.Fatal(err)
		}
		blocks := block.FindAllSubmatchIndex(text, -1)
		if len(blocks) == 0 {
			t.Errorf("%s: %d blocks of Go", doc.name, len(blocks))
		}
		for _, at := range blocks {
			line := bytes.Count(text[:at[2]], []byte("\n")) + 1
			if err := compile(fset, imports, given+doc.given, fmt.Sprintf("//line %s:%d\n", doc.name, line), string(text[at[2]:at[3]])); err != nil {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestEachDocumentWithCodeIsCompiled(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal("no documents", err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := "docs/" + filepath.Base(page)
		if block.Match(text) && !slices.ContainsFunc(documents, func(d struct{ name, given string }) bool { return d.name == name }) {
			t.Errorf("%s has Go that is not compiled", name)
		}
	}
}

// A block that does not compile is found, and the line of the document is told.
func TestCodeThatDoesNotCompileIsFound(t *testing.T) {
	fset := token.NewFileSet()
	imports := exports(t, fset)
	for _, code := range []string{"c, err := client.New(client.Config{Sourc: nil})\n", "x := 1 +\n", "nowhere.Call()\n", "client.New()\n"} {
		if err := compile(fset, imports, given, "//line docs/x.md:7\n", code); err == nil || !strings.Contains(err.Error(), "docs/x.md:") {
			t.Errorf("%q: %v", code, err)
		}
	}
}

// compile type-checks one block. That a variable is not used is no error in a
// document.
func compile(fset *token.FileSet, imports types.Importer, given, at, code string) error {
	var src strings.Builder
	src.WriteString("package p\n")
	var used []string
	for _, m := range qualifier.FindAllStringSubmatch(given+code, -1) {
		if path := packages[m[1]]; path != "" && !slices.Contains(used, m[1]) {
			used = append(used, m[1])
			fmt.Fprintf(&src, "import %s %q\n", m[1], path)
		}
	}
	src.WriteString(given)
	if top.MatchString(code) {
		src.WriteString(at + code)
	} else {
		src.WriteString("func _() {\n" + at + code + "}\n")
	}
	file, err := parser.ParseFile(fset, "document.go", src.String(), 0)
	if err != nil {
		return err
	}
	var wrong []error
	conf := types.Config{Importer: imports, Error: func(err error) {
		if e := (types.Error{}); errors.As(err, &e) && !e.Soft {
			wrong = append(wrong, err)
		}
	}}
	_, _ = conf.Check("p", fset, []*ast.File{file}, nil) // Error has them
	return errors.Join(wrong...)
}

// exports returns an importer of what the compiler has made of packages.
func exports(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	for _, path := range packages {
		args = append(args, path)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	files := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		files[p.ImportPath] = p.Export
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(files[path])
	})
}
