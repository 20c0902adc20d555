package auto_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
)

// The same lines in a Lambda function, a container and on a laptop. What
// differs is OPENAI_CREDENTIAL, which stands in Options here.
func Example() {
	os.Setenv("TEAM_KEY", "sk-CANARY-1")
	defer os.Unsetenv("TEAM_KEY")
	ctx := context.Background()

	src, err := auto.New(&auto.Options{References: "env://TEAM_KEY"})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := src.Retrieve(ctx) // or client.New(client.Config{Source: src})
	fmt.Println(v.Secret, "from", v.Source, err)

	src, _ = auto.New(&auto.Options{References: "env://NOT_SET"})
	_, err = src.Retrieve(ctx)
	fmt.Println(errors.Is(err, credential.ErrUnavailable), err)

	// Output:
	// [redacted] from env:TEAM_KEY <nil>
	// true credential: env:NOT_SET: source unavailable: the variable is unset or empty (set it)
}

func ExampleExplain() {
	os.Setenv("TEAM_KEY", "sk-CANARY-1")
	defer os.Unsetenv("TEAM_KEY")

	r := auto.Explain(context.Background(), &auto.Options{References: "env://NOT_SET env://TEAM_KEY"})
	for _, a := range r.Attempts[:2] {
		fmt.Println(a.Source, "is", a.Result)
	}
	fmt.Println(r.Winner, r.Scheme)

	// Output:
	// env:NOT_SET is unavailable
	// env:TEAM_KEY is used
	// env:TEAM_KEY api key
}
