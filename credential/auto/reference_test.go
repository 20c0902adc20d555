package auto_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
)

const (
	arn          = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/openai-AbCdEf"
	parameterARN = "arn:aws:ssm:eu-west-1:123456789012:parameter/prod/openai"
)

func TestAReferenceNamesItsSource(t *testing.T) {
	for _, c := range []struct{ word, source string }{
		{"env://OPENAI_KEY_2", "env:OPENAI_KEY_2"},
		{"ENV://lower_case", "env:lower_case"},
		{"file:///run/secrets/openai%20key", "file:/run/secrets/openai key"},
		{"exec:///usr/bin/op?arg=read&arg=op%3A%2F%2Fdev%2Fopenai%2Fkey", "execcommand:/usr/bin/op"},
		{"azurekeyvault://myvault/openai-key?field=/apiKey&standby=openai-key-2", "azurekeyvault:myvault.vault.azure.net/openai-key"},
		{"azurekeyvault://MyVault.vault.azure.cn/openai-key", "azurekeyvault:myvault.vault.azure.cn/openai-key"},
		{"https://myvault.vault.azure.net/secrets/openai-key", "azurekeyvault:myvault.vault.azure.net/openai-key"},
		{"https://myvault.vault.azure.net/secrets/openai-key/0123456789abcdef0123456789abcdef", "azurekeyvault:myvault.vault.azure.net/openai-key"},
		{"HTTPS://myvault.vault.azure.net/secrets/openai-key?field=key", "azurekeyvault:myvault.vault.azure.net/openai-key"},
		{"awssecretsmanager:///prod/openai?field=/apiKey&standby-stage=AWSPENDING&expiry=key-expires", "awssecretsmanager:prod/openai"},
		{"awssecretsmanager:////prod/openai", "awssecretsmanager:/prod/openai"},
		{"awssecretsmanager:///" + arn, "awssecretsmanager:" + arn},
		{arn, "awssecretsmanager:" + arn},
		{arn + ":apiKey::", "awssecretsmanager:" + arn},
		{arn + ":apiKey:AWSPREVIOUS:", "awssecretsmanager:" + arn + "@AWSPREVIOUS"},
		{arn + "?field=a&standby-field=b", "awssecretsmanager:" + arn},
		{"awsparameterstore:///prod/openai?field=/apiKey&standby-stage=next&expiry=policy", "awsparameterstore:/prod/openai"},
		{"awsparameterstore:////prod/openai", "awsparameterstore:/prod/openai"},
		{"awsparameterstore:///openai?version=3", "awsparameterstore:openai"},
		{"awsparameterstore:///" + parameterARN, "awsparameterstore:" + parameterARN},
		{parameterARN, "awsparameterstore:" + parameterARN},
		{parameterARN + ":3", "awsparameterstore:" + parameterARN},
		{parameterARN + ":live?field=a", "awsparameterstore:" + parameterARN + "@live"},
		{"awsextension:///prod/openai?stage=AWSPREVIOUS", "awsextension:prod/openai@AWSPREVIOUS"},
		{"awsextension://parameter/prod/openai?stage=live", "awsextension:/prod/openai@live"},
		{"awsextension://parameter/openai", "awsextension:openai"},
		{"awsextension:///" + parameterARN, "awsextension:" + parameterARN},
		{"vault://secret/team/openai?field=key&standby-field=key2&version=3&kv=2&namespace=admin", "hashivault:secret/team/openai"},
		{"vault://secret/openai?auth=kubernetes&role=openai-reader", "hashivault:secret/openai"},
		{"awsbedrock://", "awsbedrock"},
		{"awsbedrock://?region=us-east-1", "awsbedrock:us-east-1"},
		{"azureidentity://", "azureidentity"},
		{"azureidentity://?client-id=a&tenant-id=b&scope=https://ai.azure.com/.default", "azureidentity"},
		{"openaiworkload://?provider=idp_1&service-account=sa_1&from=kubernetes&token-file=/var/run/openai/token", "openaiworkload:kubernetes"},
		{"openaiworkload://?provider=idp_1&service-account=sa_1&from=azure&audience=api://openai&managed-identity=m&client-id=c", "openaiworkload:azure"},
	} {
		src, err := auto.Parse(c.word)
		if err != nil {
			t.Errorf("%s: %v", c.word, err)
		} else if got := fmt.Sprint(src); got != c.source {
			t.Errorf("%s is %s, want %s", c.word, got, c.source)
		}
	}
}

// A mistake is a word that is no reference, and what the error says.
type mistake struct{ word, says string }

