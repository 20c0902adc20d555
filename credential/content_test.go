package credential_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
)

// What people store where a key should be, what the error says, and what to do.
var mistakes = map[string]struct{ text, says, do string }{
	"a JSON document behind a mark": {"\ufeff{\"apiKey\":\"CANARY\"}", "a JSON document", "store the key alone"},
	"double quotes":                 {`"sk-CANARY"`, "in quotes", "without the quotes"},
	"a mark and quotes":             {"\ufeff'sk-CANARY'\n", "in quotes", "without the quotes"},
	"back quotes":                   {"`sk-CANARY`", "in quotes", "without the quotes"},
	"a line of .env":                {"OPENAI_API_KEY=sk-CANARY", "NAME=value", "equals sign"},
	"a line of a script":            {"export OPENAI_API_KEY=\"sk-CANARY\"\n", "NAME=value", "equals sign"},
	"a line of PowerShell":          {"$env:OPENAI_API_KEY = 'sk-CANARY'", "NAME=value", "equals sign"},
	"a whole .env":                  {"OPENAI_API_KEY=sk-CANARY\nOTHER=1\n", "NAME=value", "equals sign"},
	"a small name":                  {"api_key=sk-CANARY", "NAME=value", "equals sign"},
	"a variable of a shell":         {"${CANARY_KEY}", "placeholder", "itself"},
	"the same without braces":       {"$CANARY_KEY", "placeholder", "itself"},
	"a variable of Kubernetes":      {"$(CANARY_KEY)", "placeholder", "itself"},
	"a variable of Windows":         {"%CANARY_KEY%", "placeholder", "itself"},
	"a variable of PowerShell":      {"$env:CANARY_KEY", "placeholder", "itself"},
	"a template":                    {"{{ .Values.CANARY }}", "placeholder", "itself"},
	"a token of Azure Pipelines":    {"#{CANARY}#", "placeholder", "itself"},
	"a guide's":                     {"<your-CANARY-key>", "placeholder", "itself"},
	"a reference of 1Password":      {"op://CANARY/openai/key", "a reference", "op run"},
	"an ARN":                        {"arn:aws:secretsmanager:eu-west-1:123456789012:secret:CANARY", "a reference", "OPENAI_CREDENTIAL"},
	"a reference to Vault":          {"vault:secret/data/CANARY#key", "a reference", "vault://MOUNT/PATH"},
	"a reference of ours":           {"awssecretsmanager:///CANARY", "a reference", "OPENAI_CREDENTIAL"},
	"the URL of a secret":           {"https://v.vault.azure.net/secrets/CANARY", "a reference", "OPENAI_CREDENTIAL"},
	"a secret of Google":            {"projects/1/secrets/CANARY/versions/2", "a reference", "itself"},
	"a secret of Container Apps":    {"secretref:CANARY", "a reference", "itself"},
	"a base URL":                    {"https://CANARY.openai.azure.com/openai/v1", "an address", "itself"},
	"UTF-16":                        {"\xff\xfes\x00k\x00", "UTF-16", "ASCII or UTF-8"},
	"a header's value":              {"Bearer CANARY", "the word Bearer", "follows that word"},
}

// sources makes one of each kind that gives text.
func sources(t *testing.T, text string) map[string]credential.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]credential.Source{
		"static": credential.Static(credential.NewSecret(text), credential.APIKey),
		"file":   credential.File(path),
		"custom": credential.SourceFunc(func(context.Context) (credential.Value, error) {
			return credential.Value{Secret: credential.NewSecret(text), Source: "custom"}, nil
		}),
	}
	if !strings.Contains(text, "\x00") {
		t.Setenv("CONTENT", text)
		all["env"] = credential.Env("CONTENT")
	}
	return all
}

// cached reads as a program does.
func cached(t *testing.T, src credential.Source) (credential.Value, error) {
	t.Helper()
	cache, err := credential.NewCache(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cache.Retrieve(t.Context())
}

func TestEverySourceSaysWhatIsThereInPlaceOfAKey(t *testing.T) {
	for name, c := range mistakes {
		for kind, src := range sources(t, c.text) {
			_, err := cached(t, src)
			switch {
			case err == nil:
				t.Errorf("%s from %s: admitted", name, kind)
			case strings.Contains(err.Error(), "CANARY"):
				t.Errorf("%s from %s: the error quotes it", name, kind)
			case kind == "custom" && strings.Contains(c.says, "JSON"):
				if !strings.Contains(err.Error(), "(name the field that holds the key)") {
					t.Errorf("%s from %s: %v", name, kind, err)
				}
			case !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.do):
				t.Errorf("%s from %s: %v, want %q and %q", name, kind, err, c.says, c.do)
			}
		}
	}
}

// Keys of services that look like one of the mistakes and are none.
func TestAKeyThatLooksOddIsAKey(t *testing.T) {
	for _, text := range []string{
		"CANARY==", "abcDEF0123CANARY=", "=CANARY", "a=CANARY", "CANARY=7f", "Q0FOQVJZ=x", "user:CANARY", "/CANARY://x", "$2b$12$CANARY", "$CANARY!", "%CANARY",
		"#CANARY", "<CANARY", "bearer-CANARY", "Bearer", "vault-CANARY", "arn-CANARY", "projects/CANARY", "CANARY.eyJ.x-_=", "x@CANARY",
	} {
		for kind, src := range sources(t, text) {
			if v, err := cached(t, src); err != nil || v.Secret.Reveal() != text {
				t.Errorf("%d bytes from %s: %v", len(text), kind, err)
			}
		}
	}
}

func TestAnEmptyTokenIsNotCalledASecret(t *testing.T) {
	_, static := credential.Static(credential.Secret{}, credential.BearerToken).Retrieve(t.Context())
	_, custom := cached(t, credential.SourceFunc(func(context.Context) (credential.Value, error) {
		return credential.Value{Scheme: credential.BearerToken, Source: "custom"}, nil
	}))
	for _, err := range []error{static, custom} {
		if err == nil || !strings.Contains(err.Error(), "token") || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "key") || !strings.Contains(err.Error(), "empty") {
			t.Errorf("%v", err)
		}
	}
}
