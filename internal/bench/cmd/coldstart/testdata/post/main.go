// Post is client.Post with the key from package awssecretsmanager.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

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
	var answer struct {
		Choices []struct{ Message message }
	}
	in := map[string]any{"model": "gpt-5-mini", "messages": []message{{"user", "hello"}}}
	if _, err := c.Post(ctx, "chat/completions", in, &answer); err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Choices[0].Message.Content)
}
