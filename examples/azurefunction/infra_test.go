package main_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client/clienttest"
)

// A promise of a Bicep file is a setting that must be there, and as often as
// the other says.
var bicepPromises = map[string]map[string]int{
	"main.bicep": {
		`disableLocalAuth: true`:                        2, // Azure OpenAI, logs
		`DisableLocalAuth: true`:                        1, // Application Insights
		`publicNetworkAccess: 'Disabled'`:               3, // Azure OpenAI, Key Vault, storage
		`networkAcls: { defaultAction: 'Deny'`:          3,
		`enableRbacAuthorization: true`:                 1,
		`enablePurgeProtection: true`:                   1,
		`allowSharedKeyAccess: false`:                   1,
		`identity: { type: 'SystemAssigned' }`:          2,
		`vnetRouteAllEnabled: true`:                     1,
		`'Microsoft.Insights/diagnosticSettings@`:       4,
		`'Microsoft.Network/privateEndpoints@`:          1,
		`'Microsoft.Network/privateDnsZones@`:           1,
		`5e0bd9bd-7b93-4f28-af87-19fc36ad61bd`:          1, // Cognitive Services OpenAI User
		`4633458b-17de-408a-b874-0445c86b69e6`:          1, // Key Vault Secrets User
		`'privatelink.openai.azure.com'`:                1,
		`'privatelink.vaultcore.azure.net'`:             1,
		`{ name: 'FUNCTIONS_WORKER_RUNTIME', value: 'c`: 1,
	},
	"alarms.bicep": {
		`'Microsoft.Insights/scheduledQueryRules@`: 1,
		`'Microsoft.Insights/actionGroups@`:        1,
		`'Microsoft.Insights/workbooks@`:           1,
		`scopes: [logs.id]`:                        1,
	},
	"gateway.bicep": {
		`'Microsoft.ApiManagement/service@`:          1,
		`'Microsoft.Cdn/profiles@`:                   1,
		`check-header name="X-Azure-FDID"`:           1,
		`<validate-azure-ad-token `:                  1,
		`<authentication-managed-identity resource=`: 1,
		`subscriptionRequired: true`:                 1,
		`buffer-response="false"`:                    1,
		`mode: 'Prevention'`:                         1,
		`@secure()`:                                  2,
		`'Microsoft.Insights/diagnosticSettings@`:    2,
	},
}

// No Bicep compiler is at hand here; what can be told without one is.
func TestTheBicepKeepsTheNetworkClosed(t *testing.T) {
	comment := regexp.MustCompile(`(?m)(^|\s)//.*$`)
	text := regexp.MustCompile(`(?s)'''.*?'''|'(\\'|[^'\n])*'`)
	for name, promises := range bicepPromises {
		data, err := os.ReadFile(filepath.Join("infra", name))
		if err != nil {
			t.Fatal(err)
		}
		source := comment.ReplaceAllString(string(data), "")
		for setting, want := range promises {
			if got := strings.Count(source, setting); got != want {
				t.Errorf("%s: %q is there %d times, want %d", name, setting, got, want)
			}
		}
		bare := text.ReplaceAllString(source, "")
		for _, pair := range []string{"{}", "[]", "()"} {
			if opened, closed := strings.Count(bare, pair[:1]), strings.Count(bare, pair[1:]); opened != closed {
				t.Errorf("%s: %d %s and %d %s", name, opened, pair[:1], closed, pair[1:])
			}
		}
		if key := regexp.MustCompile(`listKeys|AccountKey=|SharedAccessSignature`).FindString(source); key != "" {
			t.Errorf("%s: %s: there is to be no key", name, key)
		}
	}
}

// The alarms look for messages and members of lines that the handler writes.
func TestTheAlarmsReadWhatTheHandlerWrites(t *testing.T) {
	d := deploy(t, clienttest.AzureOpenAI, token1)
	if status, _ := d.host.Forward(http.MethodPost, "/api/ask", "hi"); status != 200 {
		t.Fatalf("status %d", status)
	}
	d.identity.SetToken(token2)
	d.server.Rotate(token2)
	if status, _ := d.host.Forward(http.MethodPost, "/api/ask", "hi"); status != 200 {
		t.Fatalf("status %d after a rotation", status)
	}
	fault := clienttest.AzurePermissionDenied.Fault()
	fault.Times = -1
	d.server.Inject(fault)
	_, _ = d.host.Forward(http.MethodPost, "/api/ask", "in vain")
	_ = d.host.Invoke("summarize", map[string]any{"text": "x"})
	messages, members := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(d.host.Output("not summarized")) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) != nil {
			continue
		}
		if text, ok := record["msg"].(string); ok {
			messages[text] = true
		}
		for name := range record {
			members[name] = true
		}
	}
	// Written only for a key in Key Vault that has an expiry, or in an outage.
	for _, text := range []string{"credential expiring", "credential failed"} {
		messages[text] = true
	}
	members["gateway_version"] = true
	data, err := os.ReadFile(filepath.Join("infra", "alarms.bicep"))
	if err != nil {
		t.Fatal(err)
	}
	texts := regexp.MustCompile(`"((?:openai|credential|not) [a-z]+)"`).FindAllStringSubmatch(string(data), -1)
	names := regexp.MustCompile(`line\.(\w+)`).FindAllStringSubmatch(string(data), -1)
	if len(texts) < 8 || len(names) < 10 {
		t.Fatalf("%d messages and %d members in the alarms", len(texts), len(names))
	}
	for _, text := range texts {
		if !messages[text[1]] {
			t.Errorf("the alarms look for %q, which nobody writes", text[1])
		}
	}
	for _, name := range names {
		if !members[name[1]] {
			t.Errorf("the alarms look for the member %s, which no line has", name[1])
		}
	}
}
