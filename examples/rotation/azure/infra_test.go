package main_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func bicep(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("infra", "main.bicep"))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)(^|\s)//.*$`).ReplaceAllString(string(data), "")
}

// No Bicep compiler is at hand here; what can be told without one is.
func TestTheBicepGivesNoRightThatIsNotNeeded(t *testing.T) {
	source := bicep(t)
	for setting, want := range map[string]int{
		`identity: { type: 'SystemAssigned' }`:                        2, // the function, the topic
		`'Microsoft.CognitiveServices/accounts/listKeys/action'`:      1,
		`'Microsoft.CognitiveServices/accounts/regenerateKey/action'`: 1,
		`vaults/secrets/getSecret/action'`:                            1,
		`vaults/secrets/setSecret/action'`:                            1,
		`vaults/secrets/readMetadata/action'`:                         1,
		`assignableScopes: [resourceGroup().id]`:                      2,
		`scope: account` + "\n":                                       1,
		`scope: vault::key` + "\n":                                    2, // the function and the readers
		`scope: vault::journal` + "\n":                                1, // the function alone
		`scope: vault` + "\n":                                         0,
		`roleDefinitionId: secretRole.id`:                             2,
		`principalId: reader` + "\n":                                  1,
		`roles.secretsUser)`:                                          2,
		`allowSharedKeyAccess: false`:                                 1,
		`outboundVnetRouting: { allTraffic: !empty(subnetId) }`:       1,
		`'Microsoft.EventGrid/systemTopics@2025-02-15'`:               1,
		`resourceId: '${app.id}/functions/nearexpiry'`:                1,
		`eventDeliverySchema: 'CloudEventSchemaV1_0'`:                 1,
		`'Microsoft.Insights/scheduledQueryRules@2026-03-01'`:         1,
		`'Microsoft.Insights/actionGroups@2023-01-01'`:                1,
		`{ name: 'FUNCTIONS_WORKER_RUNTIME', value: 'custom' }`:       1,
	} {
		if got := strings.Count(source, setting); got != want {
			t.Errorf("%q is there %d times, want %d", setting, got, want)
		}
	}
	for _, wrong := range []string{"listKeys(", "AccountKey=", "SharedAccessSignature", "'*'", "/*'", "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"} { // the last is Key Vault Secrets Officer
		if strings.Contains(source, wrong) {
			t.Errorf("%s: there is to be none", wrong)
		}
	}
	bare := regexp.MustCompile(`'(\\'|[^'\n])*'`).ReplaceAllString(source, "")
	for _, pair := range []string{"{}", "[]", "()"} {
		if opened, closed := strings.Count(bare, pair[:1]), strings.Count(bare, pair[1:]); opened != closed {
			t.Errorf("%d %s and %d %s", opened, pair[:1], closed, pair[1:])
		}
	}
	for _, name := range regexp.MustCompile(`os\.Getenv\("([A-Z_]+)"\)`).FindAllStringSubmatch(program(t), -1) {
		if !strings.Contains(source, "{ name: '"+name[1]+"',") && name[1] != "FUNCTIONS_CUSTOMHANDLER_PORT" {
			t.Errorf("the setting %s is not made", name[1])
		}
	}
}

func program(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The alarms look for messages and members of lines that the handler writes.
func TestTheAlarmsReadWhatTheHandlerWrites(t *testing.T) {
	d := deploy(t, build(t))
	_ = d.host.Invoke("rotate", map[string]any{})
	d.resource.Answer(http.StatusForbidden, "")
	_ = d.host.Invoke("rotate", map[string]any{})
	messages, members := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(d.host.Output("rotation failed")) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) != nil {
			t.Error("a line of the log is not JSON")
		}
		if text, ok := record["msg"].(string); ok {
			messages[text] = true
		}
		for name := range record {
			members[name] = true
		}
	}
	source := bicep(t)
	texts := regexp.MustCompile(`line\.msg == "([a-z ]+)"`).FindAllStringSubmatch(source, -1)
	if len(texts) != 3 {
		t.Fatalf("%d messages in the alarms", len(texts))
	}
	for _, text := range texts {
		if !messages[text[1]] {
			t.Errorf("the alarms look for %q, which nobody writes", text[1])
		}
	}
	for _, name := range regexp.MustCompile(`line\.(\w+)`).FindAllStringSubmatch(source, -1) {
		if !members[name[1]] {
			t.Errorf("the alarms look for the member %s, which no line has", name[1])
		}
	}
}
