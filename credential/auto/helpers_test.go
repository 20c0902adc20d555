package auto_test

import (
	"os"
	"strings"
	"testing"
)

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
