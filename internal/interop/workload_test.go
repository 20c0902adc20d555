package interop_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/auth"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
)

// A federation is OpenAI without a network: its issuer of tokens, which takes
// a second for each, and its API.
type federation struct {
	exchanges atomic.Int32
	down      atomic.Bool
}

func (f *federation) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if r.URL.Host != "auth.openai.com" {
		return jsonResponse(r, http.StatusOK, `{"object":"list","data":[{"id":"gpt-4o-mini","object":"model"}]}`), nil
	}
	f.exchanges.Add(1)
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if f.down.Load() {
		return jsonResponse(r, http.StatusServiceUnavailable, `{}`), nil
	}
	return jsonResponse(r, http.StatusOK, `{"access_token":"`+fakeKey(1)+`","token_type":"Bearer","expires_in":900}`), nil
}

func jsonResponse(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// apiOnly is a transport that an exchange must not go through.
type apiOnly struct {
	t *testing.T
	f *federation
}

func (a apiOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "api.openai.com" {
		a.t.Errorf("a request to %s went through the API's layers", r.URL.Host)
	}
	return a.f.RoundTrip(r)
}

// subjectToken is a JWT with the word that gives a leak away.
const subjectToken = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJ3b3JrbG9hZCJ9." + canary + "-signature"

type workload struct{}

func (workload) TokenType() auth.SubjectTokenType { return auth.SubjectTokenTypeJWT }

func (workload) GetToken(context.Context, auth.HTTPDoer) (string, error) { return subjectToken, nil }

// theirs is openai-go's own client of the federation, without retries: with
// them it repeats the failed calls, and with each the exchange.
func theirs(f *federation) openai.Client {
	return openai.NewClient(option.WithBaseURL("https://api.openai.com/v1/"), option.WithMaxRetries(0),
		option.WithHTTPClient(&http.Client{Transport: f}),
		option.WithWorkloadIdentity(auth.WorkloadIdentity{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", Provider: workload{}}))
}

// ours is openai-go through latchkey.
func ours(t *testing.T, f *federation) openai.Client {
	t.Helper()
	src, err := openaiworkload.New(&openaiworkload.Options{
		IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", Transport: f,
		Token: func(context.Context) (credential.Secret, error) { return credential.NewSecret(subjectToken), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Source: src, Transport: apiOnly{t, f}})
	if err != nil {
		t.Fatal(err)
	}
	return openai.NewClient(c.Options()...)
}

func listModels(ctx context.Context, c openai.Client) error {
	page, err := c.Models.List(ctx)
	if err == nil && len(page.Data) != 1 {
		return errors.New("another list")
	}
	return err
}

// sideBySide runs f in fake time with both clients, each with a federation of
// its own.
func sideBySide(t *testing.T, f func(t *testing.T, c openai.Client, fed *federation, mine bool)) {
	t.Helper()
	t.Setenv("OPENAI_API_KEY", "")
	for name, mine := range map[string]bool{"openai-go": false, "latchkey": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fed := &federation{}
				c := theirs(fed)
				if mine {
					c = ours(t, fed)
				}
				f(t, c, fed, mine)
				<-time.After(time.Hour) // what is left behind ends
			})
		})
	}
}

// either is what a measurement should give for each client.
func either(mine bool, own, other int32) int32 {
	if mine {
		return own
	}
	return other
}

func TestACancelledLeaderOfAnExchangeFailsNobodyElse(t *testing.T) {
	sideBySide(t, func(t *testing.T, c openai.Client, fed *federation, mine bool) {
		const callers = 20
		leader, cancel := context.WithCancel(context.Background())
		led := make(chan error, 1)
		go func() { led <- listModels(leader, c) }()
		synctest.Wait()
		errs := make(chan error, callers)
		for range callers {
			go func() { errs <- listModels(context.Background(), c) }()
		}
		synctest.Wait()
		cancel()
		if err := <-led; !errors.Is(err, context.Canceled) {
			t.Errorf("the leader: %s", shown(err))
		}
		failed := int32(0)
		for range callers {
			if err := <-errs; err != nil {
				failed++
			}
		}
		if want := either(mine, 0, callers); failed != want {
			t.Errorf("%d of %d other callers failed, want %d", failed, callers, want)
		}
		if n := fed.exchanges.Load(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
}

func TestATokenOfFifteenMinutesIsNotExchangedForEachCall(t *testing.T) {
	sideBySide(t, func(t *testing.T, c openai.Client, fed *federation, mine bool) {
		const calls = 100
		for range calls {
			if err := listModels(context.Background(), c); err != nil {
				t.Fatal(shown(err))
			}
			<-time.After(1100 * time.Millisecond) // a refresh in the background ends
		}
		if n, want := fed.exchanges.Load(), either(mine, 1, calls); n != want {
			t.Errorf("%d exchanges for %d calls, want %d", n, calls, want)
		}
	})
}

func TestAnOutageOfTheIssuerIsNotAskedForEachCall(t *testing.T) {
	sideBySide(t, func(t *testing.T, c openai.Client, fed *federation, mine bool) {
		if err := listModels(context.Background(), c); err != nil {
			t.Fatal(shown(err))
		}
		<-time.After(8 * time.Minute) // into the time of the refresh
		fed.down.Store(true)
		const calls = 100
		before := fed.exchanges.Load()
		for range calls {
			if err := listModels(context.Background(), c); err != nil {
				t.Fatalf("the token is good for minutes: %s", shown(err))
			}
			<-time.After(1100 * time.Millisecond)
		}
		n := fed.exchanges.Load() - before
		if most := either(mine, 8, calls); n > most || !mine && n < calls {
			t.Errorf("%d exchanges for %d calls, want at most %d", n, calls, most)
		}
	})
}
