package telemetry_test

import (
	"context"
	"fmt"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

// A client that exports a span for each call, and metrics. The program sets the
// providers of package otel up, as it does for all else that it instruments.
func Example() {
	server := clienttest.NewServer("sk-example") // stands for the service
	defer server.Close()

	t, err := telemetry.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.New(client.Config{
		BaseURL:    server.URL,
		Source:     credential.Static(credential.NewSecret("sk-example"), credential.APIKey),
		Middleware: []middleware.Middleware{t.Middleware()},
		Observe:    t.Observe,
		ObserveIf:  t.Enabled,
		OnRoute:    t.OnRoute,
		Cache:      &credential.CacheOptions{OnEvent: t.OnEvent},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := c.Post(context.Background(), "embeddings", map[string]any{"model": "text-embedding-3-small", "input": "hello"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.StatusCode)
	// Output: 200
}
