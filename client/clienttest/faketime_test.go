package clienttest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// The tests of docs/testing.md, which shows them.

func newProgram(t *testing.T, service *clienttest.Service, store *credentialtest.Store, grace time.Duration) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{
		Source:    store,
		Transport: service, // in memory: a socket would stop the fake time
		Cache:     &credential.CacheOptions{Grace: grace},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAProgramWaitsOutAGapInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, store := clienttest.NewService("sk-CANARY-1"), credentialtest.NewStore("sk-CANARY-1")
		c := newProgram(t, service, store, 10*time.Second)
		ask := func() error {
			_, err := c.Post(t.Context(), "responses", map[string]any{"model": "gpt-5-mini", "input": "hello"}, nil)
			return err
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		service.Rotate("sk-CANARY-2")                                         // the old key is dead
		time.AfterFunc(8*time.Second, func() { store.Rotate("sk-CANARY-2") }) // the store has the new one later
		began := time.Now()
		if err := ask(); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited < 8*time.Second || waited > 10*time.Second {
			t.Errorf("the call took %v of the fake time", waited)
		}
	})
}

func TestAProgramIsToldOfAWrongKeyAtOnce(t *testing.T) {
	service, store := clienttest.NewService("sk-CANARY-1"), credentialtest.NewStore("sk-CANARY-wrong")
	c := newProgram(t, service, store, -1) // one read, and no wait
	_, err := c.Post(t.Context(), "responses", map[string]any{"model": "gpt-5-mini", "input": "hello"}, nil)
	if refusal, ok := client.AsError(err); !ok || refusal.StatusCode != 401 {
		t.Errorf("%v, want the 401 of the service", err)
	}
}
