//go:build unix

package main_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/openaitest"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// resource returns the text of a resource of template.yaml.
func resource(t *testing.T, name string) string {
	t.Helper()
	_, text, found := strings.Cut(read(t, "template.yaml"), "\n  "+name+":\n")
	if !found {
		t.Fatalf("template.yaml has no resource %s", name)
	}
	if end := regexp.MustCompile(`\n {0,2}\S`).FindStringIndex(text); end != nil {
		text = text[:end[0]]
	}
	return text
}

// lines adds up the metrics that a log holds, and counts its messages.
func lines(t *testing.T, log string) (sum map[string]float64, said map[string]int) {
	t.Helper()
	sum, said = map[string]float64{}, map[string]int{}
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "{") {
			continue // of the runtime, which logs errors as well
		}
		var values map[string]any
		if err := json.Unmarshal([]byte(line), &values); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		text, _ := values["msg"].(string)
		said[text]++
		for name, value := range values {
			if n, ok := value.(float64); ok && values["_aws"] != nil {
				sum[name] += n
			}
		}
	}
	return sum, said
}

// Each alarm on a metric of the function looks for one that the function writes.
func TestTheAlarmsReadWhatTheFunctionWrites(t *testing.T) {
	w := newWorld(t, "READERS_TTL=1ms", "OVERLAP=2ms")
	for range 2 {
		w.must(w.secrets.Rotate(secretName, false, w.function))
	}
	w.must(w.function(awstest.RotationEvent{Step: "retire"}))
	w.openai.Behave(openaitest.Behavior{Status: 403, Code: "forbidden"})
	if err := w.secrets.Rotate(secretName, false, w.function); err == nil {
		t.Error("a rotation without an issuer is successful")
	}
	sum, said := lines(t, w.stop())
	if sum["RotationFailures"] != 1 || sum["Rotations"] != 2 || sum["KeysRevoked"] != 1 || said["rotation failed"] != 1 {
		t.Errorf("%v, %v", sum, said)
	}
	if late := sum["HoursLate"]; late > -719 || late < -720 {
		t.Errorf("HoursLate is %v", late)
	}
	own := 0
	for _, alarm := range []string{"FailureAlarm", "LateAlarm", "ErrorAlarm"} {
		text := resource(t, alarm)
		name := regexp.MustCompile(`MetricName: (\w+)`).FindStringSubmatch(text)
		if _, ok := sum[name[1]]; ok && strings.Contains(text, "Namespace: !Ref AWS::StackName") {
			own++
		} else if name[1] != "Errors" || !strings.Contains(text, "AWS/Lambda") {
			t.Errorf("%s looks for %s, which nobody writes", alarm, name[1])
		}
	}
	if own != 2 {
		t.Errorf("%d alarms on metrics of the function", own)
	}
}

// A rotation that does not take place has to be told of, also when nothing runs.
func TestALateRotationSetsTheAlarmOffAlsoIfNothingRuns(t *testing.T) {
	for alarm, want := range map[string]string{"LateAlarm": "TreatMissingData: breaching", "FailureAlarm": "TreatMissingData: notBreaching"} {
		if !strings.Contains(resource(t, alarm), want) {
			t.Errorf("%s: no %s", alarm, want)
		}
	}
}

func TestWhatIsRetainedCanStillBeRead(t *testing.T) {
	for _, name := range []string{"AdminSecret", "AdminKey", "LogGroup"} {
		for _, policy := range []string{"DeletionPolicy: Retain", "UpdateReplacePolicy: Retain"} {
			if !strings.Contains(resource(t, name), policy) {
				t.Errorf("%s has no %s", name, policy)
			}
		}
	}
}

// The statements of the role, and nothing else: what each step needs, each on one
// resource.
func TestTheRoleHasWhatTheStepsNeed(t *testing.T) {
	text := resource(t, "RotatorFunction")
	got := map[string][]string{}
	for _, statement := range strings.Split(text, "Sid: ")[1:] {
		statement, _, _ = strings.Cut(statement, "      Events:")
		resources := regexp.MustCompile(`Resource: (.*)`).FindAllStringSubmatch(statement, -1)
		if len(resources) != 1 || strings.Contains(resources[0][1], "*") {
			t.Fatalf("not one resource: %s", statement)
		}
		got[resources[0][1]] = append(got[resources[0][1]], regexp.MustCompile(`(?:secretsmanager|kms):[A-Z]\w+\b`).FindAllString(statement, -1)...)
	}
	for where, want := range map[string][]string{
		"!Ref SecretArn": {
			"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:TagResource", "secretsmanager:UpdateSecretVersionStage",
		},
		"!Ref KeyArn":          {"kms:Decrypt", "kms:EncryptionContext", "kms:GenerateDataKey", "kms:ViaService"},
		"!Ref AdminSecret":     {"secretsmanager:GetSecretValue"},
		"!GetAtt AdminKey.Arn": {"kms:Decrypt", "kms:EncryptionContext", "kms:ViaService"},
	} {
		if have := slices.Sorted(slices.Values(got[where])); !slices.Equal(have, want) {
			t.Errorf("%s: %v, want %v", where, have, want)
		}
		delete(got, where)
	}
	if len(got) > 0 {
		t.Errorf("and %v", got)
	}
	policy := resource(t, "AdminSecretPolicy")
	for _, want := range []string{"Effect: Deny", "Action: secretsmanager:GetSecretValue", "ArnNotEquals", "aws:PrincipalArn: !GetAtt RotatorFunctionRole.Arn", "BlockPublicPolicy: true"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy of the admin key's secret has no %s", want)
		}
	}
}

// What the template sets is what the program reads, the schedule sends a step that
// there is, and there is time to wait for a new key.
func TestTheTemplateFitsTheProgram(t *testing.T) {
	function := resource(t, "RotatorFunction")
	program := read(t, "main.go")
	set := regexp.MustCompile(`(?m)^          ([A-Z_]+):`).FindAllStringSubmatch(function, -1)
	if len(set) != 12 {
		t.Errorf("%d variables", len(set))
	}
	for _, v := range set {
		if !strings.Contains(program, strconv.Quote(v[1])) {
			t.Errorf("main.go does not read %s", v[1])
		}
	}
	for _, want := range []string{`Input: '{"Step":"retire"}'`, "Type: ScheduleV2", "ReservedConcurrentExecutions: 1"} {
		if !strings.Contains(function, want) {
			t.Errorf("no %s", want)
		}
	}
	timeout := regexp.MustCompile(`Timeout: (\d+)`).FindStringSubmatch(function)
	if n, err := strconv.Atoi(timeout[1]); err != nil || n < 2*120 {
		t.Errorf("%v s are too short to wait for a new key, and to go on", timeout[1])
	}
	rotation := resource(t, "Rotation")
	for _, want := range []string{"SecretId: !Ref SecretArn", "RotationLambdaARN: !GetAtt RotatorFunction.Arn", "RotateImmediatelyOnUpdate: false", "DependsOn: RotatorPermission"} {
		if !strings.Contains(rotation, want) {
			t.Errorf("the schedule has no %s", want)
		}
	}
	if !strings.Contains(resource(t, "RotatorPermission"), "SourceAccount: !Ref AWS::AccountId") {
		t.Error("Secrets Manager of other accounts may call the function")
	}
}
