package openaiadmin_test

import (
	"fmt"
	"log"
	"os"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/file"
	"github.com/latchkey-go/latchkey/rotation/openaiadmin"
)

func private(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func Example() {
	issuer, err := openaiadmin.New(credential.Env("OPENAI_ADMIN_KEY"), &openaiadmin.Options{
		Project: "proj_abc", ServiceAccount: "svc_acct_def", Scopes: []string{"api.model.request"},
	})
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "rotation") // a directory that stays, in earnest
	if err != nil {
		log.Fatal(err)
	}
	store, err := file.New(dir)
	if err != nil {
		log.Fatal(err)
	}
	rotator, err := rotation.New(issuer, store, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rotator != nil) // rotator.Run(ctx), by a timer
	// Output: true
}
