package auto_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

func parse(t *testing.T, word string) credential.Source {
	t.Helper()
	src, err := auto.Parse(word)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// A reference makes of a source nothing less than it is. That of AWS has a
// bound of our own around it; the packages of the others have this test, too.
func TestAReferenceToSecretsManagerKeepsTheRules(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			clearEnv(t)
			w := newWorld(t)
			w.setenv(t, vars{"AWS_ENDPOINT_URL_SECRETS_MANAGER": "$URL", "AWS_MAX_ATTEMPTS": "1"})
			w.setenv(t, w.sm.Identity.Env(w.sm.Region))
			w.sm.Put("prod/openai", secret)
			return credentialtest.Harness{
				Source:   parse(t, smRef),
				Rotate:   func(secret string) { w.sm.Put("prod/openai", secret) },
				Fail:     func() { w.sm.Fail(awstest.Fault{Status: 503, Type: "ServiceUnavailableException"}) },
				NotFound: func() { w.sm.Delete("prod/openai") },
				Hang:     func() { w.sm.Fail(awstest.Fault{Hang: true}) },
			}
		},
		Unavailable: func(t *testing.T) credential.Source {
			clearEnv(t)
			return parse(t, smRef)
		},
	})
}

func TestAReferenceToAFileKeepsTheRules(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			path := filepath.Join(t.TempDir(), "key")
			put := func(secret string) {
				if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put(secret)
			return credentialtest.Harness{Source: parse(t, "file://"+filepath.ToSlash(path)), Rotate: put}
		},
		Unavailable: func(t *testing.T) credential.Source { return parse(t, "file:///no/such/file") },
	})
}
