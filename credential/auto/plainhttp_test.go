package auto_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// public is an address that nobody has, and no network of the machine's own.
const public = "http://192.0.2.1"

// A stranger is a server that is on another machine, as far as a source can
// tell. It is to get nothing.
type stranger struct {
	t        *testing.T
	url      string
	address  string
	requests atomic.Int32
}

func newStranger(t *testing.T) *stranger {
	t.Helper()
	far := ""
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			far = n.IP.String()
		}
	}
	if far == "" {
		t.Skip("this machine has no address but loopback")
	}
	l, err := net.Listen("tcp4", far+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{t: t, url: "http://" + l.Addr().String(), address: l.Addr().String()}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.requests.Add(1)
		fmt.Fprint(w, `{}`)
	}))
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return s
}

// moved is a server on this machine that redirects to the stranger.
func (s *stranger) moved(t *testing.T, status int) string {
	t.Helper()
	srv := httptest.NewServer(http.RedirectHandler(s.url, status))
	t.Cleanup(srv.Close)
	return srv.URL
}

// lies is a transport that dials the stranger, whatever a request names.
func (s *stranger) lies() http.RoundTripper {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.address)
	}}
}

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answers is a transport that answers https in memory, and sends on what is
// plain http.
func answers(status int, header, value string) http.RoundTripper {
	return answering(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme != "https" {
			return http.DefaultTransport.RoundTrip(r)
		}
		return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{header: {value}}, Body: http.NoBody, Request: r}, nil
	})
}

type entra struct{}

func (entra) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "CANARY", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func must[S credential.Source](src S, err error) credential.Source {
	if err != nil {
		return credential.SourceFunc(func(context.Context) (credential.Value, error) { return credential.Value{}, err })
	}
	return src
}

type way = func(t *testing.T, s *stranger) credential.Source

// secret and parameter are sources on AWS, with keys of the environment.
func secret(env map[string]string, opts *awssecretsmanager.Options) credential.Source {
	return amazon(env, must(awssecretsmanager.New("prod/openai", opts)))
}

func parameter(env map[string]string, opts *awsparameterstore.Options) credential.Source {
	return amazon(env, must(awsparameterstore.New("/prod/openai", opts)))
}

// withEnv sets vars when it is read: a test has cleared them before.
type withEnv struct {
	credential.Source
	env map[string]string
}

func amazon(env map[string]string, src credential.Source) credential.Source {
	all := awstest.Caller().Env("eu-west-1")
	all["AWS_MAX_ATTEMPTS"] = "1"
	for name, value := range env {
		all[name] = value
	}
	return withEnv{src, all}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Each variable, option, profile, proxy and redirect that could lead a credential
// to another machine over plain http.
func TestNoCredentialGoesToAnotherMachineInClear(t *testing.T) {
	s := newStranger(t)
	ways := 0
	for _, group := range []map[string]way{waysOfAWS(), waysOfAWSIdentities(), waysOfTheOtherAWS(), waysOfAzure(), waysOfVault(), waysOfOpenAI()} {
		ways += len(group)
		for name, make := range group {
			t.Run(name, func(t *testing.T) {
				awstest.NoAWS(t)
				azuretest.ClearEnv(t)
				for _, entry := range os.Environ() {
					if variable, _, _ := strings.Cut(entry, "="); strings.HasPrefix(variable, "VAULT_") || strings.HasSuffix(strings.ToUpper(variable), "_PROXY") {
						t.Setenv(variable, "")
					}
				}
				t.Setenv("HOME", t.TempDir())
				s.requests.Store(0)
				src := make(t, s)
				if e, ok := src.(withEnv); ok {
					awstest.Setenv(t, e.env)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				_, err := src.Retrieve(ctx)
				switch n := s.requests.Load(); {
				case n != 0:
					t.Errorf("%d requests to another machine (%v)", n, err)
				case err == nil || strings.Contains(err.Error(), "CANARY"):
					t.Error("it has a value, or shows a secret")
				case ctx.Err() != nil:
					t.Errorf("it hung: %v", err)
				}
			})
		}
	}
	if ways < 40 {
		t.Errorf("%d ways, want 40", ways)
	}
}
