package client_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// A call that has no time to wait for the next key goes elsewhere, and says nothing of
// the endpoint: the key is about to be replaced.
func TestACallWithoutTimeForARotationKeepsNoOtherAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		store := credentialtest.NewStore("CANARY-east-1")
		c := regions(t, w, func(cfg *client.Config) { cfg.Source = store })
		if err := chat(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		w[east].set(func(n int, req *http.Request, body string) (*http.Response, error) {
			if req.Header.Get("api-key") == "CANARY-east-2" {
				return always(200, `{"choices":[]}`)(n, req, body)
			}
			return always(401, `{"error":{"message":"no","code":"401"}}`)(n, req, body)
		})
		time.AfterFunc(time.Second, func() { store.Rotate("CANARY-east-2") })
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := chat(ctx, c); err != nil {
			t.Errorf("a call with little time did not go elsewhere: %v", err)
		}
		if n := w[west].count(); n != 1 {
			t.Errorf("%d sends to the second endpoint, want 1", n)
		}
		time.Sleep(2 * time.Second)
		before := w[east].count()
		if err := chat(t.Context(), c); err != nil || w[east].count() == before {
			t.Errorf("the endpoint with the new key was left alone: %v", err)
		}
	})
}

// A store that is away for a moment takes its endpoint away for that moment.
func TestAStoreThatIsAwayForAMomentTakesItsEndpointAwayForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east, west, vendor)
		store := credentialtest.NewStore("CANARY-east-1")
		store.Fail(&credential.SourceError{Source: "store", Op: "read", Err: errors.New("status 503"), Transient: true})
		c := regions(t, w, func(cfg *client.Config) { cfg.Source = store })
		if err := chat(t.Context(), c); err != nil || w[east].count() != 0 || w[west].count() != 1 {
			t.Fatalf("a call whose first endpoint has no credential did not go elsewhere: %v", err)
		}
		store.Fail(nil)
		time.Sleep(5 * time.Second)
		if err := chat(t.Context(), c); err != nil || w[east].count() != 1 {
			t.Errorf("the endpoint is still left alone after 5 s: %v", err)
		}
	})
}
