package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	vault "github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/file"
	vaultstore "github.com/latchkey-go/latchkey/rotation/hashivault"
	"github.com/latchkey-go/latchkey/rotation/openaiadmin"
)

// ends are the two ends of a rotation.
type ends struct {
	store  rotation.Store
	issuer rotation.Issuer
	// source is where readers find the key, and base the API that it is for.
	source credential.Source
	base   string
}

func openEnds(store, issuer string) (*ends, error) {
	e := &ends{}
	var err error
	if e.store, e.source, err = openStore(store); err != nil {
		return nil, fmt.Errorf("-store: %w", err)
	}
	if e.issuer, e.base, err = openIssuer(issuer, e.source); err != nil {
		return nil, fmt.Errorf("-issuer: %w", err)
	}
	return e, nil
}

// openStore opens a store by its reference, and the source for its readers.
func openStore(ref string) (rotation.Store, credential.Source, error) {
	scheme, rest, _ := strings.Cut(ref, ":")
	switch scheme {
	case "file":
		return openFile(rest)
	case "vault":
		return openVault(rest)
	case "awssecretsmanager":
		return openSecretsManager(rest)
	case "azurekeyvault":
		return openKeyVault(rest)
	}
	return nil, nil, fmt.Errorf("%q is no store; want file:///DIRECTORY, vault://MOUNT/PATH, awssecretsmanager:ARN or azurekeyvault:https://NAME.vault.azure.net/secrets/NAME", scheme)
}

func openFile(rest string) (rotation.Store, credential.Source, error) {
	dir, ok := strings.CutPrefix(rest, "//")
	if !ok || dir == "" {
		return nil, nil, errors.New("want file:///DIRECTORY")
	}
	s, err := file.New(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; mkdir -m 700 makes one", err)
	}
	return s, credential.File(s.Key()), nil
}

func openVault(rest string) (rotation.Store, credential.Source, error) {
	mount, path, ok := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
	if !ok {
		return nil, nil, errors.New("want vault://MOUNT/PATH")
	}
	if os.Getenv("VAULT_ADDR") == "" || os.Getenv("VAULT_TOKEN") == "" {
		return nil, nil, errors.New("VAULT_ADDR or VAULT_TOKEN is not set")
	}
	c, err := vault.NewClient(nil) // of the environment
	if err != nil {
		return nil, nil, fmt.Errorf("vault: %w", err)
	}
	s, err := vaultstore.New(c, mount, path)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // it names itself
	}
	src, err := hashivault.New(path, &hashivault.Options{Client: c, Mount: mount, Field: "key", StandbyField: "pending"})
	return s, src, err //nolint:wrapcheck // it names itself
}

// openIssuer opens an issuer by its reference, and tells where the API is. own is the source of the store of the
// rotation, for an admin key that makes its own successor.
func openIssuer(ref string, own credential.Source) (i rotation.Issuer, base string, err error) {
	scheme, rest, _ := strings.Cut(ref, ":")
	switch scheme {
	case "openaiadmin":
		i, err = openAdmin(rest, own)
		return i, os.Getenv("OPENAI_BASE_URL"), err
	case "azureopenai":
		return openAzure(rest)
	}
	return nil, "", fmt.Errorf("%q is no issuer; want openaiadmin:PROJECT/SERVICE_ACCOUNT, openaiadmin:organization or azureopenai:/subscriptions/... (the id of the resource)", scheme)
}

func openAdmin(rest string, own credential.Source) (rotation.Issuer, error) {
	opts := &openaiadmin.Options{BaseURL: os.Getenv("OPENAI_BASE_URL")}
	if rest == "organization" {
		opts.AdminKeys = true
		key, err := credential.NewChain(own, credential.Env("OPENAI_ADMIN_KEY"))
		if err != nil {
			return nil, err //nolint:wrapcheck // it says what is wrong
		}
		return issuerOf(key, opts)
	}
	u, err := url.Parse(rest)
	if err != nil {
		return nil, errors.New("want openaiadmin:PROJECT/SERVICE_ACCOUNT")
	}
	opts.Project, opts.ServiceAccount, _ = strings.Cut(u.Path, "/")
	switch scopes := u.Query().Get("scopes"); scopes {
	case "":
		opts.Scopes = []string{"api.model.request"}
	case "all":
		opts.AllScopes = true
	default:
		opts.Scopes = strings.Split(scopes, ",")
	}
	key := credential.Env("OPENAI_ADMIN_KEY")
	if store := os.Getenv("OPENAI_ADMIN_KEY_STORE"); store != "" {
		if _, key, err = openStore(store); err != nil {
			return nil, fmt.Errorf("OPENAI_ADMIN_KEY_STORE: %w", err)
		}
	}
	return issuerOf(key, opts)
}

func issuerOf(key credential.Source, opts *openaiadmin.Options) (rotation.Issuer, error) {
	i, err := openaiadmin.New(key, opts)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names itself
	}
	return i, nil
}
