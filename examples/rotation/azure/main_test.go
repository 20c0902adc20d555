package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

const (
	token = "eyJ.CANARY-token-1"
	name  = "openai-key"
)

// A deployment is the handler under its host, with a managed identity, a vault and an
// Azure OpenAI resource.
type deployment struct {
	host     *azuretest.FunctionsHost
	vault    *azuretest.Vault
	resource *azuretest.Resource
}

// build compiles the handler.
func build(t *testing.T) string {
	t.Helper()
	executable := filepath.Join(t.TempDir(), "handler.exe")
	if text, err := exec.CommandContext(t.Context(), "go", "build", "-o", executable, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, text)
	}
	return executable
}

func deploy(t *testing.T, executable string) *deployment {
	t.Helper()
	azuretest.ClearEnv(t)
	for _, setting := range os.Environ() {
		if variable, value, _ := strings.Cut(setting, "="); value == "" {
			_ = os.Unsetenv(variable) // azidentity takes an empty one for set; ClearEnv restores them
		}
	}
	azuretest.NewIdentity(t, token)
	d := &deployment{resource: azuretest.NewResource(token)}
	d.vault, _ = azuretest.NewPipedVault(t, token)
	d.vault.SetNow(fast())
	azuretest.Route(t, map[string]http.Handler{
		"myvault.vault.azure.net": d.vault, "management.azure.com": d.resource, "account.openai.azure.com": d.resource,
	})
	t.Setenv("VAULT_URL", azuretest.VaultURL)
	t.Setenv("SECRET_NAME", name)
	t.Setenv("OPENAI_RESOURCE_ID", azuretest.ResourceID)
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
	d.vault.Put(name, d.resource.Key("Key1"))
	d.host = azuretest.StartFunctions(t, executable)
	return d
}

// fast is a clock that goes on by three seconds when it is read, so that nobody waits
// for the order of versions.
func fast() func() time.Time {
	now, mu := time.Now(), sync.Mutex{}
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(3 * time.Second)
		return now
	}
}

// newest is the version of the secret that readers have.
func (d *deployment) newest() azuretest.VaultVersion {
	all := d.vault.Versions(name)
	return all[len(all)-1]
}

func event(version string) string {
	return fmt.Sprintf(`{"id":"1","source":"/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/myvault","subject":%q,`+
		`"type":"Microsoft.KeyVault.SecretNearExpiry","specversion":"1.0","time":"2026-11-26T12:00:00Z",`+
		`"data":{"Id":"x","VaultName":"myvault","ObjectType":"Secret","ObjectName":%q,"Version":%q,"NBF":null,"EXP":1798761600}}`, name, name, version)
}

func TestEachTriggerRotatesTheKeyThatAPersonHasPutThere(t *testing.T) {
	executable := build(t)
	for trigger, send := range map[string]func(*deployment) int{
		"timer": func(d *deployment) int {
			return d.host.Invoke("rotate", map[string]any{"timer": map[string]any{}}).Status
		},
		"Event Grid": func(d *deployment) int {
			return d.host.Invoke("nearexpiry", map[string]any{"event": json.RawMessage(event(d.newest().ID))}).Status
		},
		"as text": func(d *deployment) int {
			return d.host.Invoke("nearexpiry", map[string]any{"event": event(d.newest().ID)}).Status
		},
		"a webhook": func(d *deployment) int {
			status, _ := d.host.Forward(http.MethodPost, "/api/events", event(d.newest().ID))
			return status
		},
	} {
		t.Run(trigger, func(t *testing.T) {
			d := deploy(t, executable)
			if status := send(d); status != http.StatusOK {
				t.Fatalf("status %d: %s", status, redacted(d.host.Output("rotation")))
			}
			v := d.newest()
			if v.Value != d.resource.Key("Key2") || v.Tags["CredentialId"] != "Key2" || v.Tags["ValidityPeriodDays"] != "60" || !strings.EqualFold(v.Tags["ProviderAddress"], azuretest.ResourceID) {
				t.Errorf("%v", v.Tags)
			}
			if end := time.Until(v.Expires); end < 59*24*time.Hour || end > 61*24*time.Hour {
				t.Errorf("it expires in %v", end)
			}
			for range 2 { // again, and late
				if status := send(d); status != http.StatusOK {
					t.Errorf("status %d", status)
				}
				_, _ = d.host.Forward(http.MethodPost, "/api/events", event(d.vault.Versions(name)[0].ID))
			}
			if made := d.resource.Made(); len(made) != 1 || len(d.vault.Versions(name)) != 2 {
				t.Errorf("made %v", made)
			}
		})
	}
}

func redacted(text string) string { return strings.ReplaceAll(text, "CANARY", "(key)") }

func TestAFailedRotationIsInTheLogWithoutAKey(t *testing.T) {
	d := deploy(t, build(t))
	d.resource.Answer(http.StatusForbidden, "")
	if status := d.host.Invoke("rotate", map[string]any{}).Status; status != http.StatusInternalServerError {
		t.Errorf("status %d", status)
	}
	if status := d.host.Invoke("nearexpiry", map[string]any{"event": 7}).Status; status == http.StatusOK {
		t.Error("a malformed event was taken")
	}
	output := d.host.Output("rotation failed")
	if strings.Contains(output, "CANARY") {
		t.Fatal("the log shows a secret")
	}
	if !strings.Contains(output, "regenerateKey/action") {
		t.Error("the log does not say which right is missing")
	}
}

// The files that the host reads fit the routes and each other.
func TestTheFunctionsAreDeclared(t *testing.T) {
	for function, trigger := range map[string]string{"rotate": "timerTrigger", "nearexpiry": "eventGridTrigger", "events": "httpTrigger"} {
		var f struct {
			Bindings []struct{ Type, Name, AuthLevel string }
		}
		data, err := os.ReadFile(filepath.Join(function, "function.json"))
		if err == nil {
			err = json.Unmarshal(data, &f)
		}
		if err != nil || len(f.Bindings) == 0 || f.Bindings[0].Type != trigger {
			t.Errorf("%s: %+v, %v", function, f, err)
			continue
		}
		if trigger == "httpTrigger" && f.Bindings[0].AuthLevel != "function" {
			t.Error("everybody may send events")
		}
	}
}
