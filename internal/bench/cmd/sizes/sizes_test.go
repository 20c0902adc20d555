package main

import (
	"context"
	"path/filepath"
	"testing"
)

// maxPost is what a program of latchkey without an SDK may have in bytes.
const maxPost = 8_200_000

func TestPostBinaryIsSmall(t *testing.T) {
	size, err := build(context.Background(), "", testdata+"post", filepath.Join(t.TempDir(), "post"))
	if err != nil {
		t.Fatal(err)
	}
	if size > maxPost {
		t.Errorf("the program has %d bytes, want at most %d", size, maxPost)
	}
}
