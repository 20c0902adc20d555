package file_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/latchkey-go/latchkey/rotation/file"
)

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
	state, err := store.Load(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(state.Current == nil)
	// Output: true
}
