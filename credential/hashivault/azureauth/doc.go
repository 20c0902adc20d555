// Package azureauth logs in to HashiCorp Vault with the Microsoft Entra identity of
// the environment: the managed identity of an Azure function, app, container or
// machine, or what else package azureidentity knows
// (https://developer.hashicorp.com/vault/docs/auth/azure).
//
// It is a package of its own, so that [hashivault] links no SDK of a cloud.
//
//	auth, err := azureauth.New("openai-reader", nil)
//	src, err := hashivault.New("secret/openai", &hashivault.Options{Auth: auth})
//
// Vault has to know the tenant and for whom the tokens are made out:
//
//	vault auth enable azure
//	vault write auth/azure/config tenant_id=$TENANT resource=https://management.azure.com/
//	vault write auth/azure/role/openai-reader token_policies=openai-read token_ttl=1h \
//	    bound_service_principal_ids=$OBJECT_ID_OF_THE_IDENTITY
//
// A role that is bound to principals only needs nothing more. One that is bound
// to subscriptions, resource groups or machines needs to be told which; see
// [Options].
//
// [hashivault]: https://pkg.go.dev/github.com/latchkey-go/latchkey/credential/hashivault
package azureauth
