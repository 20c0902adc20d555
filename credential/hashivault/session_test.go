package hashivault_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
)

// loggedIn is a source with a login whose tokens live for a minute of the clock.
func loggedIn(t *testing.T) (*stub, *clock, *hashivault.Source) {
	t.Helper()
	s, c := newStub(t), newClock()
	s.do(func() { s.ttl = 60 })
	return s, c, s.source(&hashivault.Options{Auth: &hashivault.AppRole{RoleID: "r"}, Now: c.now})
}

func (s *stub) wantCounts(want map[string]int) {
	s.t.Helper()
	for path, n := range want {
		if got := s.count(path); got != n {
			s.t.Errorf("%s was asked for %d times, want %d", path, got, n)
		}
	}
}

const (
	login  = "auth/approle/login"
	renew  = "auth/token/renew-self"
	lookup = "auth/token/lookup-self"
)

func TestATokenIsRenewedOnUseAfterTwoThirdsOfItsTime(t *testing.T) {
	s, c, src := loggedIn(t)
	wants(t, src, firstKey)
	c.pass(39 * time.Second)
	wants(t, src, firstKey)
	s.wantCounts(map[string]int{login: 1, renew: 0})
	c.pass(2 * time.Second)
	for range 3 {
		wants(t, src, firstKey)
	}
	s.wantCounts(map[string]int{login: 1, renew: 1, lookup: 0})
}

func TestALargeAnswerToAWriteIsReadToItsEnd(t *testing.T) {
	s, c, src := loggedIn(t)
	wants(t, src, firstKey)
	s.on(renew, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(" ", 1<<20)+`{"auth":{"lease_duration":60,"renewable":true}}`)
	})
	c.pass(41 * time.Second)
	wants(t, src, firstKey)
	c.pass(39 * time.Second)
	wants(t, src, firstKey)
	s.wantCounts(map[string]int{renew: 1, login: 1})
}

func TestALoginCarriesNoOtherToken(t *testing.T) {
	s := newStub(t)
	t.Setenv("VAULT_ADDR", s.URL)
	t.Setenv("VAULT_TOKEN", firstToken)
	s.do(func() {
		s.script = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/login") && r.Header.Get("X-Vault-Token") != "" {
				refuse(w, 400)
				return true
			}
			return false
		}
	})
	src, err := hashivault.New("secret/openai", &hashivault.Options{Auth: &hashivault.AppRole{RoleID: "r"}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, src, firstKey)
}

func TestAProcessThatSleptLogsInAgain(t *testing.T) {
	s, c, src := loggedIn(t)
	wants(t, src, firstKey)
	c.pass(time.Hour) // no timer fired
	wants(t, src, firstKey)
	s.wantCounts(map[string]int{login: 2, renew: 0})
	c.pass(-2 * time.Hour) // a clock that is set back proves nothing
	wants(t, src, firstKey)
	s.wantCounts(map[string]int{login: 2, renew: 1})
}

func TestATokenNearItsMaximumIsReplacedBeforeItEnds(t *testing.T) {
	s, c, src := loggedIn(t)
	wants(t, src, firstKey)
	s.do(func() { s.ttl = 20 }) // all that is left
	c.pass(41 * time.Second)
	wants(t, src, firstKey)
	s.do(func() { s.ttl = 60 })
	c.pass(15 * time.Second)
	wants(t, src, firstKey)
	s.wantCounts(map[string]int{login: 2, renew: 1})
}

func TestARenewalThatFailsDoesNotFailTheRead(t *testing.T) {
	for _, status := range []int{400, 403, 500, 503} {
		s, c, src := loggedIn(t)
		wants(t, src, firstKey)
		s.on(renew, func(w http.ResponseWriter, _ *http.Request) { refuse(w, status) })
		c.pass(45 * time.Second)
		wants(t, src, firstKey)
		s.wantCounts(map[string]int{renew: 1})
		if want := map[bool]int{true: 1, false: 2}[status >= 500]; s.count(login) != want {
			t.Errorf("%d: %d logins, want %d", status, s.count(login), want)
		}
	}
}

func TestALoginThatFailsDoesNotFailAReadWhileTheOldTokenIsGood(t *testing.T) {
	s, c, src := loggedIn(t)
	wants(t, src, firstKey)
	s.on("auth/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 400) })
	c.pass(45 * time.Second)
	for range 5 {
		wants(t, src, firstKey)
	}
	s.wantCounts(map[string]int{renew: 1, login: 2}) // and then a pause
	c.pass(time.Minute)
	refuses(t, src, false, "log in by approle", "check the role")
}

func TestARevokedTokenCostsOneLoginForAllCallers(t *testing.T) {
	s, _, src := loggedIn(t)
	wants(t, src, firstKey)
	for round := 2; round < 6; round++ {
		s.do(func() { clear(s.tokens) })
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := src.Retrieve(context.Background()); err != nil {
					t.Errorf("Retrieve: %v", err)
				}
			})
		}
		wg.Wait()
		s.wantCounts(map[string]int{login: round})
	}
}

