// Package awssecretsmanager reads an API key from AWS Secrets Manager.
//
//	src, err := awssecretsmanager.New("prod/openai", &awssecretsmanager.Options{Field: "apiKey"})
//	c, err := client.New(client.Config{Source: src})
//
// The id is a secret's name or its ARN. The region and the identity come from
// the SDK's default configuration: in AWS Lambda the execution role, on a
// laptop the profile of AWS_PROFILE, a single sign-on session included. Both
// are looked up at the first read, not by [New]. The identity needs
// secretsmanager:GetSecretValue on the secret and, if a key of your own
// encrypts it, kms:Decrypt on that key; nothing else. One read is one
// GetSecretValue.
//
// # Rotation
//
// A rotation function runs createSecret, setSecret, testSecret and
// finishSecret, and the current version changes in the last of them
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html).
// Where the old key dies in setSecret, a read in between gives the dead key
// once more. The Cache around the Source waits for finishSecret as long as its
// grace lasts; with StandbyStage "AWSPENDING" it need not wait: it turns to the
// pending version as soon as the service rejects the current one. A secret that
// holds two keys names the other one with StandbyField, at no extra read.
//
// # Expiry
//
// A key may end by itself. With ExpiryTag a tag of the secret says when, so that
// the Cache tells of it a week ahead (credential.EventExpiring). Whoever rotates
// the key writes the tag anew.
//
// # Without the SDK
//
// The SDK adds about 3.5 MB to a program. Package awsextension reads the same
// secrets through the AWS Parameters and Secrets Lambda Extension, or the
// Secrets Manager Agent, and links none of it.
//
// # Bedrock
//
// Amazon Bedrock has an OpenAI-compatible endpoint. Package awsbedrock makes its
// short-term API keys from AWS credentials. A long-term Bedrock API key that is
// kept in a secret is a key as any other.
package awssecretsmanager
