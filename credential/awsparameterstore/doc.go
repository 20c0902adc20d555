// Package awsparameterstore reads an API key from a parameter in the Parameter
// Store of AWS Systems Manager.
//
//	src, err := awsparameterstore.New("/prod/openai", nil)
//	c, err := client.New(client.Config{Source: src})
//
// The id is a parameter's name, with its leading slash if it is one of a
// hierarchy, or its ARN. A SecureString is decrypted. The region and the
// identity come from the SDK's default configuration: in AWS Lambda the
// execution role, on a laptop the profile of AWS_PROFILE, a single sign-on
// session included. Both are looked up at the first read, not by [New]. The
// identity needs ssm:GetParameter on the parameter and, if a key of your own
// encrypts it, kms:Decrypt on that key; nothing else. One read is one
// GetParameter. AWS allows 40 of them a second in an account and region, and
// more where it is asked for; the Cache makes one in five minutes.
//
// # Rotation
//
// PutParameter makes the new key the latest version, and the next read has it.
// A second key for the same service may stand in the same parameter
// (StandbyField) or in a version with a label (StandbyStage): it is next when
// the service rejects the first. A Source that follows a label (Stage) changes
// its key when the label moves (LabelParameterVersion).
//
// # Expiry
//
// A parameter of the advanced tier may have a policy by which Parameter Store
// deletes it at a given time
// (https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-policies.html).
// With ExpiryPolicy that time is the value's Expires, so that the Cache tells of
// it ahead of time.
//
// # Without the SDK
//
// Package awsextension reads the same parameters through the AWS Parameters and
// Secrets Lambda Extension, and links nothing of the SDK.
package awsparameterstore
