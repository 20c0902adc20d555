package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/internal/awstest"
	"github.com/latchkey-go/latchkey/internal/azuretest"
)

var update = flag.Bool("update", false, "write the golden files")

// clear leaves nothing that says where and who the process is.
func clear(t *testing.T) {
	t.Helper()
	azuretest.ClearEnv(t)
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		for _, prefix := range [...]string{"OPENAI_", "AZURE_", "AWS_", "VAULT_", "IDENTITY_", "MSI_", "NO_PROXY", "no_proxy", "HTTP", "http", "NO_COLOR"} {
			if strings.HasPrefix(name, prefix) {
				t.Setenv(name, "")
			}
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func setenv(t *testing.T, pairs ...string) {
	t.Helper()
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}

// onLambda is a function with a role that may read secrets.
func onLambda(t *testing.T) *awstest.SecretsManager {
	sm := awstest.NewSecretsManager()
	server := httptest.NewServer(sm)
	t.Cleanup(server.Close)
	for name, value := range sm.Identity.Env(sm.Region) {
		t.Setenv(name, value)
	}
	setenv(t, "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_ENDPOINT_URL_SECRETS_MANAGER="+server.URL, "AWS_MAX_ATTEMPTS=1")
	return sm
}

// examine runs the doctor and checks what holds for every run.
func examine(t *testing.T, terminal bool, args ...string) (string, int) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, &out, &errs, terminal)
	if strings.Contains(out.String()+errs.String(), "CANARY") {
		t.Fatal("the output holds a secret")
	}
	if errs.Len() > 0 && code != 2 {
		t.Errorf("on standard error: %s", errs.String())
	}
	return out.String(), code
}

// masked is text without what differs from run to run.
func masked(text string) string {
	for _, mask := range [...]struct{ pattern, by string }{
		{`[ \d.]{7} ms`, "    #.# ms"},
		{`\d{4}-\d\d-\d\dT[\d:]+Z, in [\w.]+`, "TIME, in DURATION"},
		{`\d{4}-\d\d-\d\dT[\d:.]+Z`, "TIME"},
		{`127\.0\.0\.1:\d+`, "127.0.0.1:PORT"},
		{`(version +)\S{8}-\S+`, "${1}VERSION"},
	} {
		text = regexp.MustCompile(mask.pattern).ReplaceAllString(text, mask.by)
	}
	return text
}

func TestTheDoctorsOutput(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("messages of the system differ; CI runs this on Linux")
	}
	for _, c := range []struct {
		name  string
		enter func(t *testing.T)
		args  []string
		code  int
	}{
		{"laptop-nothing", func(*testing.T) {}, nil, 1},
		{"laptop-key", func(t *testing.T) {
			srv := clienttest.NewServer("sk-CANARY-1")
			t.Cleanup(srv.Close)
			setenv(t, "OPENAI_API_KEY=sk-CANARY-1", "OPENAI_BASE_URL="+srv.URL)
		}, []string{"-call"}, 0},
		{"lambda-secret", func(t *testing.T) {
			onLambda(t).Put("prod/openai", `{"apiKey":"sk-CANARY-1"}`)
			setenv(t, "OPENAI_CREDENTIAL=awssecretsmanager:///prod/openai?field=apiKey&standby-stage=AWSPENDING", "OPENAI_API_KEY=sk-CANARY-old")
		}, nil, 0},
		{"lambda-denied", func(t *testing.T) {
			onLambda(t).Fail(awstest.Fault{Status: 400, Type: "AccessDeniedException", Message: "CANARY"})
			setenv(t, "OPENAI_CREDENTIAL=vault://secret/openai awssecretsmanager:///prod/openai env://OPENAI_API_KEY", "OPENAI_API_KEY=sk-CANARY-1")
		}, nil, 1},
		{"functions-identity", func(t *testing.T) {
			azuretest.NewIdentity(t, "CANARY-token")
			setenv(t, "WEBSITE_SITE_NAME=f", "AZURE_OPENAI_ENDPOINT=https://res.openai.azure.com", "OPENAI_API_KEY=sk-CANARY-1")
		}, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			clear(t)
			c.enter(t)
			text, code := examine(t, false, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			got := masked(text)
			file := filepath.Join("testdata", c.name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs; with -update it is written anew. Got:\n%s", file, got)
			}
		})
	}
}

// The picture in the README is a golden file.
func TestTheReadmeShowsTheOutput(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/functions-identity.golden")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "```text\n"+string(golden)+"```") {
		t.Error("README.md does not show testdata/functions-identity.golden")
	}
}

