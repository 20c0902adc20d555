package awssecretsmanager_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

// A log is what a client of the user's writes.
type logged struct{ strings.Builder }

func (l *logged) Logf(_ logging.Classification, format string, args ...any) {
	fmt.Fprintf(l, format, args...)
}

// The SDK's log of answers shows the secret.
func TestTheLogOfAClientIsOffForOurReads(t *testing.T) {
	sm := awstest.NewSecretsManager()
	sm.Put(secretName, oldKey)
	client := inMemory(sm)
	out := &logged{}
	loud := secretsmanager.New(client.Options(), func(o *secretsmanager.Options) {
		o.Logger, o.ClientLogMode = out, aws.LogResponseWithBody|aws.LogRequestWithBody
	})
	if _, err := newSource(t, secretName, &awssecretsmanager.Options{Client: loud}).Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 0 {
		t.Errorf("%d bytes were logged", out.Len())
	}
}
