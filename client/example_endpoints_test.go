package client_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// Azure OpenAI with a key. With package azureidentity as the Source no key is needed.
// Leave Transport out: here it stands for the resource.
func ExampleNew_azure() {
	service := clienttest.NewService("CANARY-azure-key")
	service.SetFlavor(clienttest.AzureOpenAI)

	c, err := client.New(client.Config{
		BaseURL:   "https://contoso.openai.azure.com",
		Source:    credential.Static(credential.NewSecret("CANARY-azure-key"), credential.APIKey),
		Transport: service,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := c.Post(context.Background(), "responses", map[string]any{"model": "gpt-5-mini", "input": "hello"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.StatusCode, c.BaseURL())
	// Output: 200 https://contoso.openai.azure.com/openai/v1/
}

// Azure API Management in front of the service, with a subscription key in place of
// any other. For a gateway that wants a token as well, Source is the token, and the
// key goes into SubscriptionKey.
func ExampleNew_apiManagement() {
	gateway := clienttest.NewService("CANARY-subscription-key")
	gateway.SetFlavor(clienttest.APIM)

	c, err := client.New(client.Config{
		BaseURL:   "https://contoso.azure-api.net/openai/v1/",
		Source:    credential.Static(credential.NewSecret("CANARY-subscription-key"), credential.APIKey),
		KeyHeader: "Ocp-Apim-Subscription-Key",
		Transport: gateway,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := c.Post(context.Background(), "responses", map[string]any{"model": "gpt-5-mini", "input": "hello"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.StatusCode)
	// Output: 200
}

// Two endpoints, each with its own key. The first has no room, so the call goes to the
// second at once.
func ExampleNew_severalEndpoints() {
	east, west := clienttest.NewServer("sk-CANARY-east"), clienttest.NewServer("sk-CANARY-west")
	defer east.Close()
	defer west.Close()
	east.Inject(clienttest.RateLimited.Fault())

	key := func(text string) credential.Source {
		return credential.Static(credential.NewSecret(text), credential.APIKey)
	}
	c, err := client.New(client.Config{
		Name: "east", BaseURL: east.URL, Source: key("sk-CANARY-east"),
		Fallbacks: []client.Endpoint{{Name: "west", BaseURL: west.URL, Source: key("sk-CANARY-west")}},
		Observe: func(_ context.Context, s *middleware.Send) {
			fmt.Println("send", s.Number, "to", s.Endpoint, s.Status, http.StatusText(s.Status))
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := c.Post(context.Background(), "responses", map[string]any{"model": "gpt-5-mini", "input": "hello"}, nil); err != nil {
		fmt.Println(err)
	}
	// Output:
	// send 1 to east 429 Too Many Requests
	// send 2 to west 200 OK
}

// Two Clients share one transport, and with it the connections.
func ExampleNewTransport() {
	service := clienttest.NewTLSServer("sk-CANARY-1")
	defer service.Close()

	transport, err := client.NewTransport(service.CertPEM)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer transport.CloseIdleConnections()
	transport.MaxConnsPerHost = 20
	for range 2 {
		c, err := client.New(client.Config{
			BaseURL:   service.URL,
			Source:    credential.Static(credential.NewSecret("sk-CANARY-1"), credential.APIKey),
			Transport: transport,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		res, err := c.Do(context.Background(), http.MethodGet, "models", nil, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(res.StatusCode)
	}
	// Output:
	// 200
	// 200
}
