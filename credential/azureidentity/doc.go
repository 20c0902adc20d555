// Package azureidentity supplies Microsoft Entra tokens for Azure OpenAI, so
// that no key is needed: by the managed identity of a Function App or virtual
// machine, by a workload identity or service principal, or, on a developer's
// own machine, by the identity that is logged in to az, azd or PowerShell.
//
//	src, err := azureidentity.New(nil)
//	c, err := client.New(client.Config{Source: src}) // AZURE_OPENAI_ENDPOINT says where
//
// The identity needs the role "Cognitive Services OpenAI User" on the resource.
// The same program runs in Azure and on the developer's machine; see [New] for
// how the identity is chosen. Any other azcore.TokenCredential serves as well:
// see Options.Credential.
package azureidentity
