package vaulttest_test

import (
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
	store "github.com/latchkey-go/latchkey/rotation/hashivault"
)

// Each request to a real Vault is lost once, and each answer, in every pair that
// leaves something else behind. Each pair has a secret of its own.
func TestARotationInVaultCanBeKilledAnywhereAndRunAgain(t *testing.T) {
	s := start(t)
	root := s.Client("")
	var secrets atomic.Int64
	open := func(t *testing.T) *rotationtest.Lab {
		path := fmt.Sprintf("crash-%d", secrets.Add(1))
		under := func(f *rotationtest.Fault) rotation.Store {
			cfg := api.DefaultConfig()
			cfg.Address, cfg.MaxRetries = s.Address(), 0
			if f != nil {
				f.Reads = func(r *http.Request) bool { return r.Method == http.MethodGet }
				cfg.HttpClient = &http.Client{Transport: f.Transport(http.DefaultTransport)}
			}
			client, err := api.NewClient(cfg)
			if err != nil {
				t.Fatal(err)
			}
			client.SetToken(root.Token())
			kv, err := store.New(client, "secret", path)
			if err != nil {
				t.Fatal(err)
			}
			return kv
		}
		l := rotationtest.New(t, under(nil))
		l.Under = under
		src, err := hashivault.New("secret/"+path, &hashivault.Options{Client: root, Field: "key", StandbyField: "pending", KVVersion: 2})
		if err != nil {
			t.Fatal(err)
		}
		l.Source = src
		return l
	}
	if os.Getenv("LATCHKEY_PROOFS") != "" {
		rotationtest.Crashes(t, open) // every pair of requests, and not of changes alone
	}
	if changes := rotationtest.CrashesByChange(t, open); changes < 4 {
		t.Errorf("%d changes", changes)
	}
	rotationtest.CrashesByChange(t, rotationtest.Slots(open))
	t.Logf("%d rotations were killed", secrets.Load())
}
