package rotation_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/file"
)

// The issuer of this example is one in memory; the first run makes the first key.
func Example() {
	dir, err := os.MkdirTemp("", "rotation")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := file.New(dir)
	if err != nil {
		log.Fatal(err)
	}
	rotator, err := rotation.New(rotationtest.NewService(), store, &rotation.Options{
		OnStep: func(step rotation.Step, _ rotation.State) { fmt.Println(step) },
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := rotator.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// prepare
	// issue
	// prove
	// promote
}
