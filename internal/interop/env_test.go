package interop_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	openai "github.com/openai/openai-go/v3"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/middleware"
)

// A witness is a service that remembers the headers as they came. The journal
// of clienttest would have covered the keys already.
type witness struct {
	*clienttest.Service
	mu      sync.Mutex
	headers []http.Header
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.headers = append(w.headers, r.Header.Clone())
	w.mu.Unlock()
	w.Service.ServeHTTP(rw, r)
}

func (w *witness) seen() []http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]http.Header(nil), w.headers...)
}

func newWitness(t *testing.T, key string) (w *witness, url string) {
	t.Helper()
	w = &witness{Service: clienttest.NewService(key)}
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	return w, srv.URL + "/v1/"
}

const fromEnv = "sk-env-CANARY"

func TestNoKeyOfTheEnvironmentReachesTheServer(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", fromEnv+"-api")
	t.Setenv("OPENAI_ADMIN_KEY", fromEnv+"-admin")
	t.Setenv("OPENAI_CUSTOM_HEADERS", strings.Join([]string{
		"Authorization: Bearer " + fromEnv + "-custom",
		"api-key: " + fromEnv + "-azure",
		"X-Api-Key: " + fromEnv + "-other",
		"Ocp-Apim-Subscription-Key: " + fromEnv + "-apim",
		"X-Team: blue",
	}, "\n"))
	w, url := newWitness(t, fakeKey(0))
	c, err := client.New(client.Config{Source: credentialtest.NewStore(fakeKey(0)), BaseURL: url})
	if err != nil {
		t.Fatal(err)
	}
	oai := openai.NewClient(c.Options()...)
	for _, call := range openaiGo(oai).all() {
		if err := call.run(t.Context()); err != nil {
			t.Errorf("%s: %s", call.name, shown(err))
		}
	}
	// The admin API has a key of its own; the service has no such route.
	_, _ = oai.Admin.Organization.Projects.List(t.Context(), openai.AdminOrganizationProjectListParams{})

	seen := w.seen()
	if len(seen) != 8 {
		t.Errorf("%d requests arrived, want 8", len(seen))
	}
	for i, h := range seen {
		if got := h.Values("Authorization"); len(got) != 1 || got[0] != "Bearer "+fakeKey(0) {
			t.Errorf("request %d does not carry the source's key alone", i)
		}
		for name, values := range h {
			if strings.Contains(strings.Join(values, " "), fromEnv) {
				t.Errorf("request %d: header %s carries a key of the environment", i, name)
			}
		}
		if h.Get("X-Team") != "blue" {
			t.Errorf("request %d: OPENAI_CUSTOM_HEADERS lost a header that is no key", i)
		}
	}
}

func TestTheEnvironmentNamesTheServiceAndTheAccount(t *testing.T) {
	w, url := newWitness(t, fakeKey(0))
	t.Setenv("OPENAI_BASE_URL", url)
	t.Setenv("OPENAI_ORG_ID", "org-env")
	t.Setenv("OPENAI_PROJECT_ID", "proj_env")
	c, err := client.New(client.Config{Source: credentialtest.NewStore(fakeKey(0))})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{srv: &clienttest.Server{Service: w.Service, URL: url}, client: c}
	calls := 0
	for _, s := range r.sdks() {
		for _, call := range s.all() {
			calls++
			if err := call.run(t.Context()); err != nil {
				t.Errorf("%s: %s: %s", s.name, call.name, shown(err))
			}
		}
	}
	seen := w.seen()
	if len(seen) != calls {
		t.Errorf("%d requests at OPENAI_BASE_URL, want %d", len(seen), calls)
	}
	for i, h := range seen {
		if strings.Join(h.Values("Openai-Organization"), ",") != "org-env" || strings.Join(h.Values("Openai-Project"), ",") != "proj_env" {
			t.Errorf("request %d: organization %q, project %q", i, h.Values("Openai-Organization"), h.Values("Openai-Project"))
		}
	}
}

func TestTheConfigurationWinsOverTheEnvironment(t *testing.T) {
	w, url := newWitness(t, fakeKey(0))
	t.Setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/elsewhere/")
	t.Setenv("OPENAI_ORG_ID", "org-env")
	c, err := client.New(client.Config{Source: credentialtest.NewStore(fakeKey(0)), BaseURL: url, Organization: "org-config"})
	if err != nil {
		t.Fatal(err)
	}
	if err := openaiGo(openai.NewClient(c.Options()...)).calls[0].run(t.Context()); err != nil {
		t.Fatal(shown(err))
	}
	for _, h := range w.seen() {
		if got := h.Values("Openai-Organization"); len(got) != 1 || got[0] != "org-config" {
			t.Errorf("organization %q, want that of the Config", got)
		}
	}
}

// Config.Middleware never sees a credential: that of the environment does not
// even come as far as Auth, which would drop it.
func TestTheSDKPutsNoKeyOfTheEnvironmentOnARequest(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", fromEnv+"-api")
	t.Setenv("OPENAI_ADMIN_KEY", fromEnv+"-admin")
	_, url := newWitness(t, fakeKey(0))
	calls := 0
	c, err := client.New(client.Config{Source: credentialtest.NewStore(fakeKey(0)), BaseURL: url, Middleware: []middleware.Middleware{
		func(next http.RoundTripper) http.RoundTripper {
			return tripFunc(func(req *http.Request) (*http.Response, error) {
				if calls++; len(req.Header.Values("Authorization")) > 0 {
					t.Errorf("%s carries a credential above Auth", req.URL.Path)
				}
				return next.RoundTrip(req)
			})
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	oai := openai.NewClient(c.Options()...)
	if err := openaiGo(oai).calls[0].run(t.Context()); err != nil {
		t.Error(shown(err))
	}
	_, _ = oai.Admin.Organization.Projects.List(t.Context(), openai.AdminOrganizationProjectListParams{})
	if calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
}

type tripFunc func(*http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
