package azureidentity_test

import (
	"context"
	"crypto/sha1" // Service Fabric names a certificate by it
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential/azureidentity"
)

// asksFrom makes TestAPlatformIsNotAskedThroughAProxy the process that asks:
// net/http reads the proxies of the environment once.
const asksFrom = "LATCHKEY_TEST_ASKS"

// A proxy of the environment would get the header that identifies the app, and
// the token. The name "LOCALHOST" is this machine, and unlike "localhost" has a
// proxy.
func TestAPlatformIsNotAskedThroughAProxy(t *testing.T) {
	if os.Getenv(asksFrom) != "" {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv("IDENTITY_ENDPOINT"), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if u, err := http.ProxyFromEnvironment(req); u == nil || err != nil {
			t.Fatal("there is no proxy to go past")
		}
		v, err := newSource(t, &azureidentity.Options{ClientOptions: quick()}).Retrieve(ctx)
		if err != nil || v.Secret.Reveal() != token1 {
			t.Errorf("got another token, or %v", err)
		}
		return
	}
	var through atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		through.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	var asked atomic.Int32
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"` + token1 + `","expires_on":"4102444800","resource":"x","token_type":"Bearer"}`))
	})
	app := httptest.NewServer(handler)
	defer app.Close()
	fabric := httptest.NewTLSServer(handler)
	defer fabric.Close()
	pin := sha1.Sum(fabric.Certificate().Raw)
	for name, env := range map[string][]string{
		"App Service":    {"IDENTITY_ENDPOINT=" + app.URL},
		"Service Fabric": {"IDENTITY_ENDPOINT=" + fabric.URL, "IDENTITY_SERVER_THUMBPRINT=" + hex.EncodeToString(pin[:])},
	} {
		t.Run(name, func(t *testing.T) {
			asked.Store(0)
			through.Store(0)
			env[0] = strings.Replace(env[0], "127.0.0.1", "LOCALHOST", 1)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAPlatformIsNotAskedThroughAProxy$")
			cmd.Env = append([]string{asksFrom + "=1", "GORACE=atexit_sleep_ms=0", "HTTP_PROXY=" + proxy.URL, "HTTPS_PROXY=" + proxy.URL,
				"IDENTITY_HEADER=CANARY-header"}, env...)
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "CANARY") {
				t.Fatal("the process printed a secret")
			}
			if err != nil || asked.Load() != 1 || through.Load() != 0 {
				t.Errorf("%v: the platform was asked %d times, the proxy %d times; want 1 and 0\n%s", err, asked.Load(), through.Load(), out)
			}
		})
	}
}
