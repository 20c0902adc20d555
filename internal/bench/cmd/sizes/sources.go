package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A source is a package below credential and the expression that makes one.
type source struct{ pkg, expr string }

func sources() []source {
	return []source{
		{"", `credential.Env("OPENAI_API_KEY"), error(nil)`},
		{"execcommand", `execcommand.New("op", nil, nil)`},
		{"awsextension", `awsextension.New("prod/openai", nil)`},
		{"openaiworkload", `openaiworkload.New(&openaiworkload.Options{IdentityProviderID: "a", ServiceAccountID: "b", From: "gcp"})`},
		{"awsbedrock", `awsbedrock.New(nil)`},
		{"awssecretsmanager", `awssecretsmanager.New("prod/openai", nil)`},
		{"awsparameterstore", `awsparameterstore.New("/prod/openai", nil)`},
		{"hashivault", `hashivault.New("secret/openai", nil)`},
		{"azureidentity", `azureidentity.New(nil)`},
		{"azurekeyvault", `azurekeyvault.New("https://v.vault.azure.net", "openai-key", nil)`},
		{"auto", `auto.New(nil)`},
	}
}

const latchkey = "github.com/latchkey-go/latchkey"

// program is a whole program with client.Post and that source only.
func (s source) program() string {
	imports := []string{"context", "fmt", latchkey + "/client", latchkey + "/credential"}
	if s.pkg != "" {
		imports[3] = latchkey + "/credential/" + s.pkg
	}
	var b strings.Builder
	b.WriteString("package main\n\nimport (\n")
	for _, path := range imports {
		fmt.Fprintf(&b, "\t%q\n", path)
	}
	fmt.Fprintf(&b, `)

func two[S any](s S, err error) (S, error) { return s, err }

func main() {
	src, err := two(%s)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.New(client.Config{Source: src})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Post(context.Background(), "responses", map[string]any{"model": "m", "input": "Hello!"}, nil)
	fmt.Println(err)
}
`, s.expr)
	return b.String()
}

// tabulate prints the table of docs/costs.md. The programs are built within the
// library's own module, so that they link the versions that it names.
func tabulate(ctx context.Context, out io.Writer, tmp string) error {
	root, err := golang(ctx, "", "list", "-m", "-f", "{{.Dir}}", latchkey)
	if err != nil {
		return err
	}
	root = strings.TrimSpace(root)
	_, _ = fmt.Fprint(out, "| a program with `client.Post` and | MB | packages | other modules |\n|---|---|---|---|\n")
	for _, s := range sources() {
		name := s.pkg
		if name == "" {
			name = "credential.Env"
		}
		file, exe := filepath.Join(tmp, name+".go"), filepath.Join(tmp, "source-"+name)
		if err := os.WriteFile(file, []byte(s.program()), 0o600); err != nil {
			return fmt.Errorf("sizes: %w", err)
		}
		size, err := build(ctx, root, file, exe)
		if err != nil {
			return err
		}
		packages, modules, err := links(ctx, root, file)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "| `%s` | %.1f | %d | %d |\n", name, float64(size)/1e6, packages, modules)
	}
	return nil
}
