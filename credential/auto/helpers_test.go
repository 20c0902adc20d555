package auto_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
	"github.com/latchkey-go/latchkey/internal/platform"
	"github.com/latchkey-go/latchkey/internal/platform/platformtest"
)

// on is the context of a program on a machine of that kind.
func on(t testing.TB, kind string) context.Context {
	t.Helper()
	return platform.On(t.Context(), platformtest.Machine(t, kind))
}

// first makes the source of opts and reads it once, as a Cache does.
func first(t *testing.T, opts *auto.Options, cached *credential.CacheOptions) (credential.Value, error) {
	t.Helper()
	return firstOn(t.Context(), t, opts, cached)
}

// firstOn is first with ctx as the context of the read.
func firstOn(ctx context.Context, t *testing.T, opts *auto.Options, cached *credential.CacheOptions) (credential.Value, error) {
	t.Helper()
	src, err := auto.New(opts)
	if err != nil {
		return credential.Value{}, err
	}
	if cached == nil {
		cached = &credential.CacheOptions{}
	}
	cached.ReadContext = func(call context.Context) context.Context { return call }
	cache, err := credential.NewCache(src, cached)
	if err != nil {
		t.Fatal(err)
	}
	return cache.Retrieve(ctx)
}

// clearEnv takes everything away that says where and who a process is.
func clearEnv(t testing.TB) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		for _, prefix := range [...]string{"OPENAI_", "AZURE_", "AWS_", "VAULT_", "IDENTITY_", "MSI_", "IMDS_", "WEBSITE_", "FUNCTIONS_",
			"CONTAINER_APP_", "ECS_", "KUBERNETES_", "K_SERVICE", "FUNCTION_TARGET", "GAE_", "CLOUD_RUN_", "PARAMETERS_", "HTTP", "http", "SECRETS_", "GITHUB_"} {
			if strings.HasPrefix(name, prefix) {
				t.Setenv(name, "")
				break
			}
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}
