package client_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
)

// A program without an SDK: the key comes from a source, and is replaced when
// the service rejects it.
func ExampleClient_Post() {
	server := clienttest.NewServer("sk-example") // stands for the service
	defer server.Close()

	c, err := client.New(client.Config{
		BaseURL: server.URL,
		Source:  credential.Static(credential.NewSecret("sk-example"), credential.APIKey),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	res, err := c.Post(context.Background(), "chat/completions", map[string]any{
		"model":    "gpt-6-luna",
		"messages": []map[string]string{{"role": "user", "content": "hello"}},
	}, &answer)
	if refusal := (*client.Error)(nil); errors.As(err, &refusal) {
		fmt.Println("the service says", refusal.Code, "to request", refusal.RequestID)
		return
	} else if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.StatusCode, answer.Choices[0].Message.Content)
	// Output: 200 echo: hello
}

// Stream yields the events of an answer as they arrive.
func ExampleClient_Stream() {
	server := clienttest.NewServer("sk-example")
	defer server.Close()
	c, err := client.New(client.Config{
		BaseURL: server.URL,
		Source:  credential.Static(credential.NewSecret("sk-example"), credential.APIKey),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	in := map[string]any{"model": "gpt-6-luna", "stream": true, "input": "hello"}
	last := ""
	for event, err := range c.Stream(context.Background(), "responses", in) {
		if err != nil {
			fmt.Println(err)
			return
		}
		last = event.Type
	}
	fmt.Println(last)
	// Output: response.completed
}
