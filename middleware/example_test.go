package middleware_test

import (
	"fmt"
	"net/http"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// The layers around a transport that exists already. Package client does this
// for you.
func ExampleWrap() {
	server := clienttest.NewServer("sk-example") // stands for the service
	defer server.Close()

	key := credential.Static(credential.NewSecret("sk-example"), credential.APIKey)
	cache, err := credential.NewCache(key, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	auth, err := middleware.Auth(cache, server.Origin, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	retry, err := middleware.Retry(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c := &http.Client{Transport: middleware.Wrap(nil, middleware.Replay(), retry, auth, middleware.StreamGuard())}
	resp, err := c.Get(server.URL + "models")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}
