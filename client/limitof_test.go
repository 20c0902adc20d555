package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// A limit for an endpoint sends the call to another one, and one for a tenant or a
// model counts what it says.
func TestALimitOfAnEndpointMovesTheCallToAnother(t *testing.T) {
	var first, second atomic.Int64
	other := httptest.NewServer(answering(&second))
	defer other.Close()
	l := newLimiter(t, nil, limit.Limit{Name: "each", By: limit.ByEndpoint, Per: limit.Day, Requests: 2})
	var kinds []string
	var sends []middleware.Send
	c := limitedClient(t, l, client.Config{
		Name:      "one",
		Fallbacks: []client.Endpoint{{Name: "two", BaseURL: other.URL + "/v1/", Models: map[string]string{"m": "deployment"}, Source: credential.Static(credential.NewSecret(usageKey), credential.APIKey)}},
		OnRoute:   func(e middleware.RouteEvent) { kinds = append(kinds, e.Kind+" "+e.Route+" "+e.Reason) },
		Observe: func(_ context.Context, s *middleware.Send) {
			if s.Status != 0 {
				sends = append(sends, *s)
			}
		},
	}, answering(&first))
	for i := range 5 {
		_, err := c.Post(t.Context(), "/chat/completions", map[string]string{"model": "m"}, nil)
		var refused *limit.Error
		if i < 4 && err != nil || i == 4 && !errors.As(err, &refused) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if first.Load() != 2 || second.Load() != 2 {
		t.Errorf("the endpoints got %d and %d calls", first.Load(), second.Load())
	}
	if len(kinds) == 0 || kinds[0] != "spilled one limit" {
		t.Errorf("events %q", kinds)
	}
	if len(sends) != 4 || sends[2].Endpoint != "two" || sends[2].Reason != "failover limit" || sends[2].Model != "deployment" {
		t.Errorf("sends %+v", sends)
	}
	for _, s := range l.State() {
		if s.Used != 2 {
			t.Errorf("%+v", s)
		}
	}
}

func TestALimitCountsTenantsAndTheModelsThatCallersName(t *testing.T) {
	var sent atomic.Int64
	l := newLimiter(t, nil, limit.Limit{By: limit.ByTenant | limit.ByModel, Per: limit.Day, Requests: 1})
	tenants, err := credential.NewTenants(func(_ context.Context, name string) (credential.Source, error) {
		return credential.Static(credential.NewSecret("sk-CANARY-"+name+"-0123456789"), credential.APIKey), nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := limitedClient(t, l, client.Config{Source: tenants, Models: map[string]string{"a": "deployment", "b": "deployment"}}, answering(&sent))
	calls := 0
	for range 2 {
		for _, tenant := range []string{"x", "y"} {
			for _, model := range []string{"a", "b"} {
				_, err := c.Post(credential.WithTenant(t.Context(), tenant), "/chat/completions", map[string]string{"model": model}, nil)
				var refused *limit.Error
				if calls++; calls <= 4 && err != nil || calls > 4 && (!errors.As(err, &refused) || refused.Tenant != tenant || refused.Model != model) {
					t.Errorf("call %d: %v", calls, err)
				}
			}
		}
	}
	if sent.Load() != 4 {
		t.Errorf("%d sends", sent.Load())
	}
}

// The body of a refused request is closed, as an http.RoundTripper has to.
func TestARefusedCallClosesItsBody(t *testing.T) {
	l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Requests: 1})
	c := limitedClient(t, l, client.Config{}, answering(new(atomic.Int64)))
	for i := range 2 {
		body := &bodyClosed{Reader: strings.NewReader("{}")}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.BaseURL()+"chat/completions", body)
		if err != nil {
			t.Fatal(err)
		}
		_ = drained(c.HTTPClient().Do(req))
		if body.closed.Load() == 0 {
			t.Errorf("the body of call %d was not closed", i+1)
		}
	}
}

type bodyClosed struct {
	io.Reader
	closed atomic.Int64
}

func (c *bodyClosed) Close() error { c.closed.Add(1); return nil }

// The layer works without Auth above it, too.
func TestALimitAloneCountsSends(t *testing.T) {
	l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Requests: 1, Tokens: 1e5})
	server := httptest.NewServer(answering(new(atomic.Int64)))
	defer server.Close()
	hc := &http.Client{Transport: middleware.Wrap(nil, middleware.Limit(l))}
	for i := range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/chat/completions", strings.NewReader(`{"max_tokens":10}`))
		if err != nil {
			t.Fatal(err)
		}
		err = drained(hc.Do(req))
		var refused *limit.Error
		if i == 0 && err != nil || i == 1 && !errors.As(err, &refused) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if tokens, held := used(l, "tokens"); tokens != 29 || held != 0 {
		t.Errorf("%d tokens, %d held", tokens, held)
	}
	if err := drained((&http.Client{Transport: middleware.Wrap(nil, middleware.Limit(nil))}).Get(server.URL)); err != nil {
		t.Error(err)
	}
}

// An account is a provider of one's own, which names whose credential it gives.
type account struct{ tenant string }

func (a account) Retrieve(context.Context) (credential.Value, error) {
	return credential.Value{Secret: credential.NewSecret(usageKey), Tenant: a.tenant}, nil
}

func (a account) Replace(context.Context, credential.Rejection) (credential.Value, error) {
	return credential.Value{}, credential.ErrRejected
}

func (account) Accept(credential.Value) {}

func TestALimitCountsWhoseCredentialGoesOut(t *testing.T) {
	l := newLimiter(t, nil, limit.Limit{By: limit.ByTenant, Per: limit.Day, Requests: 1})
	c := limitedClient(t, l, client.Config{Source: account{"owner"}}, answering(new(atomic.Int64)))
	for i := range 2 {
		_, err := c.Post(credential.WithTenant(t.Context(), "caller"), "/chat/completions", nil, nil)
		var refused *limit.Error
		if i == 0 && err != nil || i == 1 && (!errors.As(err, &refused) || refused.Tenant != "owner") {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
}
