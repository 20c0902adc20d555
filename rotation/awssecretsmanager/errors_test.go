package awssecretsmanager_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation/awssecretsmanager"
)

// Each permission that is missing is named, with the resource for the policy, and so
// is that on the KMS key.
func TestAnErrorNamesThePermissionThatIsMissing(t *testing.T) {
	for _, op := range []string{"DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage", "TagResource"} {
		for message, says := range map[string]string{
			"User is not authorized, CANARY":                                       "secretsmanager:" + op + " on arn:aws:secretsmanager:*:ACCOUNT:secret:prod/openai-??????",
			"not authorized with an explicit deny in a resource-based policy":      "explicitly",
			"Access to KMS is not allowed, the ciphertext refers to a key, CANARY": "kms:GenerateDataKey",
		} {
			b := newBench(t, "apiKey")
			b.MustRun()
			b.Service.Pass(30 * rotationtest.Day)
			b.sm.Fail(awstest.Fault{Status: http.StatusBadRequest, Type: "AccessDeniedException", Message: message, Op: op})
			_, err := b.Run(&rotationtest.Fault{})
			if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s: no error, or one that does not say %q, or with the text of AWS", op, says)
			}
			b.sm.Heal()
			b.Service.Pass(10 * minute)
			b.MustRun()
			b.Readers("")
		}
	}
}

func TestASecretThatIsNotThereIsAnError(t *testing.T) {
	b := newBench(t, "")
	b.sm.Delete(name)
	if _, err := b.store.Load(t.Context()); !errors.Is(err, credential.ErrNotFound) || !strings.Contains(err.Error(), "make the secret first") {
		t.Errorf("%v", err)
	}
}

func TestAStoreShowsNoSecret(t *testing.T) {
	b := newBench(t, "")
	b.MustRun()
	if text := fmt.Sprintf("%+v %#v", b.store, b.store); strings.Contains(text, "CANARY") {
		t.Error("a printed store shows a secret")
	}
}

func TestOptionsThatContradictEachOtherAreRefused(t *testing.T) {
	sm := awstest.NewSecretsManager()
	c := client(sm, sm)
	for what, test := range map[string]struct {
		id   string
		opts *awssecretsmanager.Options
	}{
		"no secret":              {"", nil},
		"a key":                  {"sk-CANARY", nil},
		"an ARN of another kind": {"arn:aws:ssm:eu-west-1:123456789012:parameter/a", nil},
		"a client, a transport":  {name, &awssecretsmanager.Options{Client: c, Transport: sm}},
		"a pointer":              {name, &awssecretsmanager.Options{Field: "/openai/key"}},
		"a tag that is too long": {name, &awssecretsmanager.Options{ExpiryTag: strings.Repeat("x", 129)}},
	} {
		if _, err := awssecretsmanager.New(test.id, test.opts); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: accepted, or shown", what)
		}
	}
	if _, err := awssecretsmanager.New(name, nil); err != nil {
		t.Error(err)
	}
}
