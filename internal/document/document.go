// Package document takes one field out of a secret that a store keeps as a
// JSON document. Its errors name the field and JSON types, never the content.
package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/latchkey-go/latchkey/credential"
)

// MaxDocument is the size in bytes of the largest document that is read; the
// stores allow 64 KiB (AWS), 25 KiB (Azure Key Vault) and 1 MiB (Vault).
const MaxDocument = 1 << 20

// Field returns the string at field: a JSON pointer (RFC 6901) if it begins
// with a slash, else the name of a top-level member. The empty field is the
// whole document, as it is. The error wraps credential.ErrNotFound if there is
// no such field.
func Field(doc, field string) (string, error) {
	if field == "" {
		return doc, nil
	}
	if len(doc) > MaxDocument {
		return "", fmt.Errorf("the secret has %d bytes, at most %d are read for a field", len(doc), MaxDocument)
	}
	var value any
	doc = strings.TrimPrefix(doc, "\ufeff") // some editors write it; RFC 8259, section 8.1
	decoder := json.NewDecoder(strings.NewReader(doc))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil || decoder.More() {
		return "", fmt.Errorf("field %q: the secret is not a JSON document; leave the field out to use all of it", field)
	}
	steps := []string{field}
	if strings.HasPrefix(field, "/") {
		steps = strings.Split(field[1:], "/")
	}
	for i, step := range steps {
		if strings.HasPrefix(field, "/") {
			step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		}
		next, err := descend(value, step)
		if err != nil {
			if len(steps) > 1 {
				return "", fmt.Errorf("field %q: step %d: %w", field, i+1, err)
			}
			return "", fmt.Errorf("field %q: %w", field, err)
		}
		value = next
	}
	text, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("field %q is %s, not a string", field, kind(value))
	}
	if text == "" {
		return "", fmt.Errorf("field %q is empty", field)
	}
	return text, nil
}

// Check reports why field can name nothing.
func Check(field string) error {
	for i := 0; strings.HasPrefix(field, "/") && i < len(field); i++ {
		if field[i] == '~' && (i+1 == len(field) || field[i+1] != '0' && field[i+1] != '1') {
			return errors.New("malformed JSON pointer: ~ is followed by neither 0 nor 1 (RFC 6901, section 3)")
		}
	}
	return nil
}

// A notFound is a credential.ErrNotFound whose text stands inside of another.
type notFound string

func (e notFound) Error() string { return "not found: " + string(e) }
func (e notFound) Unwrap() error { return credential.ErrNotFound }

func descend(value any, step string) (any, error) {
	switch v := value.(type) {
	case map[string]any:
		if next, ok := v[step]; ok {
			return next, nil
		}
		return nil, notFound("the object has no such member" + meant(v, step))
	case []any:
		if n, err := strconv.Atoi(step); err == nil && n >= 0 && n < len(v) {
			return v[n], nil
		}
		return nil, notFound(fmt.Sprintf("the array of %d has no such element", len(v)))
	}
	return nil, notFound("it looks into " + kind(value))
}

// meant suggests the member whose name differs from step in capitals and
// punctuation, or in one letter. Other names are not told: a member's name may
// be anything, a key included.
func meant(object map[string]any, step string) string {
	var near []string
	for name := range object {
		if a, b := plain(name), plain(step); len(a) > 2 && (a == b || nearly(a, b)) {
			near = append(near, name)
		}
	}
	if len(near) != 1 {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", near[0])
}

// plain is name in small letters, without what separates words.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-. $/", r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// nearly reports whether one edit, or one swap of neighbors, makes b of a.
func nearly(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	if len(a)-len(b) > 1 {
		return false
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	if len(a) > len(b) {
		return a[i+1:] == b[i:]
	}
	if i == len(a) {
		return true
	}
	swapped := i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	return swapped || a[i+1:] == b[i+1:]
}

func kind(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	}
	return "an object"
}
