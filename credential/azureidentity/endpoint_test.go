package azureidentity_test

import (
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// The options come before the environment, and both before the authority.
func TestTheEndpointTellsTheScope(t *testing.T) {
	for _, tc := range []struct{ option, variable, authority, scope, want string }{
		{"https://r.openai.azure.us", "https://r.openai.azure.com", "", "", "https://cognitiveservices.azure.us"},
		{"", "https://r.openai.azure.cn", "https://login.microsoftonline.us/", "", "https://cognitiveservices.azure.cn"},
		{"https://r.services.ai.azure.us/api/projects/p", "", "", "", "https://ai.azure.us"},
		{"https://gw.example/team", "", "https://login.microsoftonline.us/", "", "https://cognitiveservices.azure.us"},
		{"", "not an address", "", "", "https://cognitiveservices.azure.com"},
		{"https://r.openai.azure.us", "", "", "https://ai.azure.com/.default", "https://ai.azure.com"},
	} {
		azuretest.ClearEnv(t)
		id := azuretest.NewIdentity(t, token1)
		t.Setenv("AZURE_OPENAI_ENDPOINT", tc.variable)
		t.Setenv("AZURE_AUTHORITY_HOST", tc.authority)
		if _, err := newSource(t, &azureidentity.Options{Endpoint: tc.option, Scope: tc.scope}).Retrieve(t.Context()); err != nil {
			t.Errorf("%+v: %v", tc, err)
		}
		if asked := id.Asked(); len(asked) != 1 || asked[0].Get("resource") != tc.want {
			t.Errorf("%+v: asked for %v", tc, asked)
		}
	}
	if _, err := azureidentity.New(&azureidentity.Options{Endpoint: "r.openai.azure.com"}); err == nil || !strings.Contains(err.Error(), "Endpoint") {
		t.Errorf("an address without a scheme: %v", err)
	}
}
