package awssecretsmanager_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

const (
	secretName = "prod/openai"
	oldKey     = "sk-CANARY-old"
	newKey     = "sk-CANARY-new"
)

func noAWS(t *testing.T) {
	t.Helper()
	awstest.NoAWS(t)
}

func setenv(t *testing.T, env map[string]string) {
	t.Helper()
	awstest.Setenv(t, env)
}

// onWire starts a Secrets Manager that the SDK's default configuration finds.
// The SDK does not retry, so that a test can count.
func onWire(t *testing.T) *awstest.SecretsManager {
	t.Helper()
	sm := awstest.NewSecretsManager()
	server := httptest.NewServer(sm)
	t.Cleanup(server.Close)
	noAWS(t)
	setenv(t, sm.Identity.Env(sm.Region))
	setenv(t, map[string]string{"AWS_ENDPOINT_URL_SECRETS_MANAGER": server.URL, "AWS_MAX_ATTEMPTS": "1"})
	return sm
}

// inMemory returns the SDK's client of sm, with the SDK's own retries and
// signatures but no network: for fake time.
func inMemory(sm *awstest.SecretsManager) *secretsmanager.Client {
	id := sm.Identity
	return secretsmanager.New(secretsmanager.Options{
		Region:       sm.Region,
		BaseEndpoint: aws.String("https://secretsmanager.test"),
		Credentials:  credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, id.SessionToken),
		HTTPClient:   &http.Client{Transport: sm},
	})
}

func newSource(t *testing.T, id string, opts *awssecretsmanager.Options) *awssecretsmanager.Source {
	t.Helper()
	src, err := awssecretsmanager.New(id, opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// a caller calls the API through a latchkey client in memory.
type caller struct {
	t      *testing.T
	client *client.Client
	mu     sync.Mutex
	ended  *sync.Cond // a call has ended
	made   int
	failed int
	first  error
}

func newCaller(t *testing.T, api *clienttest.Service, src credential.Source, opts *credential.CacheOptions) *caller {
	t.Helper()
	c, err := client.New(client.Config{Source: src, Cache: opts, Transport: api, BaseURL: client.DefaultBaseURL})
	if err != nil {
		t.Fatal(err)
	}
	call := &caller{t: t, client: c}
	call.ended = sync.NewCond(&call.mu)
	return call
}

func (c *caller) call(ctx context.Context) {
	in := map[string]any{"model": "gpt-5-mini", "messages": []map[string]string{{"role": "user", "content": "hello"}}}
	_, err := c.client.Post(ctx, "chat/completions", in, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	c.ended.Broadcast()
	if err != nil {
		c.failed++
		if c.first == nil {
			c.first = err
		}
	}
}

// clean checks that at least n calls were made and none failed.
func (c *caller) clean(n int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed > 0 {
		c.t.Errorf("%d of %d calls failed, the first: %v", c.failed, c.made, c.first)
	}
	if c.made < n {
		c.t.Errorf("%d calls were made, want at least %d", c.made, n)
	}
}
