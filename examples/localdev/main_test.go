package main

import (
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

const token = "eyJ.CANARY-az-1"

func start(t *testing.T) (*azuretest.Tool, *clienttest.Server) {
	t.Helper()
	azuretest.ClearEnv(t)
	t.Setenv("KEY_VAULT_SECRET", "")
	server := clienttest.NewServer(token)
	t.Cleanup(server.Close)
	server.SetFlavor(clienttest.AzureOpenAI)
	t.Setenv("AZURE_OPENAI_ENDPOINT", server.Origin)
	return azuretest.NewAz(t, token), server
}

func TestTheDevelopersLoginIsEnough(t *testing.T) {
	az, _ := start(t)
	var out strings.Builder
	if err := run(t.Context(), &out, "gpt", "what is a latchkey?"); err != nil || out.String() != "echo: what is a latchkey?\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if az.Runs() != 1 {
		t.Errorf("az ran %d times", az.Runs())
	}
}

func TestWithoutALoginItSaysWhatToRun(t *testing.T) {
	az, _ := start(t)
	az.Fail("ERROR: Please run 'az login' to setup account.")
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "dev")
	if err := run(t.Context(), &strings.Builder{}, "gpt", "?"); err == nil || !strings.Contains(err.Error(), "az: nobody is logged in") || !strings.Contains(err.Error(), "az login") {
		t.Errorf("got %v", err)
	}
}

func TestAMissingRoleIsNamed(t *testing.T) {
	_, server := start(t)
	server.Inject(clienttest.AzurePermissionDenied.Fault())
	if err := run(t.Context(), &strings.Builder{}, "gpt", "?"); err == nil || !strings.Contains(err.Error(), "Cognitive Services OpenAI User") {
		t.Errorf("got %v", err)
	}
}
