package auto_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

// A condition is what befalls the identity endpoints of a place. The n-th
// request, from 1 on, gets what befall returns; nothing is the endpoint's own
// answer.
type condition struct {
	name   string
	passes bool // a source that is configured gets its credential all the same
	aws    bool // so does one that asks as the SDK of AWS does
	befall func(n int) (status int, body string, err error)
}

func conditions() []condition {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	slow := func(d time.Duration) func(int) (int, string, error) {
		return func(int) (int, string, error) { time.Sleep(d); return 0, "", nil }
	}
	return []condition{
		{"healthy", true, true, func(int) (int, string, error) { return 0, "", nil }},
		{"slow by 0.4 s", true, true, slow(400 * time.Millisecond)},
		{"slow by 2 s", true, false, slow(2 * time.Second)},
		{"slow by 8 s", true, false, slow(8 * time.Second)},
		{"refusing one connection", true, true, func(n int) (int, string, error) {
			if n == 1 {
				return 0, "", refused
			}
			return 0, "", nil
		}},
		{"refusing for 10 minutes", false, false, func(int) (int, string, error) { return 0, "", refused }},
		{"answering nonsense", false, false, func(int) (int, string, error) { return http.StatusOK, "<html>CANARY", nil }},
		{"a proxy in between", false, false, func(int) (int, string, error) { return http.StatusBadGateway, "<html>CANARY", nil }},
	}
}

// A befallen is a world under a condition; nil is none.
type befallen struct {
	*world
	condition *condition
	asked     int
}

