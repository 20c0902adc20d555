package azureidentity_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// clock is a wall clock that a test sets.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }
func fresh(n int) string                 { return fmt.Sprintf("eyJ.CANARY-fresh-%d", n) }
func expiry(v credential.Value) string   { return v.Expires.Format(time.TimeOnly) }

// eventually reads the cache until ok, because refreshes are detached.
func eventually(t *testing.T, cache *credential.Cache, ok func(credential.Value) bool) credential.Value {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		v, err := cache.Retrieve(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if ok(v) {
			return v
		}
		<-tick.C
	}
}

// A token lives a day, and the SDK hints at half of it. The endpoint is down
// from then on for 30 minutes.
func TestAnOutageOfTheEndpointIsUnnoticedWhileTheTokenLives(t *testing.T) {
	azuretest.ClearEnv(t)
	id := azuretest.NewIdentity(t, "")
	id.SetFresh(fresh)
	c := &clock{}
	id.SetNow(c.now)
	src := newSource(t, &azureidentity.Options{Transport: id.HTTP().Transport, ClientOptions: quick()})
	cache := newCache(t, src, &credential.CacheOptions{Now: c.now})
	first := eventually(t, cache, func(credential.Value) bool { return true })
	if id.Requests() != 1 {
		t.Fatalf("%d requests for the first token", id.Requests())
	}

	c.forward(11 * time.Hour)
	if eventually(t, cache, func(credential.Value) bool { return true }); id.Requests() != 1 {
		t.Errorf("%d requests after 11 hours, want no refresh so early", id.Requests())
	}

	id.Fail(outage, "{}")
	c.forward(time.Hour + time.Minute)
	for range 30 {
		before := id.Requests()
		v := eventually(t, cache, func(credential.Value) bool { return true })
		if !v.Secret.Equal(first.Secret) {
			t.Fatal("another token in the outage")
		}
		// The cool-down is over each minute: a refresh is under way.
		eventually(t, cache, func(credential.Value) bool { return id.Requests() > before })
		c.forward(2 * time.Minute)
	}

	id.Heal()
	next := eventually(t, cache, func(v credential.Value) bool { return !v.Secret.Equal(first.Secret) })
	if !next.Expires.After(first.Expires) {
		t.Errorf("the new token expires at %s, the old one at %s", expiry(next), expiry(first))
	}
}

// The hint of the authority decides, not the expiry.
func TestTheRefreshHintOfTheIssuerIsKept(t *testing.T) {
	azuretest.ClearEnv(t)
	a := azuretest.NewAuthority(t, secret, token1)
	a.SetLife(24*time.Hour, 6*time.Hour)
	principal(t, a, secret)
	v, err := newSource(t, &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true}).Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(v.RefreshAfter).Round(time.Minute); left != 6*time.Hour {
		t.Errorf("RefreshAfter is in %v, want 6h", left)
	}
}

