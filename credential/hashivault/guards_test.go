package hashivault_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
)

// The methods fit into other programs' clients, where nobody has checked them.
func TestALoginThatCannotBeOneSendsNothing(t *testing.T) {
	s := newStub(t)
	for name, auth := range map[string]api.AuthMethod{
		"no role id":       &hashivault.AppRole{},
		"a mount":          &hashivault.AppRole{RoleID: "r", Mount: "a/../b"},
		"nothing to open":  &hashivault.AppRole{RoleID: "r", Wrapped: true},
		"no role":          &hashivault.Kubernetes{},
		"another mount":    &hashivault.Kubernetes{Role: "r", Mount: "a//b"},
		"no file":          &hashivault.JWT{},
		"the same, a role": &hashivault.JWT{Role: "r"},
	} {
		if _, err := auth.Login(t.Context(), s.client()); err == nil || errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%s: %v, want what is wrong with it", name, err)
		}
	}
	if s.mu.Lock(); len(s.seen) > 0 {
		t.Errorf("Vault was asked for %q", s.seen)
	}
	s.mu.Unlock()
}

func TestAWrappingTokenThatCannotBeOpenedSaysWhy(t *testing.T) {
	const opens = "auth/approle/role/app/secret-id"
	for name, c := range map[string]struct {
		status    int
		body      map[string]any
		transient bool
		says      string
	}{
		"used between the look and the use": {400, map[string]any{"errors": []string{"wrapping token is not valid or does not exist"}}, false, "was used before, or has expired"},
		"an outage":                         {503, map[string]any{"errors": []string{"Vault is sealed"}}, true, "Vault is sealed"},
		"nothing in it":                     {200, map[string]any{"data": map[string]any{}}, false, "the wrapping token holds no secret id"},
		"no text in it":                     {200, map[string]any{"data": map[string]any{"secret_id": 7}}, false, "the wrapping token holds no secret id"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t)
			s.on("sys/wrapping/", func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/sys/wrapping/lookup" {
					reply(w, 200, map[string]any{"data": map[string]any{"creation_path": opens}})
					return
				}
				reply(w, c.status, c.body)
			})
			refuses(t, s.source(&hashivault.Options{Auth: &hashivault.AppRole{
				RoleID: "r", SecretID: credential.NewSecret("hvs.CANARY-wrap"), Wrapped: true,
			}}), c.transient, c.says)
			s.wantCounts(map[string]int{login: 0})
		})
	}
}

// What answers may be another server; what Vault refuses has a reason that
// somebody can look for.
func TestALoginThatFailsSaysWhereToLook(t *testing.T) {
	for name, c := range map[string]struct {
		status    int
		body      string
		transient bool
		says      string
	}{
		"bad credential":     {400, `{"errors":["invalid secret id"]}`, false, "check the role and the credential of the login"},
		"not authenticated":  {401, `{"errors":[]}`, false, "check the role and the credential of the login"},
		"forbidden":          {403, `{"errors":["permission denied"]}`, false, "check the role and the credential of the login"},
		"no such mount":      {404, `{"errors":[]}`, false, "check where the method is mounted, and the namespace"},
		"an error":           {500, `{"errors":["internal error"]}`, true, "look at Vault's log"},
		"a page":             {200, `<html>CANARY`, true, "not JSON as Vault writes it"},
		"half of an answer":  {200, `{"auth":{"client_token":"CANARY`, true, "not JSON as Vault writes it"},
		"nothing but a body": {200, `{}`, false, "log in by approle"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t)
			s.on("auth/", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			refuses(t, s.source(&hashivault.Options{Auth: &hashivault.AppRole{RoleID: "r"}}), c.transient, c.says)
		})
	}
}

func TestTheHintNamesWhereTheAddressIsFrom(t *testing.T) {
	for variable, says := range map[string]string{
		"": "at the address of Options.Client", "VAULT_ADDR": "at the address in VAULT_ADDR", "VAULT_AGENT_ADDR": "at the address in VAULT_AGENT_ADDR",
	} {
		s := newStub(t)
		s.on("", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("<html>CANARY"))
		})
		o := &hashivault.Options{}
		if variable == "" {
			o.Client = s.client()
		} else {
			t.Setenv(variable, s.URL)
			t.Setenv("VAULT_TOKEN", firstToken)
		}
		src, err := hashivault.New("secret/openai", o)
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, src, true, says)
	}
}

func TestAReadThatFailsSaysWhereToLook(t *testing.T) {
	for status, says := range map[int]string{
		429: "a standby, or a rate limit", 472: "point the address at the active node", 473: "point the address at the active node",
		412: "the node lags behind", 500: "look at Vault's log", 503: "look at Vault's log",
	} {
		s := newStub(t)
		s.on("secret/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, "of another kind") })
		refuses(t, s.source(nil), true, says)
	}
}

// The cause of a caller's end is the caller's own, not what the network made of it.
func TestACallerWhoLeavesGetsItsOwnCause(t *testing.T) {
	for name, prefix := range map[string]string{"in the login": "auth/", "in the read": "secret/"} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t)
			begun := make(chan struct{}, 1)
			s.on(prefix, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the client is gone
				select {
				case begun <- struct{}{}:
				default: // sent again on another connection
				}
				<-r.Context().Done()
			})
			cause := errors.New("the caller's own reason")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-begun
				cancel(cause)
			}()
			_, err := s.source(&hashivault.Options{Auth: &hashivault.AppRole{RoleID: "r"}}).Retrieve(ctx)
			if !errors.Is(err, cause) {
				t.Errorf("got %v, want the cause", err)
			}
			s.CloseClientConnections() // a login goes on for others
		})
	}
}

// A token without an end does not end the lease at once, and a lease without one
// ends with its token.
func TestWhatHasNoEndDoesNotCount(t *testing.T) {
	for name, c := range map[string]struct {
		token, lease int // in seconds
		end          time.Duration
	}{
		"of the token": {0, 60, time.Minute},
		"of the lease": {3600, 0, time.Hour},
		"of both":      {0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, clock, src := leasing(t, &hashivault.Options{})
			s.do(func() { s.ttl = c.token })
			s.next("L1", firstKey, c.lease)
			v := wants(t, src, firstKey)
			if c.end == 0 && !v.Expires.IsZero() || c.end > 0 && (!v.Expires.Equal(clock.now().Add(c.end)) || !v.RefreshAfter.Equal(clock.now().Add(c.end*2/3))) {
				t.Errorf("it expires at %v, refresh %v; want the end after %v", v.Expires, v.RefreshAfter, c.end)
			}
		})
	}
}

// Each read of a dynamic secret makes a credential in another system.
func TestAFieldThatIsMissingDoesNotCostALeasePerRead(t *testing.T) {
	s, _, src := leasing(t, &hashivault.Options{Field: "other"})
	for range 3 {
		refuses(t, src, false, "no such member")
	}
	s.wantCounts(map[string]int{creds: 1})
}
