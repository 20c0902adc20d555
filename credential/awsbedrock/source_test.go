package awsbedrock_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsbedrock"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

const region = "eu-west-1"

func newSource(t *testing.T, opts *awsbedrock.Options) *awsbedrock.Source {
	t.Helper()
	src, err := awsbedrock.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func wantError(t *testing.T, err, target error, transient bool, parts ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "CANARY") {
		t.Errorf("the error (a %T) shows what it must not", err)
		return
	}
	if target != nil && !errors.Is(err, target) || target == nil && errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("%v: wraps ErrUnavailable: %t", err, errors.Is(err, credential.ErrUnavailable))
	}
	if se := (*credential.SourceError)(nil); errors.As(err, &se) && se.Transient != transient {
		t.Errorf("%v: Transient is %t", err, se.Transient)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: does not say %q", err, part)
		}
	}
}

// An issuer gives out AWS credentials whose session token is a secret.
type issuer struct {
	mu   sync.Mutex
	id   awstest.Identity
	err  error
	hang bool
}

func newIssuer(secret string) *issuer {
	i := &issuer{}
	i.set(secret)
	return i
}

func (i *issuer) set(secret string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.id = awstest.Caller()
	i.id.SessionToken = secret
}

func (i *issuer) identity() awstest.Identity {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.id
}

func (i *issuer) fail(err error, hang bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err, i.hang = err, hang
}

// Retrieve is that of an aws.CredentialsProvider.
func (i *issuer) Retrieve(ctx context.Context) (aws.Credentials, error) {
	i.mu.Lock()
	id, err, hang := i.id, i.err, i.hang
	i.mu.Unlock()
	if hang {
		<-ctx.Done()
		return aws.Credentials{}, context.Cause(ctx)
	}
	return aws.Credentials{AccessKeyID: id.AccessKeyID, SecretAccessKey: id.SecretAccessKey, SessionToken: id.SessionToken,
		CanExpire: true, Expires: time.Now().Add(time.Hour)}, err
}

// checked is a Source whose tokens a Bedrock has checked; the secret is then
// the session token in it, which a test chooses.
type checked struct {
	*awsbedrock.Source
	identity func() awstest.Identity
}

func (c checked) Retrieve(ctx context.Context) (credential.Value, error) {
	return c.check(c.Source.Retrieve(ctx))
}

func (c checked) Renew(ctx context.Context, r credential.Rejection) (credential.Value, error) {
	return c.check(c.Source.Renew(ctx, r))
}

func (c checked) check(v credential.Value, err error) (credential.Value, error) {
	if err != nil {
		return v, err
	}
	id, err := awstest.NewBedrock(c.identity()).Check(v.Secret.Reveal(), time.Now())
	if err != nil {
		return v, err
	}
	v.Secret = credential.NewSecret(id.SessionToken)
	return v, nil
}

func TestSourceKeepsTheRules(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		Scheme: credential.BearerToken,
		New: func(t *testing.T, secret string) credentialtest.Harness {
			from := newIssuer(secret)
			return credentialtest.Harness{
				Source: checked{newSource(t, &awsbedrock.Options{Region: region, Credentials: from}), from.identity},
				Rotate: from.set,
				Fail:   func() { from.fail(errors.New("CANARY"), false) },
				Hang:   func() { from.fail(nil, true) },
			}
		},
		Unavailable: func(t *testing.T) credential.Source {
			awstest.NoAWS(t)
			return newSource(t, nil)
		},
	})
}

