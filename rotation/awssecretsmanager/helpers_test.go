package awssecretsmanager_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/credential"
	source "github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/awssecretsmanager"
)

const (
	name   = "prod/openai"
	byHand = "sk-CANARY-by-hand"
)

// client is the SDK's client of sm over a transport, with its signatures and without
// its retries.
func client(sm *awstest.SecretsManager, rt http.RoundTripper) *secretsmanager.Client {
	id := sm.Identity
	return secretsmanager.New(secretsmanager.Options{
		Region: sm.Region, BaseEndpoint: aws.String("https://secretsmanager.test"), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, id.SessionToken),
		HTTPClient:  &http.Client{Transport: rt},
	})
}

func newStore(t *testing.T, sm *awstest.SecretsManager, rt http.RoundTripper, field string) *awssecretsmanager.Store {
	t.Helper()
	s, err := awssecretsmanager.New(name, &awssecretsmanager.Options{Client: client(sm, rt), Field: field, ExpiryTag: "expires"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A bench is a lab with a secret. Its faults meet requests, not methods.
type bench struct {
	*rotationtest.Lab
	sm    *awstest.SecretsManager
	store *awssecretsmanager.Store
	field string
}

func newBench(t *testing.T, field string) *bench {
	t.Helper()
	sm := awstest.NewSecretsManager()
	sm.Create(name)
	b := &bench{sm: sm, field: field, store: newStore(t, sm, sm, field)}
	b.Lab = rotationtest.New(t, b.store)
	b.Under = func(f *rotationtest.Fault) rotation.Store {
		f.Reads = func(r *http.Request) bool {
			_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
			return op == "DescribeSecret" || op == "GetSecretValue"
		}
		return newStore(t, sm, f.Transport(sm), field)
	}
	src, err := source.New(name, &source.Options{Client: client(sm, sm), Field: field, StandbyStage: awstest.Pending})
	if err != nil {
		t.Fatal(err)
	}
	b.Source = src
	return b
}

func (b *bench) load() rotation.State {
	b.T.Helper()
	state, err := b.store.Load(b.T.Context())
	if err != nil {
		b.T.Fatal(err)
	}
	return state
}

func (b *bench) must(err error) {
	b.T.Helper()
	if err != nil {
		b.T.Fatal(err)
	}
}

// prepared and keyed are a version before and after its key was issued.
func (b *bench) prepared(token string) rotation.Version {
	return rotation.Version{Token: token, Prepared: b.Service.Clock()}
}

func (b *bench) keyed(v rotation.Version) rotation.Version {
	b.T.Helper()
	k, err := b.Service.Issue(b.T.Context(), v, nil, b.Service.Clock().Add(44*rotationtest.Day))
	b.must(err)
	v.KeyID, v.Secret, v.Issued, v.Expires = k.ID, k.Secret, b.Service.Clock(), k.Expires
	return v
}

// ours counts the labels that are not of Secrets Manager.
func (b *bench) ours() (n int) {
	for _, labels := range b.sm.Stages(name) {
		n += len(slices.DeleteFunc(labels, func(l string) bool { return strings.HasPrefix(l, "AWS") }))
	}
	return n
}

func tokenOf(v *rotation.Version) string {
	if v == nil {
		return ""
	}
	return v.Token
}

func same(a, b *rotation.Version) bool {
	return a.Token == b.Token && a.KeyID == b.KeyID && a.Urgent == b.Urgent && a.Secret.Equal(b.Secret) &&
		a.Prepared.Equal(b.Prepared) && a.Issued.Equal(b.Issued) && a.Promoted.Equal(b.Promoted) && a.Expires.Equal(b.Expires)
}

// standby is what a reader finds when the current key is refused.
func standby(ctx context.Context, src credential.Source) (string, error) {
	s, ok := src.(*source.Source)
	if !ok {
		return "", nil
	}
	v, err := s.Standby().Retrieve(ctx)
	return v.Secret.Reveal(), err
}

const minute = time.Minute

// A hook does something before the first request for op, or sends each of them twice.
type hook struct {
	to    http.RoundTripper
	op    string
	do    func()
	twice bool
}

func (h *hook) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), "."+h.op) {
		return h.to.RoundTrip(r)
	}
	if do := h.do; do != nil {
		h.do = nil
		do()
	}
	if h.twice {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		again := r.Clone(r.Context())
		again.Body, r.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
		resp, err := h.to.RoundTrip(again)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
	}
	return h.to.RoundTrip(r)
}
