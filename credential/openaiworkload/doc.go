// Package openaiworkload gets access tokens for the OpenAI API from OpenAI's
// workload identity federation: a workload shows a token of the identity that
// it already has, and OpenAI exchanges it for a short-lived token of a service
// account. No key is stored anywhere.
//
//	src, err := openaiworkload.New(&openaiworkload.Options{
//		IdentityProviderID: "idp_123",
//		ServiceAccountID:   "sa_123",
//		From:               "kubernetes",
//		TokenFile:          "/var/run/secrets/openai/token",
//	})
//	c, err := client.New(client.Config{Source: src})
//
// An administrator first registers the issuer of the workload's tokens as a
// Workload Identity Provider and maps the workload to a service account
// (https://developers.openai.com/api/docs/guides/workload-identity-federation).
//
// # The subject token
//
// Options.From says where the workload's own token comes from. It is never
// guessed: whoever gets that token can act as the workload wherever its
// audience is trusted, and the environment may hold several.
//
//	From         what is read                                  unavailable without
//	kubernetes   the projected token in TokenFile              the file
//	aws          the file that AWS_WEB_IDENTITY_TOKEN_FILE     the variable or the file
//	             names, or TokenFile (Amazon EKS)
//	azure        IDENTITY_ENDPOINT: App Service, Functions,    IDENTITY_ENDPOINT and
//	             Container Apps                                IDENTITY_HEADER
//	azure-imds   the metadata service of a virtual machine     the machine
//	gcp          the metadata server: Compute Engine, Cloud    the machine
//	             Run, GKE
//	(empty)      Options.Token, a func of your own
//
// A token should be made for OpenAI alone: its audience is the one of the
// Workload Identity Provider. The token that Amazon EKS mounts for its roles is
// good for the role as well; project another, and name it in TokenFile, unless
// that is what you want. The metadata services answer at a link-local
// address without encryption; they are asked only when From names them, not at
// all where the variables or the firmware are those of another platform, and
// their answers are checked. An AWS role without EKS gets a token from sts:GetWebIdentityToken;
// call it in Token.
//
// # The exchange
//
// It is RFC 8693 over JSON, as OpenAI documents it
// (https://developers.openai.com/api/reference/workload-identity-federation):
// a POST to https://auth.openai.com/oauth/token on a connection of its own, not
// through the layers of package client. It follows no redirect and reads at
// most 64 KiB. Of a refusal it shows the status and the error code if that is
// one of a fixed list; the issuer's own words are never shown, for they may
// repeat the token.
//
// A token is refreshed 20 minutes before it ends, or after half of its life if
// that is less: one of 15 minutes costs one exchange in about 7 minutes. The
// [credential.Cache] around the Source does this; a Source keeps nothing.
package openaiworkload
