package awsextension_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsextension"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

const (
	secretName = "prod/openai"
	oldKey     = "sk-CANARY-old"
	newKey     = "sk-CANARY-new"
)

// quiet takes what could decide a test out of the environment.
func quiet(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
		"AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "AWS_REGION"} {
		t.Setenv(name, "")
	}
	// A proxy must not see the token.
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
}

// start starts an extension where the environment says that it is.
func start(t *testing.T) *awstest.Extension {
	t.Helper()
	quiet(t)
	ext := awstest.NewExtension(awstest.NewSecretsManager())
	server := httptest.NewServer(ext)
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", at.Port())
	t.Setenv("AWS_SESSION_TOKEN", ext.Token)
	return ext
}

func newSource(t *testing.T, opts *awsextension.Options) *awsextension.Source {
	t.Helper()
	src, err := awsextension.New(secretName, opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestSourceKeepsTheRules(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			ext := start(t)
			put := func(secret string) {
				doc, err := json.Marshal(map[string]string{"key": secret})
				if err != nil {
					t.Fatal(err)
				}
				ext.Store.PutBinary(secretName, doc)
			}
			put(secret)
			return credentialtest.Harness{
				// What the extension keeps must not hide a rotation here: see
				// TestARejectionGoesPastTheCacheOfTheExtension.
				Source: always{newSource(t, &awsextension.Options{Field: "key"})},
				Rotate: put,
				Fail:   func() { ext.Fail(awstest.Fault{Status: 500}) },
				NotFound: func() {
					ext.Store.Delete(secretName)
				},
				Hang: func() { ext.Fail(awstest.Fault{Hang: true}) },
			}
		},
		HTTP: func(t *testing.T, transport http.RoundTripper) credential.Source {
			start(t)
			return newSource(t, &awsextension.Options{Transport: transport})
		},
		File: func(t *testing.T, path string) credential.Source {
			start(t)
			return newSource(t, &awsextension.Options{TokenFile: path})
		},
		Unavailable: func(t *testing.T) credential.Source {
			quiet(t)
			return newSource(t, &awsextension.Options{TokenFile: filepath.Join(t.TempDir(), "none")})
		},
	})
}

// always goes past the extension's cache.
type always struct{ *awsextension.Source }

func (a always) Retrieve(ctx context.Context) (credential.Value, error) {
	return a.Renew(ctx, credential.Rejection{})
}

func newClient(t *testing.T, src credential.Source, api *clienttest.Service) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Source: src, Transport: api, BaseURL: client.DefaultBaseURL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func call(t *testing.T, c *client.Client) {
	t.Helper()
	if _, err := c.Post(t.Context(), "chat/completions", map[string]any{"model": "m", "messages": []map[string]string{{"role": "user", "content": "x"}}}, nil); err != nil {
		t.Errorf("call: %v", err)
	}
}

func TestARejectionGoesPastTheCacheOfTheExtension(t *testing.T) {
	ext := start(t)
	ext.Store.Put(secretName, oldKey)
	api := clienttest.NewService(oldKey)
	c := newClient(t, newSource(t, nil), api)
	call(t, c)
	ext.Store.Put(secretName, newKey)
	api.Rotate(newKey)
	call(t, c)
	want := []string{"secretId=prod%2Fopenai", "refreshNow=true&secretId=prod%2Fopenai"}
	if got := ext.Queries(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("queries %q, want %q", got, want)
	}
}

// The gap between setSecret and finishSecret, with what the extension keeps in
// the way.
func TestThePendingVersionIsTheStandby(t *testing.T) {
	ext := start(t)
	ext.Store.Put(secretName, oldKey)
	api := clienttest.NewService(oldKey)
	c := newClient(t, newSource(t, &awsextension.Options{StandbyStage: "AWSPENDING"}), api)
	call(t, c)
	ext.Store.PutAt(secretName, newKey, awstest.Pending)
	api.Rotate(newKey)
	call(t, c)
	if err := ext.Store.Promote(secretName); err != nil {
		t.Fatal(err)
	}
	call(t, c)
	// Another rotation, while the standby is in use.
	ext.Store.Put(secretName, "sk-CANARY-third")
	api.Rotate("sk-CANARY-third")
	call(t, c)
}

func TestTwoFieldsCostOneRequestAlsoWhenCached(t *testing.T) {
	ext := start(t)
	ext.Store.Put(secretName, `{"a":"sk-CANARY-1","b":"sk-CANARY-2"}`)
	api := clienttest.NewService("sk-CANARY-1")
	c := newClient(t, newSource(t, &awsextension.Options{Field: "a", StandbyField: "b"}), api)
	call(t, c)
	ext.Store.Put(secretName, `{"a":"sk-CANARY-1","b":"sk-CANARY-3"}`)
	api.Rotate("sk-CANARY-3")
	call(t, c)
	if n := len(ext.Queries()); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	// The second key dies as well, while it is in use.
	ext.Store.Put(secretName, `{"a":"sk-CANARY-4","b":"sk-CANARY-3"}`)
	api.Rotate("sk-CANARY-4")
	call(t, c)
}

