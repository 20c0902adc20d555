// latchkey without an SDK, with a stream.
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
	in := map[string]any{"model": "gpt-4.1", "input": "Hello!", "stream": true}
	for ev, err := range c.Stream(context.Background(), "responses", in) {
		if err != nil {
			return err
		}
		fmt.Println(ev.Type)
	}
	return nil
}
