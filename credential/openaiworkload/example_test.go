package openaiworkload_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
)

// A workload on Google Cloud: its token comes from the metadata server. Both
// servers are stood in for here; leave the Transport out.
func Example() {
	google := canned{header: "Metadata-Flavor", value: "Google", body: "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.CANARY-signature"}
	openai := canned{body: `{"access_token":"CANARY-token","token_type":"Bearer","expires_in":900}`}

	src, err := openaiworkload.New(&openaiworkload.Options{
		IdentityProviderID: "idp_123",
		ServiceAccountID:   "sa_123",
		From:               "gcp",
		Transport:          byHost{"auth.openai.com": openai, "169.254.169.254": google},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache, err := credential.NewCache(src, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := cache.Retrieve(context.Background())
	fmt.Println(v.Secret, v.Scheme, "from", v.Source, err)

	_, err = openaiworkload.New(&openaiworkload.Options{IdentityProviderID: "idp_123", ServiceAccountID: "sa_123", From: "azure"})
	fmt.Println(err)
	// Output:
	// auth.openai.com gets a POST, after 169.254.169.254 a GET
	// [redacted] bearer token from openaiworkload:gcp <nil>
	// openaiworkload: "azure" needs Audience: the Application ID URI of an app registration of yours, for example api://openai
}

// canned is a server that always says the same.
type canned struct{ header, value, body string }

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "auth.openai.com" {
		fmt.Println("auth.openai.com gets a", r.Method+", after 169.254.169.254 a GET")
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c.body))}
	resp.Header.Set(c.header, c.value)
	return resp, nil
}

// byHost sends requests to stand-ins.
type byHost map[string]http.RoundTripper

func (b byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	return b[r.URL.Host].RoundTrip(r)
}
