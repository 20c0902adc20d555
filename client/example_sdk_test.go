package client_test

import (
	"context"
	"fmt"

	"github.com/openai/openai-go/v3"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// The official SDK over a Client. The key is rotated between two calls, and the SDK
// does not see it.
func ExampleClient_Options() {
	service := clienttest.NewServer("sk-CANARY-1") // stands for api.openai.com
	defer service.Close()
	store := credentialtest.NewStore("sk-CANARY-1") // stands for a source

	c, err := client.New(client.Config{BaseURL: service.URL, Source: store})
	if err != nil {
		fmt.Println(err)
		return
	}
	oai := openai.NewClient(c.Options()...)
	ask := func() {
		answer, err := oai.Chat.Completions.New(context.Background(), openai.ChatCompletionNewParams{
			Model:    openai.ChatModelGPT6Luna,
			Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(answer.Choices[0].Message.Content)
	}
	ask()
	store.Rotate("sk-CANARY-2")
	service.Rotate("sk-CANARY-2") // the old key is dead
	ask()
	fmt.Println(store.Reads(), "reads of the store")
	// Output:
	// echo: hello
	// echo: hello
	// 2 reads of the store
}

// What to do about a refusal, out of the error of an SDK.
func ExampleAsError() {
	service := clienttest.NewServer("sk-CANARY-1")
	defer service.Close()
	service.Inject(clienttest.Fault{
		Status: 404,
		Body:   `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}`,
	})

	c, err := client.New(client.Config{BaseURL: service.URL, Source: credentialtest.NewStore("sk-CANARY-1")})
	if err != nil {
		fmt.Println(err)
		return
	}
	oai := openai.NewClient(c.Options()...)
	_, err = oai.Models.List(context.Background())
	if refusal, ok := client.AsError(err); ok {
		fmt.Println(refusal.StatusCode, refusal.Code)
		fmt.Println(refusal.Hint())
	}
	// Output:
	// 404 DeploymentNotFound
	// the resource has no deployment of that name: pass the deployment's name as the model, or set Config.Deployment; a new one takes some minutes
}
