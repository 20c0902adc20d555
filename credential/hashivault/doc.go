// Package hashivault reads an API key from HashiCorp Vault: from the KV engine,
// version 1 or 2, or as a dynamic secret with a lease.
//
//	src, err := hashivault.New("secret/openai", &hashivault.Options{
//		Field: "key",
//		Auth:  &hashivault.Kubernetes{Role: "openai-reader"},
//	})
//	c, err := client.New(client.Config{Source: src})
//
// The path is the one of "vault kv get". Address, TLS and namespace come from
// the VAULT_* variables or from Options.Client.
//
// # Policy
//
// The least that is enough, for KV version 2:
//
//	path "secret/data/openai" { capabilities = ["read"] }
//
// For version 1 and dynamic secrets it is the path itself. Which engine it is,
// the source asks at sys/internal/ui/mounts, for which a right on the secret
// is enough. Renewing tokens and leases, looking a token up and revoking it
// are in the policy "default", which every token has unless it is taken away;
// without it, the source logs in again instead.
//
// # Login
//
// [AppRole], [Kubernetes] and [JWT] are here; AWS and Azure are in the packages
// awsauth and azureauth, so that this one links no SDK of a cloud. Any other
// method of vault/api/auth fits into Options.Auth as well. Without
// Auth the source takes VAULT_TOKEN, or what "vault login" has written.
//
// The source keeps its token in memory. It renews it when it is used after two
// thirds of its time, logs in again when it cannot be renewed any more, and
// once if Vault does not know it any more (Vault answers 403, to a forbidden path as
// well; the source asks which it is). No goroutine does this in the
// background: a process that was frozen logs in at its next read.
//
// # Rotation
//
// Write the new key, then revoke the old one at the service. The next call
// that the service refuses makes one read for all callers:
//
//	vault kv put -cas=7 secret/openai key=sk-...
//
// With -cas, of two rotations at once one fails instead of both keys being
// overwritten. Keep two keys in two fields and name the other one in
// Options.StandbyField to bridge the time in between.
//
// # Outages
//
// While Vault is sealed, starting, failing over, throttling, lagging behind or
// out of reach, errors have Transient set, and the [credential.Cache] goes on
// with the last good key for its StaleIfError. A redirect is never followed: it
// would carry the token to another server.
//
// # Vault Agent and the Lambda extension
//
// Both are Vault on a loopback address. Point VAULT_AGENT_ADDR, or VAULT_ADDR,
// at it and leave token and Auth out: they add their own token.
//
// The guide docs/vault.md in the repository has the set-up of each, step by step.
package hashivault
