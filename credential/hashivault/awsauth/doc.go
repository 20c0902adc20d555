// Package awsauth logs in to HashiCorp Vault with the AWS identity of the
// program: the role of a Lambda function, an ECS task or an EC2 instance
// (https://developer.hashicorp.com/vault/docs/auth/aws, type iam).
//
// It is a package of its own, so that [hashivault] links no SDK of a cloud.
// The helper in the module of Vault uses the first AWS SDK, which has ended.
//
//	auth, err := awsauth.New("openai-reader", nil)
//	src, err := hashivault.New("secret/openai", &hashivault.Options{Auth: auth})
//
// The program signs a request to sts:GetCallerIdentity and gives it to Vault,
// which sends it to AWS and learns who signed it. No AWS credential leaves the
// program, and no permission is needed for it. Set iam_server_id_header_value
// in Vault and [Options].ServerID, so that nobody can use the signed request at
// another server:
//
//	vault auth enable aws
//	vault write auth/aws/config/client iam_server_id_header_value=vault.example.com
//	vault write auth/aws/role/openai-reader auth_type=iam token_policies=openai-read \
//	    bound_iam_principal_arn=arn:aws:iam::123456789012:role/my-function token_ttl=1h
//
// [hashivault]: https://pkg.go.dev/github.com/latchkey-go/latchkey/credential/hashivault
package awsauth
