package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/latchkey-go/latchkey/audit"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// A log of a client would be made with audit.OpenFile, and its methods given to
// client.Config.Observe and credential.CacheOptions.OnEvent.
func Example() {
	ctx := context.Background()
	var file bytes.Buffer
	records, err := audit.New(ctx, &audit.Options{
		Writer:  &file,
		Process: "billing-7",
		// openssl genpkey -algorithm ed25519 makes one; this is its seed.
		SigningKey: credential.Static(credential.NewSecret("Bwc"+"HBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="), credential.APIKey),
	})
	if err != nil {
		log.Fatal(err)
	}
	records.Observe(ctx, &middleware.Send{Status: 200, Credential: middleware.Identity{Source: "vault:openai", Version: "4"}})
	if err := records.Close(ctx); err != nil {
		log.Fatal(err)
	}

	report, err := audit.Verify(&file, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, use := range report.Uses {
		fmt.Println(use.Source, use.Version, use.Sends)
	}
	fmt.Println(report.Lines, "lines, closed:", report.Closed)
	// Output:
	// vault:openai 4 1
	// 3 lines, closed: true
}

// Lines go to a file, and to another one when it is large.
func ExampleOpenFile() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "audit.jsonl")
	file, err := audit.OpenFile(path, &audit.FileOptions{MaxSize: 10 << 20})
	if err != nil {
		log.Print(err)
		return
	}
	records, err := audit.New(ctx, &audit.Options{Writer: file, Process: "billing-7"})
	if err != nil {
		log.Print(err)
		return
	}
	records.OnEvent(credential.Event{Kind: credential.EventLoaded, Source: "vault:openai", Version: "4"})
	if err := errors.Join(records.Close(ctx), file.Close()); err != nil {
		log.Print(err)
		return
	}

	written, err := os.Open(path)
	if err != nil {
		log.Print(err)
		return
	}
	defer written.Close()
	report, err := audit.Verify(written, nil)
	fmt.Println(report.Lines, "lines, closed:", report.Closed, err)
	// Output: 3 lines, closed: true <nil>
}
