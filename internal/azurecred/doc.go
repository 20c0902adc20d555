// Package azurecred picks the Microsoft Entra identity of this environment and
// gets tokens for it through azidentity. It is the part that the Azure sources
// have in common.
//
// It chooses by configuration, and probes only where nothing is configured:
//
//  1. a service principal: AZURE_TENANT_ID, AZURE_CLIENT_ID and
//     AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH;
//  2. a workload identity: AZURE_FEDERATED_TOKEN_FILE and the first two;
//  3. a managed identity whose endpoint the environment names: App Service,
//     Functions, Container Apps, Arc, Service Fabric, Cloud Shell, Azure ML;
//  4. where no platform has left its marks, the developer's own identity: az,
//     azd, PowerShell;
//  5. the managed identity of a virtual machine: configured, and before 4, if the
//     machine is known to be in Azure or somebody names the identity; not
//     asked on another machine; probed where nothing is known.
//
// The first that is configured is the only one: if it fails, no other identity
// takes its place. AZURE_TOKEN_CREDENTIALS narrows the list, as for
// azidentity.DefaultAzureCredential.
package azurecred
