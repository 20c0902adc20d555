// Localdev is the program of azurefunction on a developer's own machine: the
// same few lines, with the identity that is logged in to az, azd or PowerShell.
//
//	az login
//	export AZURE_OPENAI_ENDPOINT=https://RESOURCE.openai.azure.com/
//	go run ./examples/localdev -model gpt-5-mini "What is a latchkey?"
//
// The developer needs the role "Cognitive Services OpenAI User" on the resource.
// For a resource that takes keys only, KEY_VAULT_SECRET names one in Key Vault,
// https://VAULT.vault.azure.net/secrets/NAME, which is read with the same login.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	model := flag.String("model", os.Getenv("AZURE_OPENAI_DEPLOYMENT"), "the deployment; AZURE_OPENAI_DEPLOYMENT if not given")
	flag.Parse()
	if err := run(ctx, os.Stdout, *model, strings.Join(flag.Args(), " ")); err != nil {
		fmt.Fprintln(os.Stderr, "localdev:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, out io.Writer, model, question string) error {
	if os.Getenv("AZURE_OPENAI_ENDPOINT") == "" || model == "" {
		return errors.New("set AZURE_OPENAI_ENDPOINT, and name the deployment with -model or AZURE_OPENAI_DEPLOYMENT")
	}
	if question == "" {
		question = "Say in five words what a latchkey is."
	}
	src, err := source()
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{Source: src})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	_, err = c.Post(ctx, "chat/completions", map[string]any{
		"model": model, "messages": []map[string]string{{"role": "user", "content": question}},
	}, &answer)
	if err != nil {
		return err // a refusal of the service says what to do about it
	}
	if len(answer.Choices) == 0 {
		return errors.New("an answer without a choice")
	}
	_, err = fmt.Fprintln(out, answer.Choices[0].Message.Content)
	return err
}

// source is the developer's identity, or a key that it may read.
func source() (credential.Source, error) {
	if secret := os.Getenv("KEY_VAULT_SECRET"); secret != "" {
		return azurekeyvault.New(secret, "", nil)
	}
	return azureidentity.New(nil)
}
