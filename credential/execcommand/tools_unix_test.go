//go:build unix

package execcommand_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/execcommand"
)

const page = "../../docs/execcommand.md"

// A tool is what a command line of the page does: which arguments it wants, what
// it prints, and how it says that there is no such secret. %s is the key.
type tool struct {
	name   string
	args   []string
	prints string
	// code and says are the exit code and the standard error without the secret.
	code int
	says string
}

// tools are in the order of the page. What they print is in their sources or
// documents:
//
//	https://developer.1password.com/docs/cli/reference/commands/read/
//	https://github.com/DopplerHQ/cli/blob/master/pkg/printer/enclave.go
//	https://github.com/getsops/sops/blob/main/cmd/sops/decrypt.go
//	https://github.com/Infisical/cli/blob/main/packages/cmd/secrets.go
//	https://cloud.google.com/sdk/gcloud/reference/secrets/versions/access
//	https://docs.aws.amazon.com/cli/v1/topic/return-codes.html
//	https://github.com/hashicorp/vault/blob/main/command/util.go
//	https://git.zx2c4.com/password-store/about/
//	https://ss64.com/mac/security.html
func tools() []tool {
	return []tool{
		{"op", []string{"read", "--no-newline", "op://dev/openai/credential"}, "%s", 1,
			`[ERROR] 2026/01/02 15:04:05 could not read secret 'op://dev/openai/credential': "openai" isn't an item in the "dev" vault. CANARY`},
		{"doppler", []string{"secrets", "get", "OPENAI_API_KEY", "--plain", "--no-check-version", "--project", "openai", "--config", "prd"}, "%s\n", 1,
			"Doppler Error: Could not find requested secret: OPENAI_API_KEY CANARY"},
		{"sops", []string{"decrypt", "--extract", `["openai"]["apiKey"]`, "/etc/openai/secrets.yaml"}, "%s", 1,
			`error truncating tree: component ["apiKey"] not found CANARY`},
		{"infisical", []string{"secrets", "get", "OPENAI_API_KEY", "--plain", "--silent", "--projectId", "PROJECT", "--env", "prod"}, "%s\n", 0, ""},
		{"gcloud", []string{"secrets", "versions", "access", "latest", "--secret=openai", "--project=PROJECT"}, "%s", 1,
			"ERROR: (gcloud.secrets.versions.access) NOT_FOUND: Secret [projects/1/secrets/openai] not found or has no versions. CANARY"},
		{"aws", []string{"secretsmanager", "get-secret-value", "--secret-id", "prod/openai", "--query", "SecretString", "--output", "text"}, "%s\n", 254,
			"An error occurred (ResourceNotFoundException) when calling the GetSecretValue operation: Secrets Manager can't find the specified secret. CANARY"},
		{"aws", []string{"ssm", "get-parameter", "--name", "/prod/openai", "--with-decryption", "--query", "Parameter.Value", "--output", "text"}, "%s\n", 254,
			"An error occurred (ParameterNotFound) when calling the GetParameter operation: CANARY"},
		{"vault", []string{"kv", "get", "-mount=secret", "-field=key", "openai"}, "%s", 2, "No value found at secret/data/openai CANARY"},
		{"pass", []string{"show", "openai/api-key"}, "%s\n", 1, "Error: openai/api-key is not in the password store. CANARY"},
		{"security", []string{"find-generic-password", "-s", "openai", "-a", "latchkey", "-w"}, "%s\n", 44,
			"security: SecKeychainSearchCopyNext: The specified item could not be found in the keychain. CANARY"},
	}
}

// documented returns the command lines of the page, and its references.
func documented(t *testing.T) (lines [][]string, references []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	word := regexp.MustCompile(`'[^']*'|[^' ]+`)
	for _, m := range regexp.MustCompile("(?m)^\\| [^|]+ \\| `([^`]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		words := word.FindAllString(m[1], -1)
		for i := range words {
			words[i] = strings.Trim(words[i], "'")
		}
		lines = append(lines, words)
	}
	return lines, regexp.MustCompile(`(?m)^exec:///path/to/\S+$`).FindAllString(string(text), -1)
}

// install makes the helper that tool, in PATH.
func (h *helper) install(t *testing.T, c tool) {
	t.Helper()
	h.put(t, "mode", "tool")
	h.put(t, "arguments", strings.Join(c.args, "\n"))
	t.Setenv("PATH", named(t, c.name))
}

func TestTheDocumentedCommandLinesGiveTheKey(t *testing.T) {
	const key = "sk-CANARY-of-the-tool"
	lines, references := documented(t)
	if all := tools(); len(lines) != len(all) || len(references) != len(all) {
		t.Fatalf("%s has %d lines and %d references, want %d of each", page, len(lines), len(references), len(all))
	}
	for i, c := range tools() {
		t.Run(strings.Join(lines[i][:2], " "), func(t *testing.T) {
			h := newHelper(t, "", "")
			h.install(t, c)
			src, err := execcommand.New(lines[i][0], lines[i][1:], &execcommand.Options{Env: h.env(), Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			cache, err := credential.NewCache(src, nil)
			if err != nil {
				t.Fatal(err)
			}
			h.put(t, "text", fmt.Sprintf(c.prints, key))
			if v, err := cache.Retrieve(background); err != nil || v.Secret.Reveal() != key {
				t.Errorf("the line does not give the key: %v", err)
			}
			query := "?arg=" + strings.Join(escaped(c.args), "&arg=")
			if want := "exec:///path/to/" + c.name + query; references[i] != want {
				t.Errorf("the reference is\n%s, want\n%s", references[i], want)
			}
		})
	}
}

func TestAToolWithoutTheSecretIsAnErrorThatShowsNothing(t *testing.T) {
	for _, c := range tools() {
		t.Run(c.name, func(t *testing.T) {
			h := newHelper(t, "", "")
			h.install(t, c)
			h.put(t, "errors", c.says)
			h.put(t, "code", fmt.Sprint(c.code))
			src, err := execcommand.New(c.name, c.args, &execcommand.Options{Env: h.env(), Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			_, err = src.Retrieve(background)
			if c.code == 0 {
				wantFault(t, err, false, "it printed nothing")
				return
			}
			wantFault(t, err, true, fmt.Sprintf("%d bytes to standard error", len(c.says)))
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != c.code {
				t.Errorf("%v: want exit code %d", err, c.code)
			}
		})
	}
}

// pass prints whole entries, and sops whole files.
func TestMoreThanAKeyIsRefused(t *testing.T) {
	for _, text := range []string{"sk-CANARY-1\nlogin: me\nurl: CANARY\n", "openai:\n    apiKey: sk-CANARY-1\n"} {
		h := newHelper(t, "", text)
		h.put(t, "mode", "print")
		cache, err := credential.NewCache(h.source(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = cache.Retrieve(background)
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Error("more than a key was accepted, or is shown")
		}
	}
}

func escaped(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = strings.ReplaceAll(url.QueryEscape(arg), "+", "%20")
	}
	return out
}