func newClient(t *testing.T, server *clienttest.Server, src credential.Source) *client.Client {
	t.Helper()
	server.SetFlavor(clienttest.AzureOpenAI)
	t.Cleanup(server.Close)
	c, err := client.New(client.Config{Source: src, BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func chat(t *testing.T, c *client.Client) error {
	t.Helper()
	_, err := c.Post(t.Context(), "chat/completions", map[string]any{"model": "m", "messages": []any{map[string]string{"role": "user", "content": "hi"}}}, nil)
	return err
}

func TestARevokedAccessIsHandledWithOneReplay(t *testing.T) {
	for name, set := range map[string]func(t *testing.T) (*azuretest.Tokens, *azureidentity.Options){
		"managed identity": func(t *testing.T) (*azuretest.Tokens, *azureidentity.Options) {
			id := azuretest.NewIdentity(t, "")
			return &id.Tokens, &azureidentity.Options{Transport: id.HTTP().Transport, ClientOptions: quick()}
		},
		"service principal": func(t *testing.T) (*azuretest.Tokens, *azureidentity.Options) {
			a := azuretest.NewAuthority(t, secret, "")
			principal(t, a, secret)
			return &a.Tokens, &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			azuretest.ClearEnv(t)
			tokens, opts := set(t)
			tokens.SetFresh(fresh)
			server := clienttest.NewServer(fresh(1), fresh(2))
			c := newClient(t, server, newSource(t, opts))
			if err := chat(t, c); err != nil {
				t.Fatal(err)
			}
			server.Inject(clienttest.CAEChallenge.Fault())
			server.Revoke(fresh(1))
			if err := chat(t, c); err != nil {
				t.Fatalf("the call in which access was revoked: %v", err)
			}
			if sent := server.Stats().Requests; sent != 3 {
				t.Errorf("%d requests for two calls, want 3", sent)
			}
			asked := tokens.Asked()
			if len(asked) != 2 {
				t.Fatalf("%d tokens, want 2", len(asked))
			}
			// The endpoint of a managed identity takes no claims.
			if claims := asked[1].Get("claims"); name == "service principal" && !strings.Contains(claims, `"nbf"`) {
				t.Errorf("claims are %q, want the challenge's", claims)
			}
		})
	}
}

func TestAMissingRoleIsReturnedAtOnce(t *testing.T) {
	azuretest.ClearEnv(t)
	id := azuretest.NewIdentity(t, token1)
	server := clienttest.NewServer(token1)
	fault := clienttest.AzurePermissionDenied.Fault()
	fault.Times = -1
	server.Inject(fault)
	err := chat(t, newClient(t, server, newSource(t, nil)))
	e := (*client.Error)(nil)
	if !errors.As(err, &e) || e.StatusCode != http.StatusUnauthorized || e.Code != "PermissionDenied" {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(e.Hint(), "Cognitive Services OpenAI User") {
		t.Errorf("the hint %q does not name the role", e.Hint())
	}
	if server.Stats().Requests != 1 || id.Requests() != 1 {
		t.Errorf("%d sends and %d tokens, want one each", server.Stats().Requests, id.Requests())
	}
}

// challenge is an answer of the service that asks for claims.
func challenge(claims string) string {
	return `Bearer realm="", error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(claims)) + `"`
}

func TestTheSameTokenAgainMeansStop(t *testing.T) {
	azuretest.ClearEnv(t)
	id := azuretest.NewIdentity(t, token1)
	src := newSource(t, nil)
	v, err := src.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"", challenge(`{"access_token":{}}`), `Bearer error="insufficient_claims", claims="***"`} {
		_, err = src.Renew(t.Context(), credential.Rejection{Value: v, StatusCode: 401, Challenge: header})
		refusal{wants: []string{"the same token again", azureidentity.DefaultScope}}.check(t, err)
	}
	// Under a cache that is the end: no polling for a token that cannot come.
	cache := newCache(t, src, nil)
	v, err = cache.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cache.Accept(v)
	before := id.Requests()
	if _, err = cache.Replace(t.Context(), credential.Rejection{Value: v, StatusCode: 401}); !errors.Is(err, credential.ErrRejected) {
		t.Errorf("Replace: %v", err)
	}
	if n := id.Requests() - before; n != 1 {
		t.Errorf("%d requests for one rejection", n)
	}
}

func TestAChallengeIsPassedOnOnce(t *testing.T) {
	azuretest.ClearEnv(t)
	a := azuretest.NewAuthority(t, secret, "")
	a.SetFresh(fresh)
	principal(t, a, secret)
	src := newSource(t, &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true})
	v, err := src.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := credential.Rejection{Value: v, StatusCode: 401, Challenge: challenge(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`)}
	if r.Value, err = src.Renew(t.Context(), r); err != nil || r.Value.Secret.Reveal() != fresh(2) {
		t.Fatalf("the first challenge: %v", err)
	}
	_, err = src.Renew(t.Context(), r)
	refusal{wants: []string{"issued for its own challenge", "conditional access"}}.check(t, err)
	if asked := a.Asked(); len(asked) != 2 || !strings.Contains(asked[1].Get("claims"), `"nbf"`) {
		t.Errorf("%d tokens, want 2, the second with the claims", len(asked))
	}
}

// Entra's tokens are in a cache of the SDK. A token that is refused although
// it has not expired, by a service whose clock differs say, needs another.
func TestARejectionPassesOverTheCacheOfTheSDK(t *testing.T) {
	azuretest.ClearEnv(t)
	a := azuretest.NewAuthority(t, secret, "")
	a.SetFresh(fresh)
	principal(t, a, secret)
	src := newSource(t, &azureidentity.Options{Transport: a.Client().Transport, ClientOptions: quick(), DisableInstanceDiscovery: true})
	v, err := src.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := src.Retrieve(t.Context()); err != nil || !again.Secret.Equal(v.Secret) {
		t.Fatalf("the SDK has no cache any more? %v", err)
	}
	if next, err := src.Renew(t.Context(), credential.Rejection{Value: v, StatusCode: 401}); err != nil || next.Secret.Equal(v.Secret) {
		t.Errorf("Renew gave the rejected token, or %v", err)
	}
}

const crowd = 1000

// In the bubble time is exact: 100 ms are 100 ms.
func TestAThousandCallersLeaveAtTheirDeadline(t *testing.T) {
	azuretest.ClearEnv(t)
	t.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
	t.Setenv("IDENTITY_HEADER", "CANARY")
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		deaf := &http.Client{Transport: trip(func(*http.Request) (*http.Response, error) {
			<-hung // whatever becomes of the context
			return nil, http.ErrServerClosed
		})}
		src := newSource(t, &azureidentity.Options{Transport: deaf.Transport})
		begin := time.Now()
		var wg sync.WaitGroup
		for _, asked := range []credential.Source{src, newCache(t, src, nil)} {
			for range crowd {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					defer cancel()
					if _, err := asked.Retrieve(ctx); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("got %v", err)
					}
				})
			}
		}
		wg.Wait()
		if took := time.Since(begin); took != 100*time.Millisecond {
			t.Errorf("the last of %d callers returned after %v", 2*crowd, took)
		}
		close(hung)
		<-time.After(time.Minute) // the SDK repeats
	})
}

// The same over real connections: all are back while the endpoint hangs.
func TestAThousandCallersLeaveAnEndpointThatHangs(t *testing.T) {
	azuretest.ClearEnv(t)
	id := azuretest.NewIdentity(t, token1)
	cache := newCache(t, newSource(t, nil), nil)
	release := id.Hang()
	var wg sync.WaitGroup
	for range crowd {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := cache.Retrieve(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if n := id.Requests(); n > 1 {
		t.Errorf("%d requests for one token", n)
	}
	release()
	if _, err := cache.Retrieve(t.Context()); err != nil {
		t.Errorf("after the hang: %v", err)
	}
}

func TestAHundredCallsStartOneAz(t *testing.T) {
	azuretest.ClearEnv(t)
	az := azuretest.NewAz(t, token1)
	server := clienttest.NewServer(token1)
	c := newClient(t, server, newSource(t, nil))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 10 {
				if err := chat(t, c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if az.Runs() != 1 || server.Stats().OK != 100 {
		t.Errorf("%d processes for %d calls, want 1 for 100", az.Runs(), server.Stats().OK)
	}
}
