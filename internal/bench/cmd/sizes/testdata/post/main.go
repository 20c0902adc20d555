// latchkey without an SDK.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	c, err := client.New(client.Config{Source: credential.Env("OPENAI_API_KEY")})
	if err != nil {
		return err
	}
	var out struct {
		ID string `json:"id"`
	}
	in := map[string]any{"model": "gpt-4.1", "input": "Hello!"}
	if _, err := c.Post(context.Background(), "responses", in, &out); err != nil {
		return err
	}
	fmt.Println(out.ID)
	return nil
}
