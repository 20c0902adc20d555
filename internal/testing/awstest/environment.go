package awstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// NoAWS takes everything about AWS out of the environment, and this machine's
// files as well. It undoes that at the end of the test.
func NoAWS(t testing.TB) {
	t.Helper()
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "AWS_") || name == "IDENTITY_ENDPOINT" || name == "MSI_ENDPOINT" {
			t.Setenv(name, "")
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	Setenv(t, map[string]string{
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_CONFIG_FILE":             none,
		"AWS_SHARED_CREDENTIALS_FILE": none,
	})
}

// Setenv sets variables until the end of the test.
func Setenv(t testing.TB, env map[string]string) {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value)
	}
}
