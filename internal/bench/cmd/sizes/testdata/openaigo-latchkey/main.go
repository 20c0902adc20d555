// The official SDK over latchkey.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/openai/openai-go/v3"

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
	l, err := client.New(client.Config{Source: credential.Env("OPENAI_API_KEY")})
	if err != nil {
		return err
	}
	c := openai.NewClient(l.Options()...)
	out, err := c.Chat.Completions.New(context.Background(), openai.ChatCompletionNewParams{
		Model:    "gpt-4.1",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hello!")},
	})
	if err != nil {
		return err
	}
	fmt.Println(out.ID)
	return nil
}
