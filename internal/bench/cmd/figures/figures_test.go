package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const printed = `goos: linux
cpu: A Processor
BenchmarkStream/peer=latchkey-2   	1000	  300.0 ns/op	  64 B/op	  2 allocs/op
BenchmarkStream/peer=latchkey-2   	1000	  100.0 ns/op	  64 B/op	  2 allocs/op
BenchmarkStream/peer=latchkey-2   	1000	  200.0 ns/op	  96 B/op	  2 allocs/op
BenchmarkStream/peer=a<b-2   	1000	  2000 ns/op	 12.5 MB/s	  8 B/op	  1 allocs/op
Benchmark429/net=mem/answer=429/peer=latchkey-2   	5	  1500000000 ns/op	 0 conns/op	 2.000 sends/op	  6640 B/op	  70 allocs/op
PASS
`

const weighed = `| program | MB | what |
|---|--:|---|
| goopenai | 6.42 | go-openai |
| post | 7.93 | latchkey: client.Post |
`

// fake is a go command that prints what is given, by the package or the benchmarks.
func fake(prints map[string]string) command {
	return func(_ context.Context, _ io.Writer, args ...string) ([]byte, error) {
		if args[0] == "list" {
			return []byte("example.com/peer v1.2.3\n"), nil
		}
		for what, text := range prints {
			if slices.Contains(args, what) {
				return []byte(text), nil
			}
		}
		return nil, errors.New("unexpected: go " + strings.Join(args, " "))
	}
}

func made(t *testing.T, dir string, goes command, args ...string) string {
	t.Helper()
	if err := run(t.Context(), goes, append(args, "-dir", dir), io.Discard); err != nil {
		t.Fatal(err)
	}
	return read(t, filepath.Join(dir, "README.md"))
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func holds(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func isXML(t *testing.T, name string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader([]byte(read(t, name))))
	var err error
	for err == nil {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("%s is no XML: %v", name, err)
	}
}

func TestTheTableHasMediansAndRatios(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "turns.txt")
	if err := os.WriteFile(from, []byte(printed), 0o600); err != nil {
		t.Fatal(err)
	}
	text := made(t, dir, fake(nil), "-from", from)
	holds(t, text, "## A stream of 200 chunks", "| latchkey | 200 ns | 1.00 | 64 | 2 |", "| a<b | 2 µs | 10.00 | 8 | 1 |",
		"A Processor", "](stream.svg)", "example.com/peer v1.2.3", "go1.")
	isXML(t, filepath.Join(dir, "stream.svg"))
}

func TestWhereEveryCallIsRefusedNoTimeIsShown(t *testing.T) {
	text := made(t, t.TempDir(), fake(map[string]string{"5x": printed}), "-only", "retry")
	holds(t, text, "| latchkey | 6640 | 70 | 2 | 0 |")
	if strings.Contains(text, "1.5") || strings.Contains(text, "1500") || strings.Contains(text, "a<b") {
		t.Errorf("a time, or another part:\n%s", text)
	}
}

func TestAToolsTableHasItsChart(t *testing.T) {
	dir := t.TempDir()
	holds(t, made(t, dir, fake(map[string]string{"./cmd/sizes": weighed}), "-only", "sizes"), weighed, "](sizes.svg)")
	isXML(t, filepath.Join(dir, "sizes.svg"))
	picture := read(t, filepath.Join(dir, "sizes.svg"))
	holds(t, picture, ">6.42 MB<", ">goopenai<", `class="ours"`)
	if n := strings.Count(picture, `class="ours"`); n != 1 {
		t.Errorf("%d bars are those of latchkey", n)
	}
	err := run(t.Context(), fake(map[string]string{"./cmd/sizes": "nothing"}), []string{"-only", "sizes", "-dir", dir}, io.Discard)
	if err == nil {
		t.Error("a part without figures was written")
	}
	holds(t, read(t, filepath.Join(dir, "README.md")), weighed)
}

func TestAPartThatIsMadeAgainLeavesTheOthers(t *testing.T) {
	dir := t.TempDir()
	made(t, dir, fake(map[string]string{"./cmd/sizes": weighed}), "-only", "sizes")
	page := filepath.Join(dir, "README.md")
	old := regexp.MustCompile(`\d{4}-\d\d-\d\d`).ReplaceAllString(read(t, page), "2001-02-03")
	if err := os.WriteFile(page, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	bench := map[string]string{"^BenchmarkStream$": printed}
	text := made(t, dir, fake(bench), "-only", "stream")
	holds(t, text, weighed, "| latchkey | 200 ns |", "- stream: 20", "- sizes: 2001-02-03, ")
	if strings.Index(text, "](stream.svg)") > strings.Index(text, "](sizes.svg)") {
		t.Error("the parts are in another order")
	}
	bench["^BenchmarkStream$"] = strings.ReplaceAll(printed, "200.0 ns/op", "280.0 ns/op")
	again := made(t, dir, fake(bench), "-only", "stream")
	holds(t, again, weighed, "| latchkey | 280 ns |", "- sizes: 2001-02-03, ")
	if strings.Contains(again, "| latchkey | 200 ns |") || strings.Count(again, "## Binaries") != 1 {
		t.Errorf("the old figures are there as well:\n%s", again)
	}
}

func TestTheRateLimitsPageIsWrittenBesideTheOthers(t *testing.T) {
	dir := t.TempDir()
	goes := func(ctx context.Context, progress io.Writer, args ...string) ([]byte, error) {
		for i, a := range args {
			if a == "-summary" {
				return nil, os.WriteFile(args[i+1], []byte("| scenario | latchkey |\n|---|--:|\n| drop | 0 of 9, 1.00 |\n"), 0o600)
			}
		}
		return fake(nil)(ctx, progress, args...)
	}
	holds(t, made(t, dir, goes, "-only", "throttle"), "| drop | 0 of 9, 1.00 |", "](throttling.md)", "](throttling.svg)")
}

func TestNoBenchmarkIsAnError(t *testing.T) {
	from := filepath.Join(t.TempDir(), "turns.txt")
	if err := os.WriteFile(from, []byte("PASS\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), fake(nil), []string{"-from", from, "-dir", t.TempDir()}, io.Discard); err == nil {
		t.Error("an empty table was written")
	}
	if err := run(t.Context(), fake(nil), []string{"-only", "read,nothing", "-dir", t.TempDir()}, io.Discard); err == nil || !strings.Contains(err.Error(), "coldstart") {
		t.Errorf("an unknown part: %v", err)
	}
}

// The page that is committed is one of this command, and whole.
func TestThePageHasEveryPart(t *testing.T) {
	text := read(t, filepath.FromSlash("../../../../docs/figures/README.md"))
	for _, p := range parts() {
		for _, want := range []string{"<!-- part " + p.name + " -->", "\n## " + p.title + "\n", p.about} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q", p.name, want)
			}
		}
	}
	if again := page(text, nil); again != text {
		t.Error("the page is another one than this command would write: go run ./cmd/figures -only PART")
	}
}