func TestAForbiddenPathCostsNoLogin(t *testing.T) {
	s, _, src := loggedIn(t)
	s.on("secret/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 403, "permission denied") })
	for range 3 {
		refuses(t, src, false, `capabilities = ["read"]`)
	}
	s.wantCounts(map[string]int{login: 1, lookup: 3})
}

func TestATokenThatMayNotLookItselfUpCostsOneLoginPerRead(t *testing.T) {
	s, _, src := loggedIn(t)
	s.do(func() {
		s.script = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/login") {
				return false
			}
			refuse(w, 403, "permission denied")
			return true
		}
	})
	refuses(t, src, false, "permission denied", "no right below the mount")
	s.wantCounts(map[string]int{login: 2})
}

func TestACallerLeavesALoginThatHangsAndTheLoginGoesOn(t *testing.T) {
	s, _, src := loggedIn(t)
	began, free := make(chan struct{}), make(chan struct{})
	s.do(func() {
		s.script = func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/login") {
				close(began)
				<-free
			}
			return false
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error)
	go func() {
		_, err := src.Retrieve(ctx)
		left <- err
	}()
	<-began
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("%v: not the caller's own error", err)
	}
	close(free)
	wants(t, src, firstKey) // for it, too
	s.wantCounts(map[string]int{login: 1})
}

type panicky struct{}

func (panicky) Login(context.Context, *api.Client) (*api.Secret, error) { panic("CANARY") }

type leaky struct{ err error }

func (l leaky) Login(context.Context, *api.Client) (*api.Secret, error) { return nil, l.err }

func TestAForeignLoginCannotShowASecret(t *testing.T) {
	s := newStub(t)
	refuses(t, s.source(&hashivault.Options{Auth: panicky{}}), false, "panicked")
	refuses(t, s.source(&hashivault.Options{Auth: leaky{errors.New("CANARY")}}), true, "it failed with a *errors.errorString")
	refuses(t, s.source(&hashivault.Options{Auth: leaky{&api.ResponseError{StatusCode: 400, Errors: []string{"invalid secret id CANARY"}}}}), false, "status 400: invalid secret id")
	refuses(t, s.source(&hashivault.Options{Auth: leaky{}}), false, "has no token")
}

// Tokens from elsewhere

func TestAGivenTokenIsRenewed(t *testing.T) {
	s, c := newStub(t), newClock()
	s.do(func() { s.ttl = 60 })
	src := s.source(&hashivault.Options{Now: c.now})
	wants(t, src, firstKey)
	c.pass(41 * time.Second)
	wants(t, src, firstKey)
	s.wantCounts(map[string]int{lookup: 1, renew: 1})
	c.pass(time.Hour) // somebody else may have renewed it
	wants(t, src, firstKey)
	s.wantCounts(map[string]int{lookup: 2, renew: 1})
}

func TestAGivenTokenThatIsDeadSaysSoUntilThereIsAnother(t *testing.T) {
	s := newStub(t)
	client := s.client()
	src := s.source(&hashivault.Options{Client: client})
	wants(t, src, firstKey)
	s.do(func() { s.tokens = map[string]bool{"hvs.CANARY-token-2": true} })
	refuses(t, src, false, "has expired, was revoked", "VAULT_TOKEN")
	client.SetToken("hvs.CANARY-token-2")
	wants(t, src, firstKey)
}

