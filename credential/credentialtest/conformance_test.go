package credentialtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func TestStoreIsASource(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			store := credentialtest.NewStore(secret)
			return credentialtest.Harness{
				Source:   store,
				Rotate:   func(secret string) { store.Rotate(secret) },
				Fail:     func() { store.Fail(errors.New("store: 503 Service Unavailable")) },
				NotFound: func() { store.Fail(fmt.Errorf("store: %w", credential.ErrNotFound)) },
				Hang:     func() { t.Cleanup(store.Hang()) },
			}
		},
		Unavailable: func(*testing.T) credential.Source {
			store := credentialtest.NewStore("")
			store.Fail(credential.ErrUnavailable)
			return store
		},
	})
}

func TestEnvIsASource(t *testing.T) {
	const name = "LATCHKEY_TEST_KEY"
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			t.Setenv(name, secret)
			return credentialtest.Harness{
				Source: credential.Env(name),
				Rotate: func(secret string) { t.Setenv(name, secret) },
			}
		},
		Unavailable: func(*testing.T) credential.Source { return credential.Env("LATCHKEY_TEST_UNSET") },
	})
}

func TestFileIsASource(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			path := filepath.Join(t.TempDir(), "key")
			write := func(secret string) {
				if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(secret)
			return credentialtest.Harness{Source: credential.File(path), Rotate: write}
		},
		Unavailable: func(t *testing.T) credential.Source {
			return credential.File(filepath.Join(t.TempDir(), "missing"))
		},
	})
}

func TestStaticIsASource(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(_ *testing.T, secret string) credentialtest.Harness {
			return credentialtest.Harness{
				Source: credential.Static(credential.NewSecret(secret), credential.BearerToken),
			}
		},
		Unavailable: func(*testing.T) credential.Source {
			return credential.Static(credential.Secret{}, credential.BearerToken)
		},
		Scheme: credential.BearerToken,
	})
}

func TestSourceFuncIsASource(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(_ *testing.T, secret string) credentialtest.Harness {
			store := credentialtest.NewStore(secret)
			return credentialtest.Harness{
				Source: credential.SourceFunc(func(ctx context.Context) (credential.Value, error) {
					return store.Retrieve(ctx)
				}),
				Rotate: func(secret string) { store.Rotate(secret) },
			}
		},
	})
}
