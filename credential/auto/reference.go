package auto

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/azurename"
)

// A reference names a secret: scheme://host/path?query.
type reference struct {
	scheme, host, path string
	query              url.Values
	brief              bool // see Options
}

// maxReferences is more than anyone has written by hand.
const maxReferences = 16

// split returns the references in text, which white space or commas separate.
func split(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
}

// parseReference returns the source that word names, and its scheme if that is
// known. Its errors never quote the word: what was pasted may be the key.
func parseReference(word string, o *Options) (*scheme, credential.Source, error) {
	ref, err := splitReference(word)
	if err != nil {
		return nil, nil, err
	}
	ref.brief = o.brief
	all := schemes(o.transport)
	i := slices.IndexFunc(all, func(s scheme) bool { return s.name == ref.scheme })
	if i < 0 {
		names := make([]string, len(all))
		for i, s := range all {
			names[i] = s.name
		}
		return nil, nil, fmt.Errorf("unknown scheme%s; known are: %s", nearest(ref.scheme, names), known(names))
	}
	s := &all[i]
	if err := ref.check(s); err != nil {
		return s, nil, fmt.Errorf("%s: %w", s.name, err)
	}
	src, err := s.build(ref)
	if err != nil {
		return s, nil, fmt.Errorf("%s: %w", s.name, ref.hide(err))
	}
	return s, src, nil
}

// check looks at the parameters, and for a key where a name belongs.
func (r reference) check(s *scheme) error {
	for name, values := range r.query {
		if !slices.Contains(s.params, name) {
			return fmt.Errorf("unknown parameter%s; known are: %s", nearest(name, s.params), known(s.params))
		}
		if len(values) > 1 && name != "arg" {
			return fmt.Errorf("parameter %s is there twice", name)
		}
		if name != "arg" && (values[0] == "" || isKey(values[0])) {
			return fmt.Errorf("parameter %s is empty, or looks like a key", name)
		}
	}
	for part := range strings.SplitSeq(r.host+"/"+r.path, "/") {
		if isKey(part) {
			return errors.New("this looks like a key; a reference names a secret and never holds one")
		}
	}
	return nil
}

// isKey reports whether text looks like an OpenAI key.
func isKey(text string) bool { return len(text) >= 20 && strings.HasPrefix(text, "sk-") }

// hide keeps what the reference holds out of an error of the source's New.
func (r reference) hide(err error) error {
	parts := []string{r.path, r.host}
	for part := range strings.SplitSeq(r.path, "/") {
		parts = append(parts, part)
	}
	for _, values := range r.query {
		parts = append(parts, values...)
	}
	text := err.Error()
	for _, part := range parts {
		if quoted := strings.Trim(fmt.Sprintf("%q", part), `"`); len(part) >= 6 {
			text = strings.ReplaceAll(strings.ReplaceAll(text, part, "..."), quoted, "...")
		}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

// splitReference also takes what people have on their clipboard: an ARN, the
// URL of a secret in Key Vault.
func splitReference(word string) (reference, error) {
	if strings.HasPrefix(word, "@Microsoft.KeyVault(") {
		return reference{}, errors.New("an app setting's Key Vault reference that the platform did not resolve; put the secret's URL here, or repair the reference")
	}
	if strings.HasPrefix(word, "arn:") {
		return arn(word)
	}
	scheme, _, ok := strings.Cut(word, "://")
	if !ok {
		return reference{}, errors.New("not a reference (want scheme://name); a key itself belongs in OPENAI_API_KEY")
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
		return reference{}, errMalformed
	}
	ref := reference{scheme: strings.ToLower(scheme), host: u.Host, path: u.Path, query: query}
	if ref.scheme == "https" {
		return keyVaultURL(ref, word)
	}
	return ref, nil
}

// arn is the ARN of a secret or of a parameter. Behind that of a secret ECS
// allows the member of the document, the stage and the version; behind that of a
// parameter AWS allows a version or a label.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
func arn(word string) (reference, error) {
	word, params, _ := strings.Cut(word, "?")
	query, err := url.ParseQuery(params)
	if err != nil {
		return reference{}, errMalformed
	}
	fields := strings.Split(word, ":")
	switch n := len(fields); {
	case (n == 7 || n == 10) && fields[2] == "secretsmanager" && fields[5] == "secret":
		for i, name := range [...]string{"field", "stage", "version"} {
			if n == 10 && fields[7+i] != "" {
				query.Add(name, fields[7+i])
			}
		}
		return reference{scheme: "awssecretsmanager", path: strings.Join(fields[:7], ":"), query: query}, nil
	case (n == 6 || n == 7) && fields[2] == "ssm" && strings.HasPrefix(fields[5], "parameter/"):
		switch {
		case n == 6:
		case strings.Trim(fields[6], "0123456789") == "":
			query.Add("version", fields[6])
		default:
			query.Add("stage", fields[6])
		}
		return reference{scheme: "awsparameterstore", path: strings.Join(fields[:6], ":"), query: query}, nil
	}
	return reference{}, errors.New("an ARN, but not of a secret in AWS Secrets Manager (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME) or of a parameter (arn:aws:ssm:REGION:ACCOUNT:parameter/NAME)")
}

var errMalformed = errors.New("malformed parameters; escape what is special in them, as %26 for &")

// keyVaultURL is the one https URL that names a secret.
func keyVaultURL(ref reference, word string) (reference, error) {
	if _, ok := azurename.OfVault(ref.host); !ok {
		return reference{}, errors.New("an https URL, but not of a secret in Azure Key Vault (https://VAULT.vault.azure.net/secrets/NAME)")
	}
	name, _, _ := strings.Cut(word[len("https"):], "?")
	return reference{scheme: "azurekeyvault", path: "https" + name, query: ref.query}, nil
}

func known(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
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