// The tokens in this test are those of AWS's own generator
// (@aws/bedrock-token-generator 1.1.0 on npm) at the time at which the bubble
// begins.
func TestATokenIsTheOneThatTheGeneratorOfAWSMakes(t *testing.T) {
	const before = "bedrock.amazonaws.com/?Action=CallWithBearerToken&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIACANARY0000000001%2F20000101%2F"
	for _, c := range []struct {
		session, region string
		lifetime        time.Duration
		want            string
	}{
		{"CANARY-session+token/0==", "eu-west-1", time.Hour, "eu-west-1%2Fbedrock%2Faws4_request&X-Amz-Date=20000101T000000Z&X-Amz-Expires=3600" +
			"&X-Amz-Security-Token=CANARY-session%2Btoken%2F0%3D%3D&X-Amz-Signature=d5118f7a00a46bbf292735bc9b4d50d399256398d5804f34ec087bdc98934c46&X-Amz-SignedHeaders=host&Version=1"},
		{"", "us-west-2", 0, "us-west-2%2Fbedrock%2Faws4_request&X-Amz-Date=20000101T000000Z&X-Amz-Expires=43200" +
			"&X-Amz-Signature=b52b20d2eeaa6c91ae5772d6b32c0916c1d0cf8a77eea026e48515a123b239c4&X-Amz-SignedHeaders=host&Version=1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			id := awstest.Caller()
			src := newSource(t, &awsbedrock.Options{Region: c.region, Lifetime: c.lifetime,
				Credentials: credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, c.session)})
			v, err := src.Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if v.Secret.Reveal() != "bedrock-api-key-"+base64.StdEncoding.EncodeToString([]byte(before+c.want)) {
				t.Errorf("%s: the token is another one", c.region)
			}
			life := c.lifetime
			if life == 0 {
				life = 12 * time.Hour
			}
			if left := time.Until(v.Expires); left != life || v.Scheme != credential.BearerToken || v.Source != "awsbedrock:"+c.region {
				t.Errorf("a %v of %s that is good for %v, want %v", v.Scheme, v.Source, left, life)
			}
		})
	}
}

func TestATokenEndsWithTheCredentialsThatItIsMadeOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := awstest.Caller()
		end := time.Now().Add(90 * time.Minute)
		keys := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: id.AccessKeyID, SecretAccessKey: id.SecretAccessKey, CanExpire: true, Expires: end}, nil
		})
		src := newSource(t, &awsbedrock.Options{Region: region, Credentials: keys})
		if v, err := src.Retrieve(t.Context()); err != nil || !v.Expires.Equal(end) {
			t.Errorf("expires %v, %v; want %v", v.Expires, err, end)
		}
		<-time.After(90 * time.Minute)
		_, err := src.Retrieve(t.Context())
		wantError(t, err, nil, true, "have expired", "aws sso login")
	})
}

// A Cache tells by this that a read after a rejection has brought nothing new.
func TestTheSameCredentialsGiveTheSameTokenWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, &awsbedrock.Options{Region: region, Credentials: credentials.NewStaticCredentialsProvider("AKIACANARY", "CANARY", "")})
		var tokens []string
		for _, pause := range []time.Duration{0, 59 * time.Second, time.Second} {
			<-time.After(pause)
			v, err := src.Renew(t.Context(), credential.Rejection{})
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, v.Secret.Reveal())
		}
		if tokens[0] != tokens[1] || tokens[1] == tokens[2] {
			t.Errorf("the same within a minute: %t, another one after it: %t", tokens[0] == tokens[1], tokens[1] != tokens[2])
		}
	})
}

