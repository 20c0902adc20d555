// Package auto finds the credential of the environment, so that one binary
// runs in a Lambda function, an Azure Function, a container and on a laptop:
//
//	src, err := auto.New(nil)
//	c, err := client.New(client.Config{Source: src})
//
// It links the SDKs of all sources, which makes a program 7 MB larger. One that
// runs in one place imports the package for that instead.
//
// # References
//
// OPENAI_CREDENTIAL holds one reference or several, separated by spaces or
// commas and tried in order. The next one is tried only where a source is not
// configured at all; one that is configured and fails is the end, so that no
// other account takes its place in silence. What is special in a URL is
// escaped, as %20 for a space and %2C for a comma.
//
//	scheme             names                       parameters
//	env                env://NAME                  none
//	file               file:///PATH                none
//	exec               exec:///PATH                arg
//	azurekeyvault      azurekeyvault://VAULT/NAME  field, standby, version
//	awssecretsmanager  awssecretsmanager:///NAME   expiry, field, stage, standby-field, standby-stage, version
//	awsparameterstore  awsparameterstore:///NAME   expiry, field, stage, standby-field, standby-stage, version
//	awsextension       awsextension:///NAME        field, stage, standby-field, standby-stage, version
//	vault              vault://MOUNT/PATH          auth, expiry, field, kv, namespace, role, standby-field, version
//	awsbedrock         awsbedrock://               region
//	azureidentity      azureidentity://            client-id, scope, tenant-id
//	openaiworkload     openaiworkload://           audience, client-id, from, managed-identity, provider, service-account, token-file
//
// The extension also has parameters: awsextension://parameter/NAME.
//
// And, as they come from a console: the ARN of a secret in AWS Secrets Manager,
// also with ":field:stage:version" behind it as task definitions of Amazon ECS
// have it, the ARN of a parameter in Parameter Store, also with ":version" or
// ":label", and the URL of a secret in Azure Key Vault. These take the
// parameters of their schemes.
//
//   - arg, which may repeat: an argument of the command, in order.
//   - field: the member of a JSON document, or a JSON pointer (RFC 6901), that
//     holds the key; for vault, the field of the secret.
//   - standby, standby-field, standby-stage: where a second key for the same
//     service is: another secret, another field, another version. It is next
//     when the service rejects the first; see [credential.Standby].
//   - stage, version: which version to read. A stage of a parameter is a label.
//   - expiry: where the store says when the key ends: the name of a tag, for
//     awssecretsmanager, or of custom metadata, for vault; expiry=policy, for
//     awsparameterstore.
//   - namespace, kv: the namespace in Vault, and the version of its key-value engine
//     (1 or 2; Vault is asked without it).
//   - auth, role: auth=kubernetes logs in to Vault with the token of the pod, in
//     that role. Without it there has to be a token, or an agent.
//   - client-id, tenant-id, scope: the managed identity or application, its
//     tenant, and what tokens are for.
//   - region: the region of the Bedrock endpoint, if it is not the configured one.
//   - provider, service-account, client-id, from, token-file, audience,
//     managed-identity: the fields of [openaiworkload.Options].
//
// A reference says which secret is read and which command runs. Take it from the
// operator, by the environment or in code; never from a request or from what a
// model wrote.
//
// # Without a reference
//
// The environment decides, without any question to a network:
//
//  1. AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY: that key. The SDKs
//     of Azure and OpenAI read them in this order, and a key that somebody set is
//     meant to be used.
//  2. AZURE_OPENAI_ENDPOINT alone: a token of the environment's identity, see
//     package azureidentity. OPENAI_API_KEY does not count: a key for OpenAI,
//     which is often set as well, must not be sent to Azure.
//  3. OPENAI_API_KEY: that key, as in the SDKs of OpenAI.
//  4. OPENAI_API_KEY_FILE: the key in that file, as Docker and its images name
//     the path of a mounted secret.
//
// The endpoint comes first because it says whose key is wanted; a variable comes
// before a file because it is the nearer one. An OPENAI_BASE_URL with an
// Azure host name counts as an Azure endpoint, and there the order is
// AZURE_OPENAI_API_KEY, OPENAI_API_KEY, the identity, as in package client.
//
// The stores (Key Vault, Secrets Manager, Parameter Store, Vault) and the workload identity
// federation are used by reference only: nothing in an environment tells the
// name of a secret.
//
// [Explain] tells for each of these what was looked for and found; the program
// in examples/doctor prints it.
package auto