func TestTheTokenComesFromTheEnvironmentThenFromTheFile(t *testing.T) {
	s := newStub(t)
	t.Setenv("VAULT_ADDR", s.URL)
	t.Setenv("VAULT_TOKEN", firstToken)
	fresh := func() *hashivault.Source {
		src, err := hashivault.New("secret/openai", nil)
		if err != nil {
			t.Fatal(err)
		}
		return src
	}
	wants(t, fresh(), firstKey)
	t.Setenv("VAULT_TOKEN", "")
	home, _ := os.UserHomeDir()
	file := filepath.Join(home, ".vault-token")
	if err := os.WriteFile(file, []byte(firstToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	src := fresh()
	wants(t, src, firstKey)
	// vault login writes another: the one in use is dead.
	s.do(func() { s.tokens = map[string]bool{"hvs.CANARY-token-2": true} })
	if err := os.WriteFile(file, []byte("hvs.CANARY-token-2"), 0o600); err != nil {
		t.Fatal(err)
	}
	wants(t, src, firstKey)
}

func TestWithoutATokenAnAgentOnLoopbackIsExpected(t *testing.T) {
	s := newStub(t)
	s.do(func() { s.tokens[""] = true }) // the agent adds its own
	t.Setenv("VAULT_AGENT_ADDR", s.URL)
	src, err := hashivault.New("secret/openai", nil)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, src, firstKey)
	s.wantCounts(map[string]int{lookup: 0})
	s.on("secret/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 403, "permission denied") })
	refuses(t, src, false, "permission denied")
	s.wantCounts(map[string]int{lookup: 0})
}

func TestWhatIsNotConfiguredIsUnavailable(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"nothing":               {},
		"a token, no address":   {"VAULT_TOKEN": firstToken},
		"an address, no token":  {"VAULT_ADDR": "https://vault.example.com"},
		"an address, no reader": {"VAULT_ADDR": "https://vault.example.com", "HOME": ""},
	} {
		t.Run(name, func(t *testing.T) {
			cleanEnv(t)
			for k, v := range env {
				t.Setenv(k, v)
			}
			src, err := hashivault.New("secret/openai", nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := refuses(t, src, false, "VAULT_"); !errors.Is(err, credential.ErrUnavailable) {
				t.Errorf("%v: not ErrUnavailable", err)
			}
		})
	}
}

func TestABadEnvironmentIsAnErrorThatShowsNoValue(t *testing.T) {
	for name, value := range map[string]string{
		"VAULT_ADDR": "https://CANARY:%zz", "VAULT_CACERT": "/none/CANARY.pem", "VAULT_CAPATH": "/CANARY/none", "VAULT_HEADERS": "{CANARY", "VAULT_MAX_RETRIES": "CANARY",
		"VAULT_SKIP_VERIFY": "CANARY", "VAULT_CLIENT_TIMEOUT": "CANARY", "VAULT_CLIENT_CERT": "/CANARY/cert.pem",
	} {
		cleanEnv(t)
		t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
		t.Setenv("VAULT_TOKEN", firstToken)
		t.Setenv(name, value)
		src, err := hashivault.New("secret/openai", nil)
		if err != nil {
			t.Fatal(err)
		}
		says := "VAULT_* variables"
		if name == "VAULT_CACERT" || name == "VAULT_CLIENT_CERT" {
			says = "read " + name + ": the file cannot be read"
		}
		if err := refuses(t, src, false, says); errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%s: a broken configuration is taken for none", name)
		}
		t.Setenv(name, "")
	}
}

// Names that resolve here and elsewhere are in the tests of package leaf.
func TestPlainHTTPIsForLoopback(t *testing.T) {
	for address, refused := range map[string]bool{
		"http://192.0.2.1:8200": true, "http://10.255.255.1:8200": true, "http://[2001:db8::1]:8200": true,
		"http://127.0.0.1:1": false, "http://localhost:1": false, "http://[::1]:1": false, "unix:///nowhere/agent.sock": false,
	} {
		cleanEnv(t)
		t.Setenv("VAULT_ADDR", address)
		t.Setenv("VAULT_TOKEN", firstToken)
		src, err := hashivault.New("secret/openai", nil)
		if err != nil {
			t.Fatal(err)
		}
		if refused {
			refuses(t, src, false, "plain http", "PlainHTTP")
		} else {
			refuses(t, src, true)
		}
	}
}

// As it is copied from the documentation of the API, or from a browser.
func TestAnAddressMayHaveTheVersionOrAPageBehindIt(t *testing.T) {
	for _, behind := range []string{"/", "/v1", "/v1/", "/ui", "/ui/", "/ui/vault/secrets/secret/kv/openai", "/ui/vault/auth?with=token"} {
		s := newStub(t)
		t.Setenv("VAULT_ADDR", s.URL+behind)
		t.Setenv("VAULT_TOKEN", firstToken)
		src, err := hashivault.New("secret/openai", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := src.Retrieve(t.Context()); err != nil {
			t.Errorf("%s: %v", behind, err)
		}
	}
}

func TestTheNamespaceAndTheHeadersOfTheClientAreSent(t *testing.T) {
	s := newStub(t)
	client := s.client()
	client.SetNamespace("of-the-client")
	client.AddHeader("X-Extra", "yes")
	var got, extra, wrap string
	s.do(func() {
		s.script = func(_ http.ResponseWriter, r *http.Request) bool {
			got, extra, wrap = r.Header.Get("X-Vault-Namespace"), r.Header.Get("X-Extra"), r.Header.Get("X-Vault-Wrap-TTL")
			return false
		}
	})
	t.Setenv("VAULT_WRAP_TTL", "60s") // would have every answer wrapped
	for option, want := range map[string]string{"": "of-the-client", "team/a": "team/a"} {
		wants(t, s.source(&hashivault.Options{Client: client, Namespace: option}), firstKey)
		if strings.Trim(got, "/") != want || extra != "yes" || wrap != "" {
			t.Errorf("namespace %q, header %q and wrap time %q were sent, want namespace %q", got, extra, wrap, want)
		}
	}
}
