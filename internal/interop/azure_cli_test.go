package interop_test

import (
	"context"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// The Azure CLI has no cache in the SDK: one process for each token. openai-go
// asks for a token with each call, a Cache asks once.
func TestAHundredCallsStartOneAzWhereOpenAIGoStartsAHundred(t *testing.T) {
	const calls, version, token = 100, "2024-10-21", "eyJ.CANARY-az-1"
	for _, tc := range []struct {
		name string
		make func(t *testing.T, server *clienttest.Server) ([]option.RequestOption, error)
		want int
	}{
		{"openai-go, azure.WithTokenCredential", func(_ *testing.T, server *clienttest.Server) ([]option.RequestOption, error) {
			cli, err := azidentity.NewAzureCLICredential(nil)
			return []option.RequestOption{
				azure.WithEndpoint(server.Origin, version), azure.WithTokenCredential(cli), option.WithHTTPClient(server.Client()),
			}, err
		}, calls},
		{"latchkey", func(t *testing.T, server *clienttest.Server) ([]option.RequestOption, error) {
			t.Setenv("AZURE_OPENAI_ENDPOINT", server.Origin)
			t.Setenv("OPENAI_API_VERSION", version)
			src, err := azureidentity.New(nil)
			if err != nil {
				return nil, err
			}
			c, err := client.New(client.Config{Source: src, RootCAs: server.CertPEM})
			if err != nil {
				return nil, err
			}
			return c.Options(), nil
		}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			azuretest.ClearEnv(t)
			az := azuretest.NewAz(t, token)
			server := newServer(t, "https", token)
			server.SetFlavor(clienttest.AzureOpenAI)
			opts, err := tc.make(t, server)
			if err != nil {
				t.Fatal(err)
			}
			c := openai.NewClient(opts...)
			for range calls {
				if _, err := c.Chat.Completions.New(context.Background(), chatParams()); err != nil {
					t.Fatal(err)
				}
			}
			// The SDK may send a call again by itself, and ask again for that.
			more := az.Runs() > tc.want && tc.want > 1
			if az.Runs() != tc.want && !more || server.Stats().OK != calls {
				t.Errorf("%d processes for %d calls, want %d", az.Runs(), server.Stats().OK, tc.want)
			}
			t.Logf("%d calls started %d az processes", calls, az.Runs())
		})
	}
}
