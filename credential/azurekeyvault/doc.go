// Package azurekeyvault supplies an API key from a secret in Azure Key Vault,
// for services and gateways that take no Microsoft Entra token. Where they do,
// package azureidentity needs no key at all.
//
//	src, err := azurekeyvault.New("https://myvault.vault.azure.net", "openai-key", nil)
//	c, err := client.New(client.Config{Source: src}) // cached, read again on a 401
//
// The vault is asked with the identity of the environment: a managed identity
// in Azure, the developer's own elsewhere. It needs the role "Key Vault Secrets
// User" on the vault.
//
// # Rotation
//
// An Azure OpenAI resource has two keys, and a regenerated one dies at once.
// the procedure of Microsoft (https://learn.microsoft.com/azure/ai-services/rotate-keys)
// never fails a call here: regenerate the key that is not in use, publish it as
// a new version of the secret, and then regenerate the other. With the keys in
// two secrets name the second in Options.StandbyName; then either may be
// regenerated first and published later.
package azurekeyvault