func mistakes() []mistake {
	return []mistake{
		{"sk-CANARY-1", "OPENAI_API_KEY"},
		{"sk-CANARY-1://x", "unknown scheme; known are: env, file, exec"},
		{"awssecretmanager:///x", "did you mean awssecretsmanager?"},
		{"keyvault://v/n", "known are: env, file, exec, azurekeyvault, awssecretsmanager, awsparameterstore, awsextension, vault, awsbedrock, azureidentity, openaiworkload"},
		{"awssecretsmanager:///x?feild=a", "did you mean field?"},
		{"awssecretsmanager:///x?CANARY=a", "known are: expiry, field, stage, standby-field, standby-stage, version"},
		{"env://A?x=1", "known are: none"},
		{"vault://secret/x?field=a&field=b", "field is there twice"},
		{"vault://secret/x?field=", "parameter field is empty"},
		{"vault://secret/x?version=0", "parameter version"},
		{"vault://secret/x?kv=3", "kv is 1 or 2"},
		{"vault://secret/x?auth=approle", "want kubernetes"},
		{"vault://secret/x?auth=kubernetes", "needs the parameter role"},
		{"vault://secret/x?role=a", "needs auth=kubernetes"},
		{"vault://secret", "want vault://MOUNT/PATH"},
		{"awssecretsmanager://prod/openai", "after three slashes"},
		{"awsparameterstore://prod/openai", "after three slashes"},
		{"awsparameterstore:///x?expiry=tag", "want policy"},
		{"awsparameterstore:///x?version=CANARY", "Version is not a number"},
		{"arn:aws:ssm:eu-west-1:1:document/x", "of a parameter"},
		{"awsextension://prod", "after three slashes"},
		{"awsextension://parameter", "after the last slash"},
		{"file://etc/key", "after three slashes"},
		{"file:///", "absolute path"},
		{"exec://op?arg=read", "after three slashes"},
		{"env://", "want env://NAME"},
		{"env://A/B", "want env://NAME"},
		{"env://A-B", "letters, digits and _"},
		{"env://CANARY0123456789abcdef0123456789", "looks like a key"},
		{"file:///sk-CANARY-0123456789abcdef", "looks like a key"},
		{"awssecretsmanager:///x?field=sk-CANARY-0123456789abcdef", "looks like a key"},
		{"azurekeyvault://v", "want azurekeyvault://VAULT/NAME"},
		{"azurekeyvault://vault.example.com/n", "want azurekeyvault://VAULT/NAME"},
		{"https://vault.example.com/secrets/n", "not of a secret in Azure Key Vault"},
		{"https://myvault.vault.azure.net/keys/n", "secrets/NAME"},
		{"https://evil.example?.vault.azure.net/secrets/n", "not of a secret in Azure Key Vault"},
		{"https://evil.example:1.vault.azure.net/secrets/n", "not a URL"},
		{"https://sk-CANARY@myvault.vault.azure.net/secrets/n", "user information"},
		{"@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/n)", "did not resolve"},
		{"arn:aws:s3:::bucket", "not of a secret"},
		{"awssecretsmanager:///x#apiKey", "?field="},
		{"vault://secret/%zz", "not a URL"},
		{"vault://secret/x?field=%zz", "malformed parameters"},
		{"awsbedrock://us-east-1", "want parameters only"},
		{"awsbedrock://?region=CANARY", "Region is malformed"},
		{"azureidentity://client", "want parameters only"},
		{"azureidentity://?scope=CANARY", "/.default"},
		{"openaiworkload://?provider=a&service-account=b", "parameter from: want one of kubernetes"},
		{"openaiworkload://?from=gcp", "IdentityProviderID"},
		{"awssecretsmanager:///x?stage=CANARYS&standby-stage=CANARYS", "StandbyStage"},
	}
}

func TestAMistakeIsToldWithTheFix(t *testing.T) {
	for _, c := range mistakes() {
		src, err := auto.Parse(c.word)
		switch {
		case err == nil:
			t.Errorf("%s was taken for %v", strings.ReplaceAll(c.word, "CANARY", "..."), src)
		case strings.Contains(err.Error(), "CANARY"):
			t.Errorf("the error for %s quotes it", strings.ReplaceAll(c.word, "CANARY", "..."))
		case !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %v, want %q in it", strings.ReplaceAll(c.word, "CANARY", "..."), err, c.says)
		}
	}
}

// standby is what a Cache looks for in a source.
type standby interface{ Standby() credential.Source }

