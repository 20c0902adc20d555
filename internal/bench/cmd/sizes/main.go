// Sizes builds small programs, with and without latchkey, and prints how large
// they are and what they link.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// A program is a main package below testdata.
type program struct{ dir, what string }

var programs = []program{
	{"nethttp", "net/http: the floor"},
	{"byhand", "net/http and encoding/json, by hand"},
	{"post", "latchkey: client.Post and credential.Env"},
	{"stream", "latchkey: client.Stream and credential.Env"},
	{"goopenai", "go-openai"},
	{"openaigo", "openai-go"},
	{"openaigo-latchkey", "openai-go over latchkey"},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	tmp, err := os.MkdirTemp("", "sizes")
	if err != nil {
		return fmt.Errorf("sizes: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "program\tMB\tpackages\tother modules\twhat")
	for _, p := range programs {
		size, err := build(ctx, p.dir, tmp)
		if err != nil {
			return err
		}
		packages, modules, err := links(ctx, p.dir)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(t, "%s\t%.2f\t%d\t%d\t%s\n", p.dir, float64(size)/1e6, packages, modules, p.what)
	}
	return t.Flush() //nolint:wrapcheck // of a pipe
}

const testdata = "github.com/latchkey-go/latchkey/internal/bench/cmd/sizes/testdata/"

// build returns the size of the program in bytes, as it would be shipped.
func build(ctx context.Context, dir, tmp string) (int64, error) {
	exe := filepath.Join(tmp, dir)
	if _, err := golang(ctx, "build", "-trimpath", "-ldflags", "-s -w", "-o", exe, testdata+dir); err != nil {
		return 0, err
	}
	info, err := os.Stat(exe)
	if err != nil {
		return 0, fmt.Errorf("sizes: %w", err)
	}
	return info.Size(), nil
}

// links counts the packages that the program links, and the modules that they
// come from besides this one and latchkey.
func links(ctx context.Context, dir string) (packages, modules int, err error) {
	out, err := golang(ctx, "list", "-deps", "-f", `{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}`, testdata+dir)
	if err != nil {
		return 0, 0, err
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		packages++
		_, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		if path != "" && !strings.HasPrefix(path, "github.com/latchkey-go/latchkey") {
			seen[path] = true
		}
	}
	return packages, len(seen), nil
}

// golang runs the go command. Without cgo, so that sizes can be compared.
func golang(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // our own arguments
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("sizes: go %s: %w", args[0], errors.Join(err, errors.New(strings.TrimSpace(stderr.String()))))
	}
	return string(out), nil
}
