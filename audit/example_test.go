package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

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
