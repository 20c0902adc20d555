package interop_test

import (
	"net/http/httptest"
	"testing"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/bedrock"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential/awsbedrock"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

// Tokens that awsbedrock makes of the environment's AWS credentials reach an
// endpoint that recomputes their signature, by the SDK's own client and by its
// client for Bedrock, which leaves the authentication to our transport.
func TestOpenAIGoReachesBedrockWithTokensOfLatchkey(t *testing.T) {
	server := awstest.NewBedrock(awstest.Caller())
	endpoint := httptest.NewServer(server)
	defer endpoint.Close()
	awstest.NoAWS(t)
	awstest.Setenv(t, awstest.Caller().Env(server.Region))
	src, err := awsbedrock.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	base := endpoint.URL + "/openai/v1"
	c, err := client.New(client.Config{Source: src, BaseURL: base})
	if err != nil {
		t.Fatal(err)
	}
	plain := openai.NewClient(c.Options()...)
	amazon, err := bedrock.NewClient(t.Context(), bedrock.Config{AWSRegion: server.Region, BaseURL: base, SkipAuth: true},
		option.WithHTTPClient(c.HTTPClient()), option.WithMaxRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	for name, sdk := range map[string]openai.Client{"openai": plain, "bedrock": amazon} {
		answer, err := sdk.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{
			Model:    "openai.gpt-oss-20b-1:0",
			Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hello!")},
		})
		if err != nil || len(answer.Choices) != 1 || answer.Choices[0].Message.Content != "Hello!" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if good, bad := server.Served(); good != 2 || bad != 0 {
		t.Errorf("%d calls served, %d refused", good, bad)
	}
}
