package interop_test

import (
	"context"
	"fmt"
	"strings"

	goopenai "github.com/sashabaranov/go-openai"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// go-openai over a Client. The key is rotated between two calls, and the SDK does not
// see it.
func Example_goOpenAI() {
	service := clienttest.NewServer(fakeKey(1)) // stands for api.openai.com
	defer service.Close()
	store := credentialtest.NewStore(fakeKey(1)) // stands for a source

	c, err := client.New(client.Config{BaseURL: service.URL, Source: store})
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg := goopenai.DefaultConfig("unused") // the Client puts the key on
	cfg.BaseURL = strings.TrimSuffix(c.BaseURL(), "/")
	cfg.HTTPClient = c.HTTPClient()
	oai := goopenai.NewClientWithConfig(cfg)
	ask := func() {
		answer, err := oai.CreateChatCompletion(context.Background(), goopenai.ChatCompletionRequest{
			Model:    "gpt-6-luna",
			Messages: []goopenai.ChatCompletionMessage{{Role: goopenai.ChatMessageRoleUser, Content: "hello"}},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(answer.Choices[0].Message.Content)
	}
	ask()
	store.Rotate(fakeKey(2))
	service.Rotate(fakeKey(2)) // the old key is dead
	ask()
	fmt.Println(store.Reads(), "reads of the store")
	// Output:
	// echo: hello
	// echo: hello
	// 2 reads of the store
}
