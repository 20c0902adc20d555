// Package client calls OpenAI and Azure OpenAI with a credential that is
// cached, replaced when it is rotated, and sent to its own origin only.
//
// A [Client] is an HTTP transport with the layers of package middleware
// around it. It serves any HTTP client:
//
//	c, err := client.New(client.Config{Source: src})
//	oai := openai.NewClient(c.Options()...)       // the official SDK
//	cfg.HTTPClient = c.HTTPClient()               // go-openai, or net/http
//	res, err := c.Post(ctx, "responses", in, &out) // no SDK at all
//
// The zero Config is ready: the key of OPENAI_API_KEY, for api.openai.com.
package client
