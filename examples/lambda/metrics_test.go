//go:build unix

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

// An emf is a line of the embedded metric format, as CloudWatch reads it.
type emf struct {
	AWS struct {
		Timestamp         int64
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name, Unit string }
		}
	} `json:"_aws"`
}

// measured adds up the metrics that a log holds.
func measured(t *testing.T, log string) map[string]float64 {
	t.Helper()
	sum := map[string]float64{}
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, `{"`) || !strings.Contains(line, `"_aws"`) {
			continue
		}
		var e emf
		var values map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil || json.Unmarshal([]byte(line), &values) != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if len(e.AWS.CloudWatchMetrics) != 1 || e.AWS.Timestamp == 0 {
			t.Fatalf("no metrics in %s", line)
		}
		m := e.AWS.CloudWatchMetrics[0]
		for _, set := range m.Dimensions {
			for _, name := range set {
				if text, ok := values[name].(string); !ok || text == "" {
					t.Errorf("the dimension %s has no value in %s", name, line)
				}
			}
		}
		for _, metric := range m.Metrics {
			value, ok := values[metric.Name].(float64)
			if !ok || m.Namespace != "stack" || !slices.Contains([]string{"Count", "Milliseconds", "None"}, metric.Unit) {
				t.Errorf("%s: %v in %s", metric.Name, value, line)
			}
			sum[metric.Name] += value
		}
	}
	return sum
}

// matching counts the lines that a metric filter of the form
// { $.msg = "a" || $.msg = "b" } matches.
func matching(t *testing.T, pattern, log string) int {
	t.Helper()
	var texts []string
	for _, term := range strings.Split(strings.Trim(pattern, "{} "), "||") {
		found := regexp.MustCompile(`^\s*\$\.msg = "([^"]+)"\s*$`).FindStringSubmatch(term)
		if found == nil {
			t.Fatalf("a term that this test does not read: %s", term)
		}
		texts = append(texts, found[1])
	}
	n := 0
	for line := range strings.Lines(log) {
		var record struct {
			Message string `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &record) == nil && slices.Contains(texts, record.Message) {
			n++
		}
	}
	return n
}

// What the function writes is what the alarms and the dashboard look for.
func TestTheAlarmsReadWhatTheFunctionWrites(t *testing.T) {
	w := newWorld(t)
	p := w.start("METRICS_NAMESPACE=stack", "PRICE_INPUT=2", "PRICE_OUTPUT=8")
	w.prompt("before")
	w.secrets.Put("prod/openai", fmt.Sprintf(`{"apiKey":%q}`, newKey))
	w.api.Rotate(newKey)
	w.prompt("after")
	w.secrets.Fail(awstest.Fault{Status: 500, Times: -1})
	w.api.Revoke(newKey)
	if r, _ := w.invoke(`{"prompt":"in vain"}`); r.StatusCode < 500 {
		t.Errorf("status %d without a key", r.StatusCode)
	}
	log := p.stop()
	template, err := os.ReadFile("template.yaml")
	if err != nil {
		t.Fatal(err)
	}

	sum := measured(t, log)
	for name, least := range map[string]float64{
		"Sends": 4, "FailedSends": 2, "CredentialRefused": 2, "Rotations": 1, "Rejections": 2, "InputTokens": 2, "OutputTokens": 2, "Spend": 1e-6,
	} {
		if sum[name] < least {
			t.Errorf("%s is %v, want at least %v", name, sum[name], least)
		}
	}
	if _, ok := sum["OldVersionUsed"]; !ok || sum["OldVersionUsed"] != 0 {
		t.Errorf("OldVersionUsed is %v", sum["OldVersionUsed"])
	}

	filters := regexp.MustCompile(`FilterPattern: '([^']+)'`).FindAllStringSubmatch(string(template), -1)
	if len(filters) != 2 {
		t.Fatalf("%d metric filters", len(filters))
	}
	for _, f := range filters {
		if n := matching(t, f[1], log); n == 0 {
			t.Errorf("no line of the log matches %s", f[1])
		}
	}

	known := map[string]bool{"CredentialRejections": true, "FailedCalls": true, "HoursToExpiry": true, "ReadFailures": true, "StaleServed": true}
	for name := range sum {
		known[name] = true
	}
	names := regexp.MustCompile(`MetricName: (\w+)|"(?:\$\{AWS::StackName\}|\.)", "(\w+)"`).FindAllStringSubmatch(string(template), -1)
	if len(names) < 15 {
		t.Errorf("%d names of metrics in the template", len(names))
	}
	for _, n := range names {
		if name := n[1] + n[2]; !known[name] {
			t.Errorf("the template looks for %s, which nobody writes", name)
		}
	}
	dashboard := regexp.MustCompile(`(?s)DashboardBody: !Sub \|\n(.*?)\n\n`).FindStringSubmatch(string(template))
	if dashboard == nil || !json.Valid([]byte(dashboard[1])) {
		t.Error("the dashboard is no JSON")
	}
}

func TestAPriceThatIsNoneIsRefused(t *testing.T) {
	w := newWorld(t)
	p := w.run([]string{"METRICS_NAMESPACE=stack", "PRICE_INPUT=cheap"}, "hello")
	if err := <-p.end; err == nil || !strings.Contains(p.log.String(), "PRICE_INPUT") {
		t.Errorf("%v: %s", err, p.log.String())
	}
}