// What the extension keeps is of no use to whom the service has rejected.
func TestAStandbyDoesNotGetWhatTheExtensionKeeps(t *testing.T) {
	const before, after = `{"a":"sk-CANARY-1","b":"sk-CANARY-2"}`, `{"a":"sk-CANARY-3","b":"sk-CANARY-4"}`
	for name, c := range map[string]struct {
		opts awsextension.Options
		want string
	}{
		"field":            {awsextension.Options{Field: "a", StandbyField: "b"}, "sk-CANARY-4"},
		"stage":            {awsextension.Options{Field: "a", StandbyStage: "AWSPREVIOUS"}, "sk-CANARY-1"},
		"stage, and a pin": {awsextension.Options{Field: "a", StandbyStage: "AWSPREVIOUS", Version: "00000000-0000-4000-8000-000000000001"}, "sk-CANARY-1"},
	} {
		t.Run(name, func(t *testing.T) {
			ext := start(t)
			ext.Store.PutAt(secretName, `{"a":"sk-CANARY-0"}`, awstest.Previous)
			ext.Store.Put(secretName, before)
			src := newSource(t, &c.opts)
			if _, err := src.Standby().Retrieve(t.Context()); err != nil { // the extension keeps it
				t.Fatal(err)
			}
			if _, err := src.Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
			ext.Store.Put(secretName, after)
			if c.opts.StandbyField == "" {
				_, _ = src.Renew(t.Context(), credential.Rejection{}) // a pin makes it fail
				v, err := src.Standby().Retrieve(t.Context())
				if err != nil || v.Secret.Reveal() != c.want {
					t.Errorf("the standby gave another key than the store has (%v)", err)
				}
				return
			}
			if _, err := src.Retrieve(t.Context()); err != nil { // an ordinary refresh
				t.Fatal(err)
			}
			v, err := src.Standby().(credential.Renewer).Renew(t.Context(), credential.Rejection{})
			if err != nil || v.Secret.Reveal() != c.want {
				t.Errorf("the standby gave another key than the store has (%v)", err)
			}
		})
	}
}

func TestAnExtensionThatIsNotReadyIsAskedAgain(t *testing.T) {
	for name, agent := range map[string]bool{"extension": false, "agent": true} {
		t.Run(name, func(t *testing.T) {
			ext := start(t)
			ext.Agent = agent
			ext.Store.Put(secretName, oldKey)
			ext.NotReady(3)
			if _, err := newSource(t, nil).Retrieve(t.Context()); err != nil {
				t.Errorf("after three answers that it is not ready: %v", err)
			}
			ext.NotReady(-1)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := newSource(t, nil).Retrieve(ctx)
			wantError(t, err, nil, true, "not ready")
		})
	}
}

// Warm gives up in init; the read goes on, and the first call has its key.
func TestTheFirstCallJoinsTheReadThatWarmBegan(t *testing.T) {
	ext := start(t)
	ext.Store.Put(secretName, oldKey)
	ext.NotReady(-1)
	c := newClient(t, newSource(t, nil), clienttest.NewService(oldKey))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := c.Warm(ctx); err == nil {
		t.Error("Warm succeeded without the extension")
	}
	ext.NotReady(0)
	call(t, c)
}

func TestTheTokenComesFromWhereAWSSaysAtEachRead(t *testing.T) {
	ext := start(t)
	ext.Store.Put(secretName, oldKey)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(ext.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	src, withFile := newSource(t, nil), newSource(t, &awsextension.Options{TokenFile: file})
	for _, c := range []struct {
		env  map[string]string
		src  *awsextension.Source
		good bool
	}{
		{map[string]string{}, src, true},
		{map[string]string{"AWS_SESSION_TOKEN": "CANARY-wrong"}, src, false},
		{map[string]string{"AWS_SESSION_TOKEN": "CANARY-wrong"}, withFile, true},
		{map[string]string{"AWS_SESSION_TOKEN": "CANARY-wrong", "AWS_TOKEN": ext.Token}, src, true},
		{map[string]string{"AWS_SESSION_TOKEN": "CANARY-wrong", "AWS_TOKEN": "file://" + file}, src, true},
		{map[string]string{"AWS_SESSION_TOKEN": "", "AWS_TOKEN": "", "AWS_CONTAINER_AUTHORIZATION_TOKEN": ext.Token}, src, true},
		{map[string]string{"AWS_SESSION_TOKEN": "two\nlines CANARY", "AWS_CONTAINER_AUTHORIZATION_TOKEN": ""}, src, false},
	} {
		for name, value := range c.env {
			t.Setenv(name, value)
		}
		_, err := c.src.Retrieve(t.Context())
		if c.good && err != nil {
			t.Errorf("%v", err)
		} else if !c.good {
			wantError(t, err, nil, false, "token")
		}
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	for id, opts := range map[string]*awsextension.Options{
		"": nil, "sk-CANARY": nil, "a b": nil, "arn:aws:s3:::b": nil,
		"x": {Version: "1", Stage: "2"}, "y": {StandbyField: "b"}, "z": {Field: "/~"},
	} {
		if _, err := awsextension.New(id, opts); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("New accepted nonsense, or showed it (%T)", err)
		}
	}
	var zero awsextension.Source
	if _, err := zero.Retrieve(t.Context()); err == nil || zero.Standby() != nil || zero.String() != "awsextension" {
		t.Error("the zero Source does not fail, or has a standby")
	}
}

func TestAPinnedVersionSaysThatItIsPinned(t *testing.T) {
	ext := start(t)
	id := ext.Store.Put(secretName, oldKey)
	ext.Store.Put(secretName, newKey)
	src := newSource(t, &awsextension.Options{Version: id})
	v, err := src.Retrieve(t.Context())
	if err != nil || v.Version != id {
		t.Fatalf("version %q, %v", v.Version, err)
	}
	if v.RefreshAfter.IsZero() {
		t.Error("the value does not ask to be read again soon")
	}
	_, err = src.Renew(t.Context(), credential.Rejection{Value: v})
	wantError(t, err, nil, false, "pins version")
}

// That localhost is this machine is checked by package leaf.
func TestTheTokenFollowsNoRedirect(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer stranger.Close()
	ext := start(t)
	ext.Fail(awstest.Fault{Status: 302, Header: http.Header{"Location": {stranger.URL}}})
	_, err := newSource(t, nil).Retrieve(t.Context())
	wantError(t, err, nil, true, "status 302")
}
