package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/audit"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// logged writes a log in two files, and its public key in a third.
func logged(t *testing.T) (key string, files []string) {
	t.Helper()
	dir := t.TempDir()
	seed := bytes.Repeat([]byte{5}, ed25519.SeedSize)
	f, err := audit.OpenFile(filepath.Join(dir, "audit.jsonl"), &audit.FileOptions{MaxSize: 6000})
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.New(t.Context(), &audit.Options{Writer: f, SigningKey: credential.Static(credential.NewSecret(base64.StdEncoding.EncodeToString(seed)), credential.APIKey)})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for i := range 20 {
		l.Observe(t.Context(), &middleware.Send{
			Status: 200, Started: at.Add(time.Duration(i) * time.Minute), Usage: middleware.Usage{Reported: true, Input: 2, Output: 3},
			Credential: middleware.Identity{Source: "vault:openai", Version: string(rune('1' + i/10))},
		})
	}
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	key = filepath.Join(dir, "public.txt")
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey) //nolint:forcetypeassert // it is one
	if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(public)), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err = filepath.Glob(filepath.Join(dir, "audit.0*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return key, append(files, filepath.Join(dir, "audit.jsonl"))
}

func TestVerifyPrintsWhichVersionServedWhat(t *testing.T) {
	key, files := logged(t)
	var out, errs bytes.Buffer
	args := append([]string{"verify", "-key", key, "-closed", "-from", "2026-11-26T12:05:00Z"}, files...)
	if status := run(args, &out, &errs); status != 0 || errs.Len() > 0 {
		t.Fatalf("status %d: %s%s", status, out.String(), errs.String())
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{"lines are in order", "vault:openai 1 - 5 0 10 15 2026-11-26T12:05:00Z", "vault:openai 2 - 10 0 20 30 2026-11-26T12:10:00Z 2026-11-26T12:19:00Z"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestVerifyNamesTheLineThatWasChanged(t *testing.T) {
	key, files := logged(t)
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	lines[3] = bytes.Replace(lines[3], []byte(`"status":200`), []byte(`"status":401`), 1)
	if err := os.WriteFile(files[0], bytes.Join(lines, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if status := run(append([]string{"verify", "-key", key}, files...), &out, &errs); status != tampered || !strings.Contains(out.String(), "line 4 was changed") {
		t.Errorf("status %d: %s%s", status, out.String(), errs.String())
	}
}

func TestWhatCannotBeCheckedIsAnErrorOfItsOwn(t *testing.T) {
	key, files := logged(t)
	for _, args := range [][]string{
		nil, {"check"}, {"verify"}, {"verify", "-key", files[0], files[0]}, {"verify", "-from", "noon", files[0]}, {"verify", "-key", key, files[0] + ".gone"},
	} {
		var out, errs bytes.Buffer
		if status := run(args, &out, &errs); status != unchecked || errs.Len() == 0 {
			t.Errorf("%q: status %d, %q", args, status, errs.String())
		}
	}
}