func (b *befallen) RoundTrip(r *http.Request) (*http.Response, error) {
	switch host := r.URL.Host; {
	case strings.HasPrefix(host, "secretsmanager."):
		rec, here := httptest.NewRecorder(), r.Clone(r.Context())
		here.Host = host
		b.sm.ServeHTTP(rec, here)
		return rec.Result(), nil
	case b.condition == nil || host != "169.254.169.254" && host != "127.0.0.1:41741":
		return b.world.RoundTrip(r)
	}
	b.asked++
	type answer struct {
		status int
		body   string
		err    error
	}
	n, c, answers := b.asked, b.condition, make(chan answer, 1)
	go func() {
		status, body, err := c.befall(n)
		answers <- answer{status, body, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil || a.status != 0 {
			return &http.Response{StatusCode: a.status, Header: http.Header{"Content-Type": {"text/html"}}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, a.err
		}
		return b.world.RoundTrip(r)
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

// A spot is one of the 120 environments: a reference, a machine, and who has
// left marks there.
type spot struct {
	name, reference, cloud string // whose metadata service the reference wants
	kind                   string // of package platformtest
	env                    vars
	// outcome is "sure", if the source is configured there; "maybe", if only a
	// probe can tell, and the machine is right; "never" otherwise.
	outcome string
}

// arn needs no region in the environment: nothing speaks for AWS but the machine.
func referencesOfClouds() map[string]string {
	return map[string]string{
		"azureidentity://": "azure", keyVaultRef: "azure", workloadRef + "azure-imds&audience=api://openai": "azure",
		arn: "ec2", workloadRef + "gcp": "google",
	}
}

func spots() []spot {
	named := map[string]vars{
		"a client id": {"AZURE_CLIENT_ID": "c"}, "by name": {"AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential"},
	}
	platforms := map[string]vars{
		"Lambda": {"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_RUNTIME_API": "x"}, "Fargate": {"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"},
		"Functions": functions(), "App Service": {"WEBSITE_SITE_NAME": "f"}, "Container Apps": {"CONTAINER_APP_NAME": "a"},
		"Arc":        {"IDENTITY_ENDPOINT": "http://localhost:40342/metadata/identity/oauth2/token"},
		"App Engine": {"GAE_SERVICE": "s"}, "Cloud Run": {"K_SERVICE": "s"},
	}
	var all []spot
	for reference, cloud := range referencesOfClouds() {
		dev := strings.HasPrefix(reference, "azureidentity") || reference == keyVaultRef
		for _, kind := range []string{"azure", "ec2", "xen", "google", "laptop", "silent"} {
			outcome := "never"
			switch {
			case kind == cloud, kind == "xen" && cloud == "ec2":
				outcome = "sure"
			case kind == "silent":
				outcome = "maybe"
			}
			all = append(all, spot{"machine", reference, cloud, kind, nil, outcome})
			inPod := outcome
			if dev { // the identity of the node, which is not the pod's
				inPod = "never"
			}
			all = append(all, spot{"pod", reference, cloud, kind, pod(), inPod})
			for name, env := range named {
				if dev && outcome != "never" {
					all = append(all, spot{name, reference, cloud, kind, env, "sure"})
				} else if dev {
					all = append(all, spot{name, reference, cloud, kind, env, "never"})
				}
			}
		}
		if dev {
			env := functions()
			maps.Copy(env, managed())
			all = append(all, spot{"Functions with an identity", reference, cloud, "silent", env, "sure"})
		}
		for name, env := range platforms {
			outcome := "never"
			if cloud == "google" && (name == "App Engine" || name == "Cloud Run") {
				outcome = "sure"
			}
			if name != "Arc" || cloud != "azure" { // Arc's own is not in this world
				all = append(all, spot{name, reference, cloud, "silent", env, outcome})
			}
		}
	}
	return all
}

func (s spot) machine() string {
	if s.cloud == "google" {
		return "gcp"
	}
	return s.cloud
}

// P12: no account changes in silence, whatever becomes of the endpoint of the
// one that is configured. The decoy is the key of another account.
func TestNoEndpointThatFailsMakesTheNextSourceTheAccount(t *testing.T) {
	all := spots()
	if len(all) < 120 {
		t.Errorf("%d environments, want 120", len(all))
	}
	longest := map[string]time.Duration{}
	for _, s := range all {
		clearEnv(t)
		for name, value := range s.env {
			t.Setenv(name, value)
		}
		t.Setenv("AWS_EC2_METADATA_DISABLED", "")
		t.Setenv("DECOY", "sk-CANARY-decoy-0123456789")
		for _, c := range conditions() {
			synctest.Test(t, func(t *testing.T) {
				took := s.under(t, c)
				longest[c.name] = max(longest[c.name], took)
			})
		}
	}
	for name, took := range longest {
		t.Logf("%s: an answer after %v at most", name, took)
		if took > 10*time.Second {
			t.Errorf("%s: an answer took %v", name, took)
		}
	}
	t.Logf("%d environments, %d conditions", len(all), len(conditions()))
}

// under reads the chain of the reference and the decoy, and returns how long it
// took.
func (s spot) under(t *testing.T, c condition) time.Duration {
	t.Helper()
	w := &befallen{world: &world{sm: awstest.NewSecretsManager(), machine: s.machine()}, condition: &c}
	w.sm.Put("prod/openai", smKey)
	src, err := auto.New(auto.Over(auto.Options{References: s.reference + " env://DECOY"}, w))
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	cache, err := credential.NewCache(src, &credential.CacheOptions{ReadContext: func(call context.Context) context.Context { return call }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := on(t, s.kind)
	begin := time.Now()
	v, err := cache.Retrieve(ctx)
	took := time.Since(begin)
	decoy := v.Source == "env:DECOY"
	passes := c.passes && (c.aws || s.cloud != "ec2")
	at := s.name + " on " + s.kind + ", " + s.reference + ", " + c.name
	switch s.outcome {
	case "never":
		if w.asked != 0 || !decoy {
			t.Errorf("%s: asked %d times, got %q, %v", at, w.asked, v.Source, err)
		}
	case "sure":
		if decoy || (err == nil) != passes {
			t.Errorf("%s: got %q, %v", at, v.Source, err)
		}
	case "maybe":
		if err != nil && (c.name == "healthy" || c.name == "slow by 0.4 s") || decoy && c.name == "healthy" {
			t.Errorf("%s: got %q, %v", at, v.Source, err)
		}
	}
	s.says(t, at, err)
	w.condition = nil
	s.heals(ctx, t, at, cache)
	return took
}

// says checks that an error says what to do, and is none that a Chain passes.
func (s spot) says(t *testing.T, at string, err error) {
	t.Helper()
	se := (*credential.SourceError)(nil)
	switch {
	case err == nil:
	case !errors.As(err, &se) || se.Hint == "" || errors.Is(err, credential.ErrUnavailable) || strings.Contains(err.Error(), "CANARY"):
		t.Errorf("%s: the error is no good: %v", at, err)
	}
}

// heals checks that the account that is meant is in use once its endpoint is
// well again.
func (s spot) heals(ctx context.Context, t *testing.T, at string, cache *credential.Cache) {
	t.Helper()
	if s.outcome == "never" {
		return
	}
	for range 2 { // the first starts the refresh
		time.Sleep(6 * time.Minute)
		_, _ = cache.Retrieve(ctx)
		synctest.Wait()
	}
	if v, err := cache.Retrieve(ctx); err != nil || v.Source == "env:DECOY" {
		t.Errorf("%s: later the source is %q: %v", at, v.Source, err)
	}
}