func TestTheStandbyOfAReferenceIsFound(t *testing.T) {
	for _, word := range []string{
		"azurekeyvault://v/n?standby=n2",
		"awssecretsmanager:///n?field=a&standby-field=b",
		"awssecretsmanager:///n?standby-stage=AWSPENDING",
		"awsparameterstore:///n?field=a&standby-field=b",
		"awsparameterstore:///n?standby-stage=next",
		"awsextension:///n?field=a&standby-field=b",
		"vault://secret/n?field=a&standby-field=b",
	} {
		src, err := auto.Parse(word)
		if err != nil {
			t.Errorf("%s: %v", word, err)
			continue
		}
		if s, ok := src.(standby); !ok || s.Standby() == nil {
			t.Errorf("%s: no standby", word)
		}
		if _, ok := src.(credential.Renewer); !ok {
			t.Errorf("%s: no Renewer", word)
		}
	}
}

// The documentation has one table of schemes and parameters; this holds it to
// the code.
func TestTheDocumentedTableIsTheCode(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^//\t(\w+) +(\w+:\S+) +(\S.*)$`)
	documented := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		if !strings.HasPrefix(m[2], m[1]+"://") {
			t.Errorf("the row of %s shows %s", m[1], m[2])
		}
		var params []string
		if m[3] != "none" {
			params = strings.Split(m[3], ", ")
		}
		documented[m[1]] = params
	}
	for name, params := range auto.Schemes() {
		if got, ok := documented[name]; !ok || !slices.Equal(got, params) {
			t.Errorf("doc.go has %q for %s, the code %q", got, name, params)
		}
		delete(documented, name)
		for _, p := range params {
			if !regexp.MustCompile(`(?m)^//   - .*\b` + p + `\b|^//     .*\b` + p + `\b`).Match(text) {
				t.Errorf("doc.go does not explain the parameter %s", p)
			}
		}
	}
	if len(documented) > 0 {
		t.Errorf("doc.go has %v, which the code has not", documented)
	}
}

// The README sends readers to the page, and not to the code.
func TestThePageHasTheTableOfReferences(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^//\t(\w+) +(\w+:\S+) +(\S.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(rows) != len(auto.Schemes()) {
		t.Fatalf("doc.go has %d rows", len(rows))
	}
	want := "| Scheme | Names | Parameters |\n|---|---|---|\n"
	for _, row := range rows {
		params := row[3]
		if params != "none" {
			params = "`" + strings.ReplaceAll(params, ", ", "`, `") + "`"
		}
		want += fmt.Sprintf("| `%s` | `%s` | %s |\n", row[1], row[2], params)
	}
	if !strings.Contains(string(page), want) {
		t.Errorf("docs/sources.md does not have this table:\n%s", want)
	}
}

func TestTheReferencesInTheDocumentsAreOnes(t *testing.T) {
	text, err := os.ReadFile("../../docs/execcommand.md")
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile(`(?m)^exec:///\S+$`).FindAllString(string(text), -1)
	if len(words) == 0 {
		t.Error("the page has none")
	}
	for _, word := range words {
		if _, err := auto.Parse(word); err != nil {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestReferencesAreReadInOrder(t *testing.T) {
	clearEnv(t)
	t.Setenv("SECOND", "sk-CANARY-2")
	for _, text := range []string{"env://FIRST,env://SECOND", " env://FIRST \n env://SECOND ", "env://FIRST, env://SECOND,"} {
		cache, err := auto.New(&auto.Options{References: text})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := cache.Retrieve(t.Context()); err != nil || v.Source != "env:SECOND" {
			t.Errorf("%q gives %s, %v", text, v.Source, err)
		}
	}
	if _, err := auto.New(&auto.Options{References: strings.Repeat("env://A ", 17)}); err == nil {
		t.Error("17 references were taken")
	}
	if _, err := auto.New(&auto.Options{References: ","}); err == nil {
		t.Error("a comma alone was taken")
	}
}

// FuzzReference pastes a key anywhere into a reference.
func FuzzReference(f *testing.F) {
	for name, params := range auto.Schemes() {
		f.Add(name+"://", "")
		f.Add(name+":///a/", "?b=c")
		for _, p := range params {
			f.Add(name+":///a?"+p+"=", "&"+p+"=x")
			f.Add(name+"://a/b?"+p+"=", "")
			f.Add(name+"://?"+p+"=", "")
		}
	}
	f.Add("arn:aws:secretsmanager:", ":1:secret:x")
	f.Add("https://", ".vault.azure.net/secrets/x")
	f.Add("https://v.vault.azure.net/secrets/", "/y%zz")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, before, after string) {
		word := before + "sk-CANARY-1" + after
		src, err := auto.Parse(word)
		switch {
		case err == nil && src == nil:
			t.Error("neither a source nor an error")
		case err != nil && strings.Contains(err.Error(), "CANARY"):
			t.Error("the error quotes the reference")
		}
		_, err = auto.New(&auto.Options{References: word})
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Error("the error of New quotes the reference")
		}
	})
}
