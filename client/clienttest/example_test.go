package clienttest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/client/clienttest"
)

// A key is rotated while a program uses the old one.
func Example() {
	srv := clienttest.NewServer("sk-CANARY-1")
	defer srv.Close()
	client := srv.Client()

	ask := func(key string) int {
		body := strings.NewReader(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}`)
		req, err := http.NewRequest(http.MethodPost, srv.URL+"chat/completions", body)
		if err != nil {
			return 0
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := client.Do(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}

	fmt.Println("before:", ask("sk-CANARY-1"))
	srv.Rotate("sk-CANARY-2")
	fmt.Println("old key:", ask("sk-CANARY-1"))
	fmt.Println("new key:", ask("sk-CANARY-2"))
	srv.Inject(clienttest.RateLimited.Fault())
	fmt.Println("limited:", ask("sk-CANARY-2"))
	fmt.Printf("%+v\n", srv.Stats())
	// Output:
	// before: 200
	// old key: 401
	// new key: 200
	// limited: 429
	// {Requests:4 Unauthorized:1 OK:2 Faults:1 Refused:0}
}

// A Service needs no network: it is a RoundTripper.
func ExampleService() {
	svc := clienttest.NewService("sk-CANARY-1")
	client := &http.Client{Transport: svc}

	req, err := http.NewRequest(http.MethodGet, "https://api.openai.com/v1/models/gpt-4o-mini", nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer sk-CANARY-1")
	resp, err := client.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body))
	// Output:
	// 200 OK {"id":"gpt-4o-mini","object":"model","created":1767225600,"owned_by":"openai"}
}

// A program that wants TLS trusts the certificate of the server.
func ExampleNewTLSServer() {
	srv := clienttest.NewTLSServer("sk-CANARY-1")
	defer srv.Close()
	fmt.Println(strings.HasPrefix(srv.URL, "https://"), len(srv.CertPEM) > 0)

	resp, err := srv.Client().Get(srv.Origin) // Client trusts it already
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Proto, resp.StatusCode)
	// Output:
	// true true
	// HTTP/2.0 200
}
