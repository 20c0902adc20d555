package execcommand_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/execcommand"
)

// A company's login tool that prints tokens as a plugin of kubectl does. This
// program plays the tool as well.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	printed := `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",
		"status":{"token":"CANARY-token","expirationTimestamp":"2099-01-02T15:04:05Z"}}`
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte(printed), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	tool, err := os.Executable()
	if err != nil {
		fmt.Println(err)
		return
	}

	login, err := execcommand.New(tool, []string{"token", "--audience", "openai"}, &execcommand.Options{
		Env: append(os.Environ(), helperDir+"="+dir),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	absent, err := execcommand.New("a-tool-that-is-not-installed", nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	chain, err := credential.NewChain(absent, login)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := chain.Retrieve(context.Background())
	fmt.Println(v.Secret, v.Scheme, v.Expires.Year(), err)

	_, err = absent.Retrieve(context.Background())
	fmt.Println(err)
	// Output:
	// [redacted] bearer token 2099 <nil>
	// credential: execcommand:a-tool-that-is-not-installed: find the command: source unavailable: there is no such command (install it, or add its directory to PATH)
}
