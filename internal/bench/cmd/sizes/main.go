// Sizes builds small programs, with and without latchkey, and prints how large
// they are and what they link, as a table in Markdown. With -sources it is one program for each source,
// as the table in docs/costs.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
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
	bySource := flag.Bool("sources", false, "one program for each source, as a table in Markdown")
	flag.Parse()
	if err := run(ctx, os.Stdout, *bySource); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, bySource bool) error {
	tmp, err := os.MkdirTemp("", "sizes")
	if err != nil {
		return fmt.Errorf("sizes: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if bySource {
		return tabulate(ctx, out, tmp)
	}
	if _, err := fmt.Fprint(out, "| program | MB | packages | other modules | what |\n|---|--:|--:|--:|---|\n"); err != nil {
		return fmt.Errorf("sizes: %w", err)
	}
	for _, p := range programs {
		size, err := build(ctx, "", testdata+p.dir, filepath.Join(tmp, p.dir))
		if err != nil {
			return err
		}
		packages, modules, err := links(ctx, "", testdata+p.dir)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "| %s | %.2f | %d | %d | %s |\n", p.dir, float64(size)/1e6, packages, modules, p.what)
	}
	return nil
}

const testdata = "github.com/latchkey-go/latchkey/internal/bench/cmd/sizes/testdata/"

// build returns the size of the program in bytes, as it would be shipped. The go
// command runs in dir.
func build(ctx context.Context, dir, program, exe string) (int64, error) {
	if _, err := golang(ctx, dir, "build", "-trimpath", "-ldflags", "-s -w", "-o", exe, program); err != nil {
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
func links(ctx context.Context, dir, program string) (packages, modules int, err error) {
	out, err := golang(ctx, dir, "list", "-deps", "-f", `{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}`, program)
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
func golang(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("sizes: go %s: %w", args[0], errors.Join(err, errors.New(strings.TrimSpace(stderr.String()))))
	}
	return string(out), nil
}
