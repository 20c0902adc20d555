package awsextension_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"

	"github.com/latchkey-go/latchkey/credential/awsextension"
)

// In a Lambda function with the layer, the environment is there already.
func ExampleNew() {
	extension := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"VersionId": "7f1c", "SecretString": "{\"apiKey\": \"sk-CANARY-example\"}"}`)
	}))
	defer extension.Close()
	at, _ := url.Parse(extension.URL)
	os.Setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", at.Port())
	os.Setenv("AWS_SESSION_TOKEN", "CANARY-token")
	defer os.Unsetenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT")
	defer os.Unsetenv("AWS_SESSION_TOKEN")

	src, err := awsextension.New("prod/openai", &awsextension.Options{Field: "apiKey"})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := src.Retrieve(context.Background())
	fmt.Println(v.Secret, v.Version, err)
	// Output: [redacted] 7f1c <nil>
}

// A parameter of the Parameter Store, a SecureString included.
func ExampleNewParameter() {
	extension := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Parameter": {"Name": "/prod/openai", "Type": "SecureString", "Version": 3, "Value": "sk-CANARY-example"}}`)
	}))
	defer extension.Close()
	at, _ := url.Parse(extension.URL)
	os.Setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", at.Port())
	os.Setenv("AWS_SESSION_TOKEN", "CANARY-token")
	defer os.Unsetenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT")
	defer os.Unsetenv("AWS_SESSION_TOKEN")

	src, err := awsextension.NewParameter("/prod/openai", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := src.Retrieve(context.Background())
	fmt.Println(v.Secret, v.Version, err)
	// Output: [redacted] 3 <nil>
}
