package document_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/document"
)

const doc = `{"apiKey":"CANARY-a","a":{"b/c":["CANARY-b",{"~":"CANARY-c"}]},"n":7777,"o":{"x":"CANARY"},"e":"","t":true,"z":null,"l":["CANARY"]}`

func TestFieldFindsWhatItNames(t *testing.T) {
	for field, want := range map[string]string{
		"apiKey": "CANARY-a", "/apiKey": "CANARY-a", "/a/b~1c/0": "CANARY-b", "/a/b~1c/1/~0": "CANARY-c", "": doc,
	} {
		if got, err := document.Field(doc, field); err != nil || got != want {
			t.Errorf("%q: not found (%v)", field, err)
		}
	}
}

func TestFieldSaysWhatIsWrongAndNeverTheContent(t *testing.T) {
	for field, want := range map[string]string{
		"missing": "no such member", "/a/x": "no such member", "/a/b~1c/2": "no such element", "/a/b~1c/-1": "no such element", "/apiKey/x": "a string",
		"n": "a number", "o": "an object", "e": "is empty", "t": "a boolean", "z": "null", "l": "an array",
	} {
		_, err := document.Field(doc, field)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "7777") {
			t.Errorf("%q: the error is missing, shows the content, or does not say %q", field, want)
		}
	}
	if _, err := document.Field(doc, "missing"); !errors.Is(err, credential.ErrNotFound) {
		t.Error("a missing field is not ErrNotFound")
	}
	for _, text := range []string{"sk-CANARY", "", "{", `{"a":1} {}`, `{"a":`, "\xff"} {
		if _, err := document.Field(text, "a"); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Error("what is no document was accepted, or is quoted")
		}
	}
	for _, text := range []string{`{"a":"CANARY"} {}`, `{"a":"CANARY"}x`, `{"a":"` + strings.Repeat("x", document.MaxDocument) + `"}`} {
		if _, err := document.Field(text, "a"); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%d bytes with more than a document, or too much of one, were accepted", len(text))
		}
	}
}

func TestADocumentBehindAByteOrderMarkIsOne(t *testing.T) {
	if got, err := document.Field("\ufeff"+doc, "apiKey"); err != nil || got != "CANARY-a" {
		t.Errorf("not found (%v)", err)
	}
}

func TestAMistypedFieldGetsTheNameThatIsMeant(t *testing.T) {
	const doc = `{"apiKey":"CANARY","other":{"token_id":"CANARY"},"ab":"CANARY","key1":"CANARY","key2":"CANARY","CANARY":"x"}`
	for field, want := range map[string]string{
		"apikey": `"apiKey"`, "API_KEY": `"apiKey"`, "api-key": `"apiKey"`, "$.apiKey": `"apiKey"`, "apKey": `"apiKey"`, "apiKeys": `"apiKey"`, "aipKey": `"apiKey"`,
		"apiKex": `"apiKey"`, "/other/tokenid": `"token_id"`, "password": "", "ac": "", "key3": "", "key": "", "xpiKex": "",
	} {
		_, err := document.Field(doc, field)
		switch {
		case err == nil || strings.Contains(err.Error(), "CANARY"):
			t.Errorf("%q: no error, or one that shows the content", field)
		case strings.Contains(err.Error(), "did you mean") != (want != "") || !strings.Contains(err.Error(), want):
			t.Errorf("%q: %v, want it to name %q", field, err, want)
		}
	}
}

func TestCheckRefusesAMalformedPointer(t *testing.T) {
	for field, ok := range map[string]bool{"": true, "a": true, "a~2": true, "/a~0~1": true, "/a~2": false, "/a~": false} {
		if err := document.Check(field); (err == nil) != ok {
			t.Errorf("%q: %v", field, err)
		}
	}
}
