package auto_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/credential/auto"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// An identity asks for tokens of the cloud, and of the service in it, that the
// endpoint is of.
func TestTheScopeOfAnIdentityIsThatOfTheEndpoint(t *testing.T) {
	for _, tc := range []struct{ variable, address, authority, want string }{
		{"AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com", "", "https://cognitiveservices.azure.com"},
		{"AZURE_OPENAI_ENDPOINT", "'https://r.openai.azure.us/'", "", "https://cognitiveservices.azure.us"},
		{"AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.cn/openai/deployments/d/chat/completions?api-version=2024-10-21", "", "https://cognitiveservices.azure.cn"},
		{"AZURE_OPENAI_ENDPOINT", "https://r.services.ai.azure.com/api/projects/p", "", "https://ai.azure.com"},
		{"AZURE_OPENAI_ENDPOINT", "https://r.services.ai.azure.com/openai/v1/", "", "https://cognitiveservices.azure.com"},
		{"AZURE_OPENAI_ENDPOINT", "https://gw.example/team", "", "https://cognitiveservices.azure.com"},
		{"AZURE_OPENAI_ENDPOINT", "https://gw.example/team", "https://login.microsoftonline.us/", "https://cognitiveservices.azure.us"},
		{"AZURE_OPENAI_ENDPOINT", "https://apim.azure-api.cn/openai", "", "https://cognitiveservices.azure.cn"},
		{"OPENAI_BASE_URL", "https://eastus.api.cognitive.microsoft.com/openai/v1/", "", "https://cognitiveservices.azure.com"},
		{"OPENAI_BASE_URL", "https://r.openai.azure.us/openai/v1/responses", "", "https://cognitiveservices.azure.us"},
		{"OPENAI_BASE_URL", "https://gw.example/openai/deployments/d?api-version=2024-10-21", "", "https://cognitiveservices.azure.com"},
	} {
		clearEnv(t)
		id := azuretest.NewIdentity(t, "CANARY-token")
		t.Setenv("AZURE_AUTHORITY_HOST", tc.authority)
		t.Setenv(tc.variable, tc.address)
		for n, references := range []string{"", "azureidentity://"} { // with and without a reference
			src, err := auto.New(&auto.Options{References: references})
			if err != nil {
				t.Errorf("%s=%s: %v", tc.variable, tc.address, err)
				continue
			}
			if _, err := src.Retrieve(t.Context()); err != nil {
				t.Errorf("%s=%s: %v", tc.variable, tc.address, err)
			}
			if asked := id.Asked(); len(asked) != n+1 || asked[n].Get("resource") != tc.want {
				t.Errorf("%s=%s, reference %q: asked for %v, want %s", tc.variable, tc.address, references, asked, tc.want)
			}
		}
	}
}

func TestAVaultsNameIsCompletedForTheCloud(t *testing.T) {
	for _, reference := range []string{"azurekeyvault://V.Vault.Azure.CN:443/n", "azurekeyvault://v.privatelink.vaultcore.azure.cn/n", "https://V.vault.azure.cn./secrets/n"} {
		src, err := auto.Parse(reference)
		if s, ok := src.(interface{ String() string }); err != nil || !ok || s.String() != "azurekeyvault:v.vault.azure.cn/n" {
			t.Errorf("%s: the source is %v, %v", reference, src, err)
		}
	}
	for authority, want := range map[string]string{
		"": "azurekeyvault:v.vault.azure.net/n", "https://login.microsoftonline.us/": "azurekeyvault:v.vault.usgovcloudapi.net/n", "https://login.chinacloudapi.cn/": "azurekeyvault:v.vault.azure.cn/n",
	} {
		clearEnv(t)
		t.Setenv("AZURE_AUTHORITY_HOST", authority)
		src, err := auto.Parse("azurekeyvault://v/n")
		if err != nil || src == nil {
			t.Errorf("%s: %v", authority, err)
			continue
		}
		if s, ok := src.(interface{ String() string }); !ok || s.String() != want {
			t.Errorf("%s: the source is %v, want %s", authority, src, want)
		}
	}
}
