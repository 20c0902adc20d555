package bench_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"
	"github.com/openai/openai-go/v3/auth"
	"golang.org/x/oauth2"

	"github.com/latchkey-go/latchkey/credential"
)

// A reader is one way to have the current credential.
type reader struct {
	name string
	make func(tb testing.TB) func() error
}

var readers = []reader{
	{"pointer", barePointer},
	{"latchkey", latchkeyRead},
	{"aws", awsRead},
	{"aws-secrets", secretCacheRead},
	{"oauth2", oauth2Read},
	{"openai-go", workloadRead},
}

// BenchmarkCachedRead reads a credential that is in memory and fresh.
func BenchmarkCachedRead(b *testing.B) {
	for _, r := range readers {
		b.Run("mode=seq/peer="+r.name, func(b *testing.B) {
			read := r.make(b)
			must(b, read())
			b.ReportAllocs()
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, r := range readers {
		b.Run("mode=par/peer="+r.name, func(b *testing.B) {
			read := r.make(b)
			must(b, read())
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if read() != nil {
						b.Error("read failed")
						return
					}
				}
			})
		})
	}
}

// barePointer is the least that a read with an expiry can cost: one load and
// one look at the clock. It returns as much as the others do.
func barePointer(testing.TB) func() error {
	type entry struct {
		value   credential.Value
		expires int64
	}
	var cur atomic.Pointer[entry]
	cur.Store(&entry{
		value:   credential.Value{Secret: credential.NewSecret(fakeKey)},
		expires: time.Now().Add(time.Hour).UnixNano(),
	})
	read := func(context.Context) (credential.Value, error) {
		now := time.Now().UnixNano()
		if e := cur.Load(); e != nil && now < e.expires {
			return e.value, nil
		}
		return credential.Value{}, credential.ErrUnavailable
	}
	ctx := context.Background()
	return func() error {
		_, err := read(ctx)
		return err
	}
}

func latchkeyRead(tb testing.TB) func() error {
	cache, ctx := warmCache(tb), context.Background()
	return func() error {
		_, err := cache.Retrieve(ctx)
		return err
	}
}

func awsRead(testing.TB) func() error {
	cache := aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{
			AccessKeyID: "AKIACANARY", SecretAccessKey: fakeKey, SessionToken: fakeKey,
			CanExpire: true, Expires: time.Now().Add(time.Hour),
		}, nil
	}))
	ctx := context.Background()
	return func() error {
		_, err := cache.Retrieve(ctx)
		return err
	}
}

// secretCacheRead is the cache of secrets in aws-secretsmanager-caching-go.
func secretCacheRead(tb testing.TB) func() error {
	cache, err := secretcache.New(func(c *secretcache.Cache) { c.Client = secrets{} })
	must(tb, err)
	ctx := context.Background()
	return func() error {
		_, err := cache.GetSecretStringWithContext(ctx, "prod/openai")
		return err
	}
}

// secrets answers as Secrets Manager.
type secrets struct {
	secretcache.SecretsManagerAPIClient
}

func (secrets) DescribeSecret(context.Context, *secretsmanager.DescribeSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error) {
	return &secretsmanager.DescribeSecretOutput{VersionIdsToStages: map[string][]string{"v1": {"AWSCURRENT"}}}, nil
}

func (secrets) GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	return &secretsmanager.GetSecretValueOutput{SecretString: aws.String(fakeKey), VersionId: aws.String("v1")}, nil
}

func oauth2Read(testing.TB) func() error {
	src := oauth2.ReuseTokenSource(nil, oauth2.StaticTokenSource(&oauth2.Token{
		AccessToken: fakeKey, Expiry: time.Now().Add(time.Hour),
	}))
	return func() error {
		_, err := src.Token()
		return err
	}
}

// workloadRead is the cache inside openai-go's workload identity.
func workloadRead(tb testing.TB) func() error {
	wia, err := auth.NewWorkloadIdentityAuth(auth.WorkloadIdentity{
		IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", Provider: subject{},
	})
	must(tb, err)
	ctx, doer := context.Background(), exchange{}
	return func() error {
		_, err := wia.GetToken(ctx, doer)
		return err
	}
}

type subject struct{}

func (subject) TokenType() auth.SubjectTokenType { return auth.SubjectTokenTypeJWT }

func (subject) GetToken(context.Context, auth.HTTPDoer) (string, error) { return "jwt-CANARY", nil }

// exchange answers as the token endpoint.
type exchange struct{}

func (exchange) Do(req *http.Request) (*http.Response, error) { return exchanged(fakeKey, req), nil }

func exchanged(token string, req *http.Request) *http.Response {
	body := fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":7200}`, token)
	return &http.Response{
		StatusCode: http.StatusOK, ContentLength: int64(len(body)), Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}
