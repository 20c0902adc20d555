package azurekeyvault_test

import (
	"fmt"

	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
)

// The key of a gateway, with a second one to fall back on while the first is
// being rotated. New reads nothing; package client does, at the first call.
func Example() {
	src, err := azurekeyvault.New("https://myvault.vault.azure.net", "openai-key", &azurekeyvault.Options{StandbyName: "openai-key-2"})
	fmt.Println(src, err)

	_, err = azurekeyvault.New("@Microsoft.KeyVault(SecretUri=...)", "", nil)
	fmt.Println(err)
	// Output:
	// azurekeyvault:myvault.vault.azure.net/openai-key <nil>
	// azurekeyvault: got an unresolved Key Vault reference: the platform could not read the vault; give the app's identity the role Key Vault Secrets User, or pass the URL of the secret here instead of a reference
}
