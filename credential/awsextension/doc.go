// Package awsextension reads an API key through a process on the same machine
// that holds the AWS credentials and a cache: the AWS Parameters and Secrets
// Lambda Extension, for secrets in AWS Secrets Manager and parameters in the
// Parameter Store of AWS Systems Manager, or the AWS Secrets Manager Agent, for
// secrets. The package depends on the standard library only, so that a function
// that uses it links no AWS code.
//
//	src, err := awsextension.New("prod/openai", &awsextension.Options{Field: "apiKey"})
//	src, err := awsextension.NewParameter("/prod/openai", nil)
//	c, err := client.New(client.Config{Source: src})
//
// The extension is a layer of the function
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/retrieving-secrets_lambda.html);
// the role of the function needs secretsmanager:GetSecretValue, or for a
// parameter ssm:GetParameter, and kms:Decrypt on a key of your own. The agent runs
// beside a program elsewhere
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/secrets-manager-agent.html).
// Both listen on a loopback port, 2773 unless
// PARAMETERS_SECRETS_EXTENSION_HTTP_PORT names another, and want a token in
// X-Aws-Parameters-Secrets-Token that other programs on the machine do not
// know. All of it is looked up at each read.
//
// # The cache of the extension
//
// The extension keeps a secret for up to 300 seconds (SECRETS_MANAGER_TTL), so
// that a plain read may bring a key that is already dead. After a rejection
// the Source asks with refreshNow=true, which goes past that cache. An
// extension that does not know this parameter gives the old key until its own
// time is over: set SECRETS_MANAGER_TTL to a few seconds there, as the Cache
// around the Source spares the reads anyway.
//
// For parameters (SSM_PARAMETER_STORE_TTL) there is no such parameter, but each
// version has its own place in that cache. After a rejection the Source asks for
// the version behind the last one that it has seen. What a label is on stays
// hidden until the extension's time is over.
//
// # The start of a function
//
// The extension answers "not ready to serve traffic" until it is up, which may
// be after the function's own init. The Source tries again as long as its
// context lasts. Give client.Warm a second or so in init: the read goes on
// behind it, and the first call joins it.
package awsextension
