package azureidentity_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// The SDK makes text of what its own credentials cannot read.
func TestAFederatedTokenThatCannotBeReadNamesItsVariable(t *testing.T) {
	azuretest.ClearEnv(t)
	a := azuretest.NewAuthority(t, secret, token1)
	principal(t, a, "")
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", t.TempDir())
	_, err := newSource(t, &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true}).Retrieve(t.Context())
	if err == nil || !strings.Contains(err.Error(), "read AZURE_FEDERATED_TOKEN_FILE: the file cannot be read: not a regular file") {
		t.Errorf("got %v", err)
	}
}

func TestATransportHasOnePlace(t *testing.T) {
	_, err := azureidentity.New(&azureidentity.Options{ClientOptions: azcore.ClientOptions{Transport: http.DefaultClient}})
	if err == nil || !strings.Contains(err.Error(), "set Options.Transport") {
		t.Errorf("got %v", err)
	}
}
