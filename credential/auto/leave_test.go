package auto_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
)

// A lender is a Vault whose every secret is a lease, and which knows what it
// has given out.
type lender struct {
	*httptest.Server
	mu    sync.Mutex
	given int
	lent  []string
}

func newLender(t *testing.T) *lender {
	l := &lender{}
	l.Server = httptest.NewServer(l)
	t.Cleanup(l.Close)
	return l
}

func (l *lender) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
	case path == "auth/token/lookup-self":
		answer(rw, map[string]any{"data": map[string]any{"ttl": 0}})
	case path == "sys/leases/revoke":
		var in struct {
			Lease string `json:"lease_id"`
		}
		_ = json.Unmarshal(body, &in)
		l.lent = slices.DeleteFunc(l.lent, func(id string) bool { return id == in.Lease })
		rw.WriteHeader(http.StatusNoContent)
	case strings.HasPrefix(path, "sys/internal/ui/mounts/"):
		answer(rw, map[string]any{"data": map[string]any{"path": "openai/", "type": "openai"}})
	default:
		l.given++
		id := fmt.Sprint("openai/creds/app/", l.given)
		l.lent = append(l.lent, id)
		answer(rw, map[string]any{"lease_id": id, "lease_duration": 3600, "renewable": true, "data": map[string]string{"key": "sk-CANARY-leased"}})
	}
}

func TestExplainLeavesNoLeaseBehind(t *testing.T) {
	for name, reference := range map[string]string{
		"with a token": "vault://openai/creds/app?field=key",
		"and a chain":  "env://NOT_SET vault://openai/creds/app?field=key", "and no such field": "vault://openai/creds/app?field=other",
	} {
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			l := newLender(t)
			t.Setenv("VAULT_ADDR", l.URL)
			t.Setenv("VAULT_TOKEN", "hvs.CANARY")
			report := auto.Explain(t.Context(), &auto.Options{References: reference})
			checkReport(t, report)
			if want := !strings.Contains(reference, "other"); (report.Winner != "") != want {
				t.Errorf("the winner is %q: %s", report.Winner, report.Error)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.given == 0 || len(l.lent) > 0 {
				t.Errorf("of %d that were given, these are left: %v", l.given, l.lent)
			}
		})
	}
}

// A program that reads keeps its lease: only Explain gives it back.
func TestNewKeepsItsLease(t *testing.T) {
	clearEnv(t)
	l := newLender(t)
	t.Setenv("VAULT_ADDR", l.URL)
	t.Setenv("VAULT_TOKEN", "hvs.CANARY")
	if _, err := first(t, &auto.Options{References: "vault://openai/creds/app?field=key"}, nil); err != nil {
		t.Fatal(err)
	}
	if l.mu.Lock(); len(l.lent) != 1 {
		t.Errorf("left are %v", l.lent)
	}
	l.mu.Unlock()
}

// What New returns is a source as any other.
func TestTheSourceOfTheEnvironmentFitsIntoChainAndStandby(t *testing.T) {
	for _, references := range []string{"env://FIRST", "env://GONE env://FIRST"} {
		clearEnv(t)
		t.Setenv("FIRST", "sk-CANARY-1")
		t.Setenv("SECOND", "sk-CANARY-2")
		src, err := auto.New(&auto.Options{References: references})
		if err != nil {
			t.Fatal(err)
		}
		chain, err := credential.NewChain(credential.Env("NOT_SET"), src)
		if err != nil {
			t.Fatal(err)
		}
		for name, outer := range map[string]credential.Source{"chain": chain, "standby": credential.Standby(src, credential.Env("SECOND"))} {
			cache, err := credential.NewCache(outer, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			v, err := cache.Retrieve(t.Context())
			if err != nil || v.Source != "env:FIRST" {
				t.Errorf("%s: %s, %v", name, v.Source, err)
			}
			next, err := cache.Replace(t.Context(), credential.Rejection{Value: v, StatusCode: http.StatusUnauthorized})
			if name == "standby" && (err != nil || next.Source != "env:SECOND") || name == "chain" && !errors.Is(err, credential.ErrRejected) {
				t.Errorf("%s after a rejection: %s, %v", name, next.Source, err)
			}
		}
		tenants, err := credential.NewTenants(func(context.Context, string) (credential.Source, error) { return src, nil }, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := tenants.Retrieve(credential.WithTenant(t.Context(), "a")); err != nil || v.Source != "env:FIRST" {
			t.Errorf("tenants: %s, %v", v.Source, err)
		}
	}
}

// A closer is a source that says whether it had time to give something back.
type closer struct {
	credential.Source
	late, bounded bool
}

func (c *closer) Close(ctx context.Context) error {
	_, c.bounded = ctx.Deadline()
	c.late = ctx.Err() != nil
	return nil
}

func TestALeaseIsGivenBackAlsoAfterTheEndOfTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &closer{}
	if auto.Leave(ctx, c); c.late || !c.bounded {
		t.Errorf("closed with a context that is done: %t, with a deadline: %t", c.late, c.bounded)
	}
}
