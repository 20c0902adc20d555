package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const printed = `goos: linux
cpu: A Processor
BenchmarkStream/peer=latchkey-2   	1000	  300.0 ns/op	  64 B/op	  2 allocs/op
BenchmarkStream/peer=latchkey-2   	1000	  100.0 ns/op	  64 B/op	  2 allocs/op
BenchmarkStream/peer=latchkey-2   	1000	  200.0 ns/op	  64 B/op	  2 allocs/op
BenchmarkStream/peer=a<b-2   	1000	  2000 ns/op	 12.5 MB/s	  8 B/op	  1 allocs/op
PASS
`

func TestTheTableHasMediansAndRatios(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "turns.txt")
	if err := os.WriteFile(from, []byte(strings.Replace(printed, "a<b", "other", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"-from", from, "-dir", dir}, io.Discard); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| latchkey | 200 ns | 1.00 | 64 | 2 |", "| other | 2 µs | 10.00 | 8 | 1 |", "A Processor", "](stream.svg)"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	picture, err := os.ReadFile(filepath.Join(dir, "stream.svg"))
	if err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(picture))
	for err == nil {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("the picture is no XML: %v", err)
	}
}

func TestNoBenchmarkIsAnError(t *testing.T) {
	from := filepath.Join(t.TempDir(), "turns.txt")
	if err := os.WriteFile(from, []byte("PASS\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), []string{"-from", from, "-dir", t.TempDir()}, io.Discard); err == nil {
		t.Error("an empty table was written")
	}
}
