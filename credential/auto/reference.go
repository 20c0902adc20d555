package auto

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
)

// A reference names a secret: scheme://host/path?query.
type reference struct {
	scheme, host, path string
	query              url.Values
}

// maxReferences is more than anyone has written by hand.
const maxReferences = 16

// parseReferences reads the references in text, which white space or commas
// separate. Its errors quote schemes and names of parameters only: what was
// pasted may be the key itself.
func parseReferences(text string) ([]credential.Source, error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
	if len(words) == 0 || len(words) > maxReferences {
		return nil, fmt.Errorf("want 1 to %d references, there are %d", maxReferences, len(words))
	}
	sources := make([]credential.Source, 0, len(words))
	for i, word := range words {
		src, err := parseReference(word)
		if err != nil {
			return nil, fmt.Errorf("reference %d: %w", i+1, err)
		}
		sources = append(sources, src)
	}
	return sources, nil
}

func parseReference(word string) (credential.Source, error) {
	ref, err := splitReference(word)
	if err != nil {
		return nil, err
	}
	for _, s := range schemes() {
		if s.name == ref.scheme {
			for name, values := range ref.query {
				if !slices.Contains(s.params, name) {
					return nil, fmt.Errorf("%s: unknown parameter %q%s; known are: %s", s.name, printable(name), nearest(name, s.params), known(s.params))
				}
				if len(values) > 1 && name != "arg" {
					return nil, fmt.Errorf("%s: parameter %s is there twice", s.name, name)
				}
			}
			src, err := s.build(ref)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			return src, nil
		}
	}
	var names []string
	for _, s := range schemes() {
		names = append(names, s.name)
	}
	return nil, fmt.Errorf("unknown scheme %q%s; known are: %s", printable(ref.scheme), nearest(ref.scheme, names), known(names))
}

// splitReference also takes what people have on their clipboard: an ARN, the
// URL of a secret in Key Vault.
func splitReference(word string) (reference, error) {
	if strings.HasPrefix(word, "@Microsoft.KeyVault(") {
		return reference{}, errors.New("an app setting's Key Vault reference that the platform did not resolve; put the secret's URL here, or repair the reference")
	}
	if strings.HasPrefix(word, "arn:") {
		if fields := strings.Split(word, ":"); len(fields) != 7 || fields[2] != "secretsmanager" || fields[5] != "secret" {
			return reference{}, errors.New("an ARN, but not of a secret in AWS Secrets Manager (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME)")
		}
		return reference{scheme: "awssecretsmanager", path: word}, nil
	}
	scheme, _, ok := strings.Cut(word, "://")
	if !ok {
		return reference{}, errors.New("not a reference (want scheme://name); a key itself belongs into OPENAI_API_KEY")
	}
	u, err := url.Parse(word)
	switch {
	case err != nil:
		return reference{}, errors.New("not a URL; escape what is special in it, as %20 for a space")
	case u.User != nil:
		return reference{}, errors.New("holds user information; a reference names a secret and never holds one")
	case u.Fragment != "":
		return reference{}, errors.New("holds a fragment (#); the parameter of a field is ?field=")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return reference{}, errors.New("malformed parameters")
	}
	ref := reference{scheme: strings.ToLower(scheme), host: u.Host, path: u.Path, query: query}
	if ref.scheme == "https" {
		return keyVaultURL(ref, word)
	}
	return ref, nil
}

// keyVaultURL is the one https URL that names a secret.
func keyVaultURL(ref reference, word string) (reference, error) {
	host := strings.ToLower(ref.host)
	for _, suffix := range [...]string{".vault.azure.net", ".vault.azure.cn", ".vault.usgovcloudapi.net"} {
		if strings.HasSuffix(host, suffix) {
			if len(ref.query) > 0 {
				return reference{}, errors.New("the URL of a Key Vault secret takes no parameters; use azurekeyvault://VAULT/NAME?field=")
			}
			return reference{scheme: "azurekeyvault", path: word}, nil
		}
	}
	return reference{}, errors.New("an https URL, but not of a secret in Azure Key Vault (https://VAULT.vault.azure.net/secrets/NAME)")
}

func known(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// printable keeps what may be a mistyped name, and nothing that may be a key.
func printable(s string) string {
	if len(s) > 24 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "..."
	}
	return s
}

// nearest suggests what was meant, if it is near.
func nearest(s string, names []string) string {
	best, least := "", 4
	for _, name := range names {
		if d := distance(strings.ToLower(s), name); d < least && d < len(name) {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance is the number of edits from a to b (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
