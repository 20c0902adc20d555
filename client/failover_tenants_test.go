package client_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

// tenants have a credential each, but for the poor one, which may have none.
func tenants(t *testing.T, lost bool) *credential.Tenants {
	t.Helper()
	out, err := credential.NewTenants(func(_ context.Context, tenant string) (credential.Source, error) {
		if lost && tenant == "poor" {
			return nil, fmt.Errorf("%w: no such customer", credential.ErrNotFound)
		}
		return credential.Static(credential.NewSecret("CANARY-"+tenant), credential.APIKey), nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOneTenantsFaultKeepsNoOtherAway: a key that is refused, a quota that is
// spent, a limit for an hour, a model that is missing, a credential that cannot
// be had, and a call without a tenant are no news of the endpoint.
func TestOneTenantsFaultKeepsNoOtherAway(t *testing.T) {
	for name, fault := range map[string]says{
		"a key that is refused":       always(401, `{"error":{"code":"PermissionDenied","message":"no"}}`),
		"a 403":                       always(403, `{"error":{"message":"no"}}`),
		"a quota that is spent":       always(429, `{"error":{"code":"insufficient_quota","message":"no money"}}`),
		"a limit for an hour":         always(429, `{"error":{"message":"later"}}`, "Retry-After", "3600"),
		"a limit for a second":        always(429, `{"error":{"message":"later"}}`, "Retry-After", "1"),
		"a model that is missing":     always(404, `{"error":{"code":"DeploymentNotFound","message":"none"}}`),
		"a credential that is lost":   nil,
		"a call that names no tenant": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(east, west)
				w[east].set(func(n int, req *http.Request, body string) (*http.Response, error) {
					if fault == nil || !strings.HasSuffix(req.Header.Get("Api-Key"), "poor") {
						return nil, nil
					}
					return fault(n, req, body)
				})
				c := regions(t, w, func(cfg *client.Config) {
					cfg.Source, cfg.Fallbacks = tenants(t, fault == nil), cfg.Fallbacks[:1]
					cfg.Fallbacks[0].Source = tenants(t, false)
				})
				poor, rich := credential.WithTenant(t.Context(), "poor"), credential.WithTenant(t.Context(), "rich")
				if name == "a call that names no tenant" {
					if err := chat(t.Context(), c); err == nil {
						t.Fatal("a call without a tenant was served")
					}
				} else if err := chat(poor, c); err != nil {
					t.Fatal(err)
				}
				before, others := w[east].count(), w[west].count()
				for range 5 {
					if err := chat(rich, c); err != nil {
						t.Fatal(err)
					}
				}
				if w[east].count() != before+5 || w[west].count() != others {
					t.Errorf("the other tenant's 5 calls: %d to the first endpoint, %d to the second", w[east].count()-before, w[west].count()-others)
				}
				// The tenant itself is spared what it knows already.
				if name == "a call that names no tenant" {
					return
				}
				before = w[east].count()
				if err := chat(poor, c); err != nil {
					t.Fatal(err)
				}
				if w[east].count() != before {
					t.Error("the tenant's second call was sent to the endpoint that had refused it")
				}
			})
		})
	}
}
