// Sdk is the official SDK over latchkey.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
)

func main() {
	ctx := context.Background()
	src, err := awssecretsmanager.New(os.Getenv("SECRET_ID"), nil)
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.New(client.Config{Source: src})
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Warm(ctx); err != nil {
		log.Fatal(err)
	}
	oai := openai.NewClient(c.Options()...)
	answer, err := oai.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
		Model:    openai.ChatModelGPT5Mini,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Choices[0].Message.Content)
}