func TestMachinesGetTheSameInJSON(t *testing.T) {
	clear(t)
	srv := clienttest.NewServer("sk-CANARY-1")
	t.Cleanup(srv.Close)
	setenv(t, "OPENAI_API_KEY=sk-CANARY-1", "OPENAI_BASE_URL="+srv.URL)
	text, code := examine(t, true, "-json", "-call")
	var d diagnosis
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if code != 0 || !d.OK || d.Problem != "" || d.Report.Winner != "env:OPENAI_API_KEY" || d.Call == nil || d.Call.Status != http.StatusOK || d.Call.Sends != 1 {
		t.Errorf("exit code %d, %+v", code, d)
	}
	happened := map[string]bool{}
	for _, s := range d.Call.Steps {
		happened[s.Name] = s.Happened
	}
	for name, want := range map[string]bool{"secret": true, "layers": true, "DNS": false, "connect": true, "TLS": false, "first byte": true, "answer": true, "total": true} {
		if happened[name] != want {
			t.Errorf("step %s: %t, want %t", name, happened[name], want)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("colors in JSON")
	}
}

func TestTheExitCodeSaysWhetherACallWouldWork(t *testing.T) {
	srv := clienttest.NewServer("sk-CANARY-good")
	t.Cleanup(srv.Close)
	for _, c := range []struct {
		name string
		env  []string
		args []string
		code int
		says string
	}{
		{"nothing", nil, nil, 1, "would fail"},
		{"a key", []string{"OPENAI_API_KEY=sk-CANARY-good"}, nil, 0, "would work"},
		{"a key that works", []string{"OPENAI_API_KEY=sk-CANARY-good", "OPENAI_BASE_URL=" + srv.URL}, []string{"-call"}, 0, "A call works."},
		{"a key that does not", []string{"OPENAI_API_KEY=sk-CANARY-bad", "OPENAI_BASE_URL=" + srv.URL}, []string{"-call"}, 1, "answers 401"},
		{"nobody there", []string{"OPENAI_API_KEY=sk-CANARY-good", "OPENAI_BASE_URL=http://127.0.0.1:1/v1"}, []string{"-call", "-timeout=5s"}, 1, "no answer"},
		{"a broken base URL", []string{"OPENAI_API_KEY=sk-CANARY-good", "OPENAI_BASE_URL=http://example.com"}, nil, 1, "would fail"},
		{"two servers", []string{"AZURE_OPENAI_API_KEY=CANARY", "AZURE_OPENAI_ENDPOINT=https://res.openai.azure.com", "OPENAI_BASE_URL=" + srv.URL}, nil, 1, "different servers"},
		{"a flag that is none", nil, []string{"-verbose"}, 2, ""},
		{"an argument", nil, []string{"call"}, 2, ""},
		{"no time", nil, []string{"-timeout=0s"}, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			clear(t)
			setenv(t, c.env...)
			text, code := examine(t, false, c.args...)
			if code != c.code || !strings.Contains(text, c.says) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, c.code, c.says, text)
			}
		})
	}
}

func TestATokenForTheWrongServiceIsAProblem(t *testing.T) {
	clear(t)
	azuretest.NewIdentity(t, "CANARY-token")
	setenv(t, "OPENAI_CREDENTIAL=azureidentity://")
	if text, code := examine(t, false); code != 1 || !strings.Contains(text, "set AZURE_OPENAI_ENDPOINT") {
		t.Errorf("exit code %d:\n%s", code, text)
	}
	setenv(t, "AZURE_OPENAI_ENDPOINT=https://res.openai.azure.com")
	if text, code := examine(t, false); code != 0 {
		t.Errorf("exit code %d:\n%s", code, text)
	}
	if mismatch("openaiworkload:kubernetes") == "" {
		t.Error("OpenAI's token is taken for one of Azure's")
	}
}

func TestColorsAreForTerminals(t *testing.T) {
	clear(t)
	setenv(t, "OPENAI_API_KEY=sk-CANARY-1")
	colored := func(terminal bool, args ...string) bool {
		text, _ := examine(t, terminal, args...)
		return strings.Contains(text, "\x1b[")
	}
	if !colored(true) || colored(false) || colored(true, "-no-color") {
		t.Error("colors are not where they belong")
	}
	t.Setenv("NO_COLOR", "1")
	if colored(true) {
		t.Error("NO_COLOR is not heeded")
	}
}

func TestADoneContextEndsIt(t *testing.T) {
	clear(t)
	setenv(t, "OPENAI_API_KEY=sk-CANARY-1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if code := run(ctx, nil, &out, &out, false); code != 1 {
		t.Errorf("exit code %d", code)
	}
}
