package credential_test

import (
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
)

func TestSecretsAreCheckedOnLoad(t *testing.T) {
	long := strings.Repeat("CANARY-", 3000)
	for name, c := range map[string]struct{ text, clean, says string }{
		"a key":                   {"sk-CANARY", "sk-CANARY", ""},
		"one byte":                {"C", "C", ""},
		"all of printable ASCII":  {"CANARY!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\"", "CANARY!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\"", ""},
		"a trailing LF":           {"sk-CANARY\n", "sk-CANARY", ""},
		"a trailing CRLF":         {"sk-CANARY\r\n", "sk-CANARY", ""},
		"16 KiB":                  {long[:16<<10], long[:16<<10], ""},
		"16 KiB and an LF":        {long[:16<<10] + "\n", long[:16<<10], ""},
		"over 16 KiB":             {long[:16<<10+1], "", "it has 16385 bytes, a key has at most 16384 (store the key alone)"},
		"a lone LF":               {"\n", "", "it is empty (put the key itself there)"},
		"a lone CRLF":             {"\r\n", "", "it is empty (put the key itself there)"},
		"two LFs":                 {"CANARY\n\n", "", "byte 7 of 7 is a line break (store the key alone)"},
		"a trailing CR":           {"CANARY\r", "", "byte 7 of 7 is a line break (store the key alone)"},
		"a header injection":      {"CANARY\r\nHost: evil", "", "byte 7 of 18 is a line break (store the key alone)"},
		"a leading space":         {" CANARY", "", "byte 1 of 7 is white space (store the key alone)"},
		"a trailing space":        {"CANARY ", "", "byte 7 of 7 is white space (store the key alone)"},
		"a tab":                   {"CAN\tARY", "", "byte 4 of 7 is white space (store the key alone)"},
		"a NUL":                   {"CANARY\x00", "", "byte 7 of 7 is a control character (store the key alone)"},
		"a DEL":                   {"CANARY\x7f", "", "byte 7 of 7 is a control character (store the key alone)"},
		"a BOM":                   {"\ufeffCANARY", "CANARY", ""},
		"a BOM and a CRLF":        {"\ufeffCANARY\r\n", "CANARY", ""},
		"a BOM and nothing":       {"\ufeff\n", "", "it is empty (put the key itself there)"},
		"a no-break space":        {"CANARY\u00a0", "", "byte 7 of 8 is not ASCII (store the key alone)"},
		"a zero-width space":      {"CAN\u200bARY", "", "byte 4 of 9 is not ASCII (store the key alone)"},
		"a stray byte":            {"CANARY\xff", "", "byte 7 of 7 is not ASCII (store the key alone)"},
		"a JSON document":         {`{"CANARY":1}`, "", "it is a JSON document, not a key (store the key alone)"},
		"a JSON array":            {`["CANARY"]`, "", "it is a JSON document, not a key (store the key alone)"},
		"double quotes":           {`"CANARY"`, "", "it is in quotes (store it without the quotes)"},
		"single quotes":           {`'CANARY'`, "", "it is in quotes (store it without the quotes)"},
		"a reference of Azure":    {"@Microsoft.KeyVault(SecretUri=https://CANARY)", "", "it is an unresolved Key Vault reference: the platform could not read the vault (give the app's identity the role Key Vault Secrets User on the vault)"},
		"a header's whole value":  {"Bearer CANARY", "", "it begins with the word Bearer, as a header does (store what follows that word)"},
		"an at sign is no matter": {"@CANARY", "@CANARY", ""},
	} {
		v, err := credential.Static(credential.NewSecret(c.text), credential.APIKey).Retrieve(background)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.says == "" && v.Secret.Reveal() != c.clean:
			t.Errorf("%s: the secret is another one, of %d bytes", name, len(v.Secret.Reveal()))
		case c.says != "" && err == nil:
			t.Errorf("%s: admitted", name)
		case c.says != "" && err.Error() != "credential: static: check the secret: "+c.says:
			t.Errorf("%s: another error, of %d bytes", name, len(err.Error()))
		}
	}
}

func TestEmptyStaticSecretIsUnavailable(t *testing.T) {
	_, err := credential.Static(credential.Secret{}, credential.APIKey).Retrieve(background)
	wantErr(t, err, credential.ErrUnavailable)
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"", "\n", "sk-CANARY", "sk-CANARY\r\n", "a b", "\ufeffk", "{", "\"q\"", "@Microsoft.KeyVault(", "k\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := credential.Static(credential.NewSecret(text), credential.APIKey).Retrieve(background)
		if err != nil {
			if msg := err.Error(); strings.ContainsAny(msg, "\r\n\x00") || len(msg) > 250 {
				t.Error("the error quotes its input")
			}
			return
		}
		clean := v.Secret.Reveal()
		if clean == "" || len(clean) > 16<<10 {
			t.Errorf("admitted %d bytes", len(clean))
		}
		for i := range len(clean) {
			if clean[i] <= ' ' || clean[i] > '~' {
				t.Errorf("byte %d is %#x", i, clean[i])
			}
		}
		if rest := strings.TrimPrefix(strings.TrimPrefix(text, "\ufeff"), clean); rest != "" && rest != "\n" && rest != "\r\n" {
			t.Errorf("%d bytes were dropped", len(text)-len(clean))
		}
		again, err := credential.Static(v.Secret, credential.APIKey).Retrieve(background)
		if err != nil || !again.Secret.Equal(v.Secret) {
			t.Error("not idempotent")
		}
	})
}

func TestSecretComparesByItsText(t *testing.T) {
	a, b := credential.NewSecret(key(1)), credential.NewSecret(key(1))
	if !a.Equal(b) || a.Equal(credential.NewSecret(key(2))) || a.Equal(credential.Secret{}) || !(credential.Secret{}).Equal(credential.NewSecret("")) {
		t.Error("Equal is wrong")
	}
	if a.IsZero() || !(credential.Secret{}).IsZero() || !credential.NewSecret("").IsZero() {
		t.Error("IsZero is wrong")
	}
	if a.Reveal() != key(1) || a.Bearer() != "Bearer "+key(1) {
		t.Error("Reveal or Bearer is wrong")
	}
	if (credential.Secret{}).Reveal() != "" || (credential.Secret{}).Bearer() != "" {
		t.Error("the zero Secret has a text")
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = a.Reveal(), a.Bearer() }); n != 0 {
		t.Errorf("Reveal and Bearer allocate %v times", n)
	}
}

func TestSchemesNameThemselves(t *testing.T) {
	for scheme, name := range map[credential.Scheme]string{
		credential.APIKey: "api key", credential.BearerToken: "bearer token", 7: "unknown scheme",
	} {
		if scheme.String() != name {
			t.Errorf("%d is %q", scheme, scheme.String())
		}
	}
}
