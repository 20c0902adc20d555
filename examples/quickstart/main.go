// Quickstart shows a key that is rotated under load without a failed call.
//
//	go run ./examples/quickstart
//
// It needs nothing but Go: it starts a service that imitates OpenAI's, keeps
// the key in a file, and calls through the official openai-go client from many
// goroutines while it rotates the key four times: at once, with an overlap, with
// a gap, and at once again. It exits with status 1 if a call failed, and with 2
// if it was given an argument.
//
// With OPENAI_API_KEY set (and OPENAI_BASE_URL, OPENAI_MODEL if wanted) it makes
// one real call instead.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/openai/openai-go/v3"

	"github.com/latchkey-go/latchkey/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "quickstart: unknown argument; it takes none, only variables: OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL")
		stop()
		os.Exit(2) //nolint:gocritic // stop has run
	}
	run := rotateUnderLoad
	if os.Getenv("OPENAI_API_KEY") != "" {
		run = oneRealCall
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

// oneRealCall is all the code that a program needs.
func oneRealCall(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	c, err := client.New(client.Config{}) // the key of OPENAI_API_KEY
	if err != nil {
		return err
	}
	oai := openai.NewClient(c.Options()...)

	model := os.Getenv("OPENAI_MODEL")
	if model == "" {
		model = openai.ChatModelGPT6Luna
	}
	begin := time.Now()
	answer, err := oai.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
		Model:    model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Say in five words what a latchkey is.")},
	})
	if err != nil {
		return err
	}
	if len(answer.Choices) == 0 {
		return fmt.Errorf("%s answered without a choice", model)
	}
	fmt.Printf("%s, after %v: %s\n", model, time.Since(begin).Round(time.Millisecond), answer.Choices[0].Message.Content)
	return nil
}
