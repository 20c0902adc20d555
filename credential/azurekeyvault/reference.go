package azurekeyvault

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/azurecred"
	"github.com/latchkey-go/latchkey/internal/azurename"
	"github.com/latchkey-go/latchkey/internal/document"
)

// A reference is where a secret is.
type reference struct{ vault, name, version string }

// parse does not quote what it is given: somebody may have passed the key.
func parse(vaultURL, name, version string) (reference, error) {
	for _, text := range []string{vaultURL, name, version} {
		if strings.HasPrefix(strings.TrimSpace(text), "@Microsoft.KeyVault(") {
			return reference{}, errors.New("got an unresolved Key Vault reference: the platform could not read the vault; " +
				"give the app's identity the role Key Vault Secrets User, or pass the URL of the secret here instead of a reference")
		}
	}
	u, err := url.Parse(strings.TrimSpace(vaultURL))
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return reference{}, errors.New("the vault's URL is malformed; want https://NAME.vault.azure.net")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return reference{}, errors.New("the vault's URL holds more than a host and a path; want https://NAME.vault.azure.net")
	}
	host, _, _ := azurename.Vault(u.Host)
	ref := reference{vault: "https://" + host, name: name, version: version}
	if path := strings.Trim(u.Path, "/"); path != "" {
		parts := strings.Split(path, "/")
		switch {
		case len(parts) < 2 || len(parts) > 3 || parts[0] != "secrets":
			return reference{}, errors.New("the URL is no secret's; want https://NAME.vault.azure.net/secrets/NAME or .../secrets/NAME/VERSION")
		case name != "":
			return reference{}, errors.New("the URL names a secret, and the name does as well; leave one out")
		case len(parts) == 3 && version != "":
			return reference{}, errors.New("the URL names a version, and Options.Version does as well; leave one out")
		}
		ref.name = parts[1]
		if len(parts) == 3 {
			ref.version = parts[2]
		}
	}
	if err := checkName("the name of the secret", ref.name); err != nil {
		return reference{}, err
	}
	if ref.version != "" {
		return ref, checkName("the version", ref.version)
	}
	return ref, nil
}

// checkName: https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#vault-name-and-object-name
func checkName(what, name string) error {
	if name == "" || len(name) > 127 {
		return fmt.Errorf("%s has %d characters; want 1 to 127", what, len(name))
	}
	for i := range len(name) {
		if c := name[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
			return fmt.Errorf("character %d of %s is none of letters, digits and -", i+1, what)
		}
	}
	return nil
}

func (o *Options) check(ref reference) error {
	if err := document.Check(o.Field); err != nil {
		return fmt.Errorf("option Field: %w", err)
	}
	if o.Credential != nil && o.DisableInstanceDiscovery {
		return errors.New("DisableInstanceDiscovery has no effect on a Credential of your own; give it to that")
	}
	if err := azurecred.CheckClientOptions(o.ClientOptions); err != nil {
		return err //nolint:wrapcheck // New does
	}
	if o.Scheme > credential.BearerToken {
		return fmt.Errorf("unknown Scheme %d", o.Scheme)
	}
	if o.StandbyName == "" {
		return nil
	}
	if o.StandbyName == ref.name && ref.version == "" {
		return errors.New("StandbyName is the secret itself; name the one with the second key")
	}
	return checkName("StandbyName", o.StandbyName)
}

func (s *Source) host() string { return strings.TrimPrefix(s.vault, "https://") }
