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
		`outboundVnetRouting: { allTraffic: true }`:     1, // vnetRouteAllEnabled is ignored since 2024-11-01
		`scope: vault::subscriptionKey`:                 1,
		`= if (!empty(subscriptionKeyUrl)) {`:           1,
		`scope: vault` + "\n":                           1, // the diagnostics; no role on all of the vault
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
		`output gateways string[] =`:                 1,
		`'Microsoft.Insights/diagnosticSettings@`:    2,
	},
}

// What can be told without a Bicep compiler is told here; where there is one,
// .ci/run iac asks it.
func TestTheBicepKeepsTheNetworkClosed(t *testing.T) {
	comment := regexp.MustCompile(`(?m)(^|\s)//.*$`)
	text := regexp.MustCompile(`(?s)'''.*?'''|'(\\'|[^'\n])*'`)
	for name, promises := range bicepPromises {
		source := comment.ReplaceAllString(infra(t, name), "")
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

// What has a version of its own for each change of Azure moves as a whole: one type
// has one version in all files.
func TestATypeHasOneVersion(t *testing.T) {
	versions := map[string]string{}
	for name := range bicepPromises {
		for _, m := range regexp.MustCompile(`'(Microsoft\.[\w/]+)@([\d-]+(?:preview)?)'`).FindAllStringSubmatch(infra(t, name), -1) {
			if before := versions[m[1]]; before != "" && before != m[2] {
				t.Errorf("%s: %s@%s, and elsewhere %s", name, m[1], m[2], before)
			}
			versions[m[1]] = m[2]
		}
	}
	if len(versions) < 20 {
		t.Errorf("%d types found", len(versions))
	}
}

// Every parameter without a default is given, and no other one.
func TestTheParametersFitTheGateway(t *testing.T) {
	given := infra(t, "gateway.bicepparam")
	set := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^param (\w+) = (.*)$`).FindAllStringSubmatch(given, -1) {
		set[m[1]] = true
		if strings.HasSuffix(m[1], "Key") && !strings.HasPrefix(m[2], "readEnvironmentVariable(") {
			t.Errorf("%s is not read from the environment", m[1])
		}
	}
	// A type that takes several lines ends without a default here.
	for _, m := range regexp.MustCompile(`(?m)^param (\w+) [^=\n]*(=)?`).FindAllStringSubmatch(infra(t, "gateway.bicep"), -1) {
		if m[2] == "" && !set[m[1]] {
			t.Errorf("gateway.bicepparam does not set %s", m[1])
		}
		delete(set, m[1])
	}
	for name := range set {
		t.Errorf("gateway.bicepparam sets %s, which gateway.bicep does not have", name)
	}
}

// A command line is seen by every user of the machine, and kept in the history of
// the shell.
func TestNoKeyIsOnACommandLine(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?i)(--value|-p +\w*key=|--\w*-key[ =])[^\n]*`).FindString(string(data)); m != "" {
		t.Errorf("README.md: %s", m)
	}
}

func infra(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("infra", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
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
	alarms := infra(t, "alarms.bicep")
	texts := regexp.MustCompile(`"((?:openai|credential|not) [a-z]+)"`).FindAllStringSubmatch(alarms, -1)
	names := regexp.MustCompile(`line\.(\w+)`).FindAllStringSubmatch(alarms, -1)
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
