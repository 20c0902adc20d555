package boundary_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// iamActions are the actions of AWS that the programs under examples/ and what
// they stand on use, by service. IAM takes a name that does not exist without a
// word, and the call that needed it is then refused. A new action needs its name
// here, copied from AWS's Service Authorization Reference.
//
// https://docs.aws.amazon.com/service-authorization/latest/reference/
var iamActions = map[string][]string{
	"secretsmanager": {
		"GetSecretValue", "DescribeSecret", "PutSecretValue", "UpdateSecretVersionStage", "ListSecretVersionIds", "TagResource", "UntagResource",
		"CancelRotateSecret", "RotateSecret",
	},
	"ssm": {"GetParameter", "GetParameters", "GetParameterHistory", "LabelParameterVersion", "PutParameter", "AddTagsToResource", "ListTagsForResource"},
	"sts": {"AssumeRole", "AssumeRoleWithWebIdentity"},
	"kms": {"*", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey"}, // the asterisk: the account administers its key
	"lambda": {
		"InvokeFunction", "InvokeFunctionUrl",
	},
	"logs":    {"CreateLogGroup", "CreateLogStream", "PutLogEvents"},
	"sns":     {"Publish"},
	"sqs":     {"DeleteMessage", "GetQueueAttributes", "ReceiveMessage", "SendMessage"},
	"events":  {"PutEvents"},
	"bedrock": {"CallWithBearerToken", "InvokeModel", "InvokeModelWithResponseStream"},
}

var (
	iamKey    = regexp.MustCompile(`^(\s*)(?:- )?(?:Not)?Action:\s*(.*)$`)
	iamAction = regexp.MustCompile(`^[a-z][a-z0-9-]*:[A-Za-z*]+$`)
	yamlWords = regexp.MustCompile(`[^\s,\[\]"'-][^\s,\[\]"']*`)
)

// templates returns the templates of CloudFormation.
func (r *repository) templates(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, name := range r.other {
		if ext := filepath.Ext(name); (ext == ".yaml" || ext == ".yml") && strings.Contains(r.read(t, name), "AWSTemplateFormatVersion") {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		t.Fatal("no template of CloudFormation")
	}
	return out
}

// actionsOf returns the actions of the statements in a template: what stands
// behind Action, on its line or in the list below it.
func actionsOf(text string) []string {
	var out []string
	add := func(line string) {
		line, _, _ = strings.Cut(line, " #")
		out = append(out, yamlWords.FindAllString(line, -1)...)
	}
	depth := -1 // of the Action whose list this is
	for line := range strings.Lines(text) {
		item := strings.TrimLeft(line, " ")
		switch m := iamKey.FindStringSubmatch(strings.TrimRight(line, "\n")); {
		case m != nil:
			depth = len(m[1])
			add(m[2])
		case depth >= 0 && strings.HasPrefix(item, "- ") && len(line)-len(item) >= depth:
			add(item)
		case strings.TrimSpace(item) != "" && !strings.HasPrefix(item, "#"):
			depth = -1
		}
	}
	return out
}

func TestTemplatesNameActionsThatExist(t *testing.T) {
	r := load(t)
	for _, name := range r.templates(t) {
		actions := actionsOf(r.read(t, name))
		if len(actions) == 0 {
			t.Errorf("%s: no action found", name)
		}
		for _, action := range actions {
			service, operation, _ := strings.Cut(action, ":")
			if !iamAction.MatchString(action) || !slices.Contains(iamActions[service], operation) {
				t.Errorf("%s: the action %q is not in iamActions", name, action)
			}
		}
	}
}

func TestActionsAreFoundInAllForms(t *testing.T) {
	got := actionsOf(`
- Effect: Allow
  Action: kms:Decrypt
  Resource: a:b
- Action: [ssm:GetParameter, "sns:Publish"]
- Action:
  - sts:AssumeRole # the why
  # and another
  - "logs:PutLogEvents"
  Condition:
    - x:Y
- NotAction:
    - sqs:SendMessage
`)
	want := []string{"kms:Decrypt", "ssm:GetParameter", "sns:Publish", "sts:AssumeRole", "logs:PutLogEvents", "sqs:SendMessage"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Of services whose SDK is at hand, an action is the name of an operation.
func TestActionsAreOperationsOfTheSDK(t *testing.T) {
	for _, service := range []string{"secretsmanager", "ssm", "sts"} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/"+service)
		cmd.Dir = load(t).root
		out, err := cmd.Output()
		dir := strings.TrimSpace(string(out))
		if err != nil || dir == "" {
			t.Fatalf("the SDK of %s: %v", service, err)
		}
		for _, operation := range iamActions[service] {
			if _, err := os.Stat(filepath.Join(dir, "api_op_"+operation+".go")); err != nil {
				t.Errorf("%s has no operation %s", service, operation)
			}
		}
	}
}

// A module that nobody updates keeps the vulnerabilities that others have mended.
func TestEveryModuleIsKeptUpToDate(t *testing.T) {
	r := load(t)
	config := r.read(t, ".github/dependabot.yml")
	for _, name := range r.other {
		var dir string
		switch path.Base(name) {
		case "go.mod", "package-lock.json":
			dir = path.Join("/", path.Dir(name))
		default:
			continue
		}
		if !regexp.MustCompile(`(?m)^\s+(- |directory: )` + regexp.QuoteMeta(dir) + `$`).MatchString(config) {
			t.Errorf(".github/dependabot.yml does not name %s", dir)
		}
	}
}