// service is the platform's endpoint for AWS credentials in a container, and a
// Bedrock.
func service(t *testing.T, ids ...awstest.Identity) (bedrock *awstest.Bedrock, base string, fetched *atomic.Int64) {
	t.Helper()
	awstest.NoAWS(t)
	bedrock, fetched = awstest.NewBedrock(ids[0]), &atomic.Int64{}
	mux := http.NewServeMux()
	mux.Handle("/openai/v1/", bedrock)
	mux.HandleFunc("/credentials", func(w http.ResponseWriter, _ *http.Request) {
		id := ids[min(int(fetched.Add(1)), len(ids))-1]
		_ = json.NewEncoder(w).Encode(map[string]string{"AccessKeyId": id.AccessKeyID, "SecretAccessKey": id.SecretAccessKey, "Token": id.SessionToken,
			"Expiration": time.Now().Add(6 * time.Hour).UTC().Format(time.RFC3339)})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	awstest.Setenv(t, map[string]string{"AWS_REGION": region, "AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL + "/credentials"})
	return bedrock, server.URL + "/openai/v1", fetched
}

func ask(t *testing.T, c *client.Client) error {
	t.Helper()
	_, err := c.Post(t.Context(), "chat/completions", map[string]any{"model": "m", "messages": []map[string]string{{"role": "user", "content": "x"}}}, nil)
	return err
}

func TestCallsReachBedrockWithTheRoleOfAContainer(t *testing.T) {
	bedrock, base, fetched := service(t, awstest.Caller())
	c, err := client.New(client.Config{Source: newSource(t, nil), BaseURL: base})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := ask(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if good, bad := bedrock.Served(); good != 5 || bad != 0 || fetched.Load() != 1 {
		t.Errorf("%d calls served, %d refused, credentials fetched %d times", good, bad, fetched.Load())
	}
}

func TestRevokedCredentialsAreFetchedAnewAndTheCallSucceeds(t *testing.T) {
	first, second := awstest.Caller(), awstest.Caller()
	second.SessionToken = "CANARY-session-token-2"
	bedrock, base, fetched := service(t, first, second)
	c, err := client.New(client.Config{Source: newSource(t, nil), BaseURL: base})
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(t, c); err != nil {
		t.Fatal(err)
	}
	bedrock.Admit(second) // the role's sessions were revoked
	if err := ask(t, c); err != nil {
		t.Errorf("the call after the revocation: %v", err)
	}
	if good, bad := bedrock.Served(); good != 2 || bad != 1 || fetched.Load() != 2 {
		t.Errorf("%d calls served, %d refused, credentials fetched %d times", good, bad, fetched.Load())
	}
}

func TestBedrockRefusesATokenThatWasChanged(t *testing.T) {
	from := newIssuer("CANARY")
	bedrock := awstest.NewBedrock(from.identity())
	token := func(opts awsbedrock.Options) string {
		opts.Credentials = from
		v, err := newSource(t, &opts).Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return v.Secret.Reveal()
	}
	good := token(awsbedrock.Options{Region: region})
	if _, err := bedrock.Check(good, time.Now()); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	encoded, _ := strings.CutPrefix(good, "bedrock-api-key-")
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	longer := strings.Replace(string(text), "X-Amz-Expires=43200", "X-Amz-Expires=43199", 1)
	for name, bad := range map[string]string{
		"another region":  token(awsbedrock.Options{Region: "us-east-1"}),
		"another life":    "bedrock-api-key-" + base64.StdEncoding.EncodeToString([]byte(longer)),
		"no token at all": "sk-CANARY",
	} {
		if _, err := bedrock.Check(bad, time.Now()); err == nil {
			t.Errorf("%s passed", name)
		}
	}
	if _, err := bedrock.Check(good, time.Now().Add(12*time.Hour)); err == nil {
		t.Error("an expired one passed")
	}
}

func TestAProviderThatIsDeafToItsContextIsLeft(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	src := newSource(t, &awsbedrock.Options{Region: region, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		<-block
		return aws.Credentials{}, nil
	})})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := src.Retrieve(ctx)
	wantError(t, err, nil, true)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v: not the deadline", err)
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	type options = awsbedrock.Options
	static := credentials.NewStaticCredentialsProvider("a", "b", "")
	for _, c := range []struct {
		opts options
		says string
	}{
		{options{Region: "evil.example/"}, "Region is malformed"},
		{options{Lifetime: -1}, "Lifetime"},
		{options{Lifetime: time.Second}, "Lifetime"},
		{options{Lifetime: 12*time.Hour + 1}, "Lifetime"},
		{options{Credentials: static}, "set Region"},
		{options{Credentials: static, Region: region, Transport: http.DefaultTransport}, "no effect"},
	} {
		_, err := awsbedrock.New(&c.opts)
		wantError(t, err, nil, false, c.says)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	id := awstest.Caller()
	for _, c := range []struct {
		env       map[string]string
		opts      *awsbedrock.Options
		target    error
		transient bool
		says      string
	}{
		{nil, nil, credential.ErrUnavailable, false, "which AWS account"},
		{map[string]string{"AWS_ACCESS_KEY_ID": id.AccessKeyID, "AWS_SECRET_ACCESS_KEY": id.SecretAccessKey}, nil, nil, false, "set Region, AWS_REGION"},
		{map[string]string{"AWS_REGION": region}, nil, nil, true, "no credentials"},
		{nil, &awsbedrock.Options{Region: region, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, nil
		})}, nil, false, "have no key"},
		{nil, &awsbedrock.Options{Region: region, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("CANARY")
		})}, nil, true, "could not get AWS credentials"},
	} {
		awstest.NoAWS(t)
		t.Setenv("HOME", t.TempDir())
		awstest.Setenv(t, c.env)
		_, err := newSource(t, c.opts).Retrieve(t.Context())
		wantError(t, err, c.target, c.transient, c.says)
		for name := range c.env {
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTheZeroSourceFailsAndNamesItself(t *testing.T) {
	var src awsbedrock.Source
	if _, err := src.Retrieve(t.Context()); err == nil {
		t.Error("Retrieve succeeded")
	}
	if _, err := (*awsbedrock.Source)(nil).Renew(t.Context(), credential.Rejection{}); err == nil || src.String() != "awsbedrock" {
		t.Errorf("Renew: %v; String %q", err, src.String())
	}
}
