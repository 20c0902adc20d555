// Package awsbedrock makes the short-term API keys of Amazon Bedrock, which its
// OpenAI-compatible endpoints take as bearer tokens, from AWS credentials.
//
//	src, err := awsbedrock.New(&awsbedrock.Options{Region: "eu-west-1"})
//	c, err := client.New(client.Config{
//		Source:  src,
//		BaseURL: "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1",
//	})
//
// The other endpoint, of the engine that Bedrock calls Mantle, is
// https://bedrock-mantle.REGION.api.aws/openai/v1. A token is good for one
// region, and for both endpoints there.
//
// A token is a request to bedrock.amazonaws.com that is signed (AWS Signature
// Version 4, in the query) and never sent
// (https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-how.html). It
// is made here, without a network, byte for byte as the generator of AWS
// aws-bedrock-token-generator makes it. The AWS credentials come from the SDK's
// default configuration: in AWS Lambda the execution role, on a laptop the
// profile of AWS_PROFILE, a single sign-on session included. Their identity
// needs bedrock:CallWithBearerToken, at Mantle bedrock-mantle:CallWithBearerToken,
// besides the right to call the model.
//
// # Expiry
//
// A token ends after 12 hours, or with the AWS credentials that it is made of.
// The Cache makes the next one 5 minutes before. Credentials in the environment,
// as in Lambda, do not tell when they end; a token that ends with them is made
// anew when the service rejects it. If its credentials were revoked, the SDK has
// to fetch others then.
//
// # The official SDK
//
// github.com/openai/openai-go/v3/bedrock signs each request instead, and links
// the same part of the AWS SDK. To have retries, fallbacks and the pace of a
// Client below it, give it SkipAuth and the client's HTTPClient, or use the
// client's Options with openai.NewClient.
package awsbedrock
