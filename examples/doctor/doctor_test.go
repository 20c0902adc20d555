package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
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
	code := run(t.Context(), args, output{to: &out, terminal: terminal}, &errs)
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

// same fails if the golden file of that name differs from text.
func same(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s differs; with -update it is written anew. Got:\n%s", file, text)
	}
}

func TestTheDoctorsOutput(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("messages of the system differ; CI runs this on Linux")
	}
	all := slices.Concat(laptops(), clouds())
	if len(all) < 12 {
		t.Errorf("%d environments, want 12", len(all))
	}
	for _, p := range all {
		for _, width := range []int{80, 120} {
			t.Run(fmt.Sprintf("%s, %d columns", p.name, width), func(t *testing.T) {
				clear(t)
				p.enter(t)
				text, code := examine(t, false, append(p.args, fmt.Sprintf("-width=%d", width))...)
				if code != p.code {
					t.Errorf("exit code %d, want %d", code, p.code)
				}
				fits(t, text, width)
				same(t, fmt.Sprintf("%s-%d", p.name, width), masked(text))
			})
		}
	}
}

// fits checks that no line is too wide, but for a word that has to be copied.
func fits(t *testing.T, text string, width int) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if words := strings.Fields(line); utf8.RuneCountInString(line) > width && len(words) > 2 {
			t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
		}
	}
}

// What is to be done is one sentence that begins with the action.
func TestEachDoIsOneActionOfAPerson(t *testing.T) {
	verbs := strings.Fields("set unset correct put store move check allow mount name run start give assign log share install pass")
	for _, p := range slices.Concat(laptops(), clouds()) {
		t.Run(p.name, func(t *testing.T) {
			clear(t)
			p.enter(t)
			text, _ := examine(t, false, append(p.args, "-json")...)
			var d diagnosis
			if err := json.Unmarshal([]byte(text), &d); err != nil {
				t.Fatal(err)
			}
			dos := []string{d.Do}
			for _, a := range d.Report.Attempts {
				dos = append(dos, a.Do)
				if a.Result == "failed" && a.Do == "" {
					t.Errorf("%s failed, and nothing is said to do: %s", a.Source, a.Why)
				}
			}
			if !d.OK && strings.Join(dos, "") == "" {
				t.Errorf("%s, and nothing is said to do", d.Problem)
			}
			for _, do := range dos {
				verb, _, _ := strings.Cut(do, " ")
				if do != "" && (!slices.Contains(verbs, strings.TrimSuffix(verb, ":")) || strings.Contains(do, ". ")) {
					t.Errorf("not one action: %s", do)
				}
			}
		})
	}
}

func TestAnArgumentThatIsNoFlagIsRefusedAndNotQuoted(t *testing.T) {
	clear(t)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"sk-CANARY-1"}, output{to: &out}, &errs); code != 2 || out.Len() > 0 ||
		!strings.Contains(errs.String(), "unknown argument") || strings.Contains(errs.String(), "CANARY") {
		t.Errorf("exit code %d, %d bytes of output", code, out.Len())
	}
	if code := run(t.Context(), []string{"-help"}, output{to: &out}, &errs); code != 0 || out.Len() > 0 {
		t.Errorf("-help: exit code %d", code)
	}
}

func TestThePageIsAsWideAsTheTerminal(t *testing.T) {
	clear(t)
	for _, width := range []int{1, 40, 60, 80, 100, 200} {
		var out, errs bytes.Buffer
		run(t.Context(), nil, output{to: &out, terminal: true, width: width}, &errs)
		fits(t, regexp.MustCompile(`\x1b\[\d+m`).ReplaceAllString(out.String(), ""), max(width, 40))
	}
	if text, _ := examine(t, false); !strings.Contains(text, "looked for") {
		t.Error("a file has no whole table")
	}
}

// The picture in the README is a golden file.
func TestTheReadmeShowsTheOutput(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/functions-identity-120.golden")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "```text\n"+string(golden)+"```") {
		t.Error("README.md does not show testdata/functions-identity-120.golden")
	}
}

func TestMachinesGetTheSameInJSON(t *testing.T) {
	clear(t)
	srv := clienttest.NewServer("sk-CANARY-1")
	t.Cleanup(srv.Close)
	setenv(t, "OPENAI_API_KEY=sk-CANARY-1", "OPENAI_BASE_URL="+strings.Replace(srv.URL, "127.0.0.1", "localhost", 1))
	text, code := examine(t, true, "-json", "-call")
	var d diagnosis
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if code != 0 || !d.OK || d.Problem != "" || d.Report.Winner != "env:OPENAI_API_KEY" || d.Call == nil || d.Call.Status != http.StatusOK || d.Call.Sends != 1 || d.Call.Refused != "" {
		t.Errorf("exit code %d, %+v", code, d)
	}
	happened := map[string]bool{}
	for _, s := range d.Call.Steps {
		happened[s.Name] = s.Happened
	}
	for name, want := range map[string]bool{"secret": true, "layers": true, "DNS": true, "connect": true, "TLS": false, "first byte": true, "answer": true, "total": true} {
		if happened[name] != want {
			t.Errorf("step %s: %t, want %t", name, happened[name], want)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("colors in JSON")
	}
}

func TestTheStepsEndWhereACallFailed(t *testing.T) {
	clear(t)
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the handshake
	srv.StartTLS()
	t.Cleanup(srv.Close)
	setenv(t, "OPENAI_API_KEY=sk-CANARY-1", "OPENAI_BASE_URL="+srv.URL)
	text, code := examine(t, true, "-json", "-call")
	var d diagnosis
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if code != 1 || d.Call == nil || d.Call.Status != 0 || !strings.Contains(d.Problem, "certificate") {
		t.Fatalf("exit code %d, %+v", code, d)
	}
	for _, s := range d.Call.Steps {
		if want := map[string]bool{"secret": true, "layers": true, "TLS": true, "total": true}[s.Name]; s.Happened != want {
			t.Errorf("step %s: %t, want %t", s.Name, s.Happened, want)
		}
	}
}

// What the doctor says of several sends comes from the last of them, and adds
// up to the whole.
func TestTheStepsOfACallAddUp(t *testing.T) {
	clear(t)
	srv := clienttest.NewServer("sk-CANARY-1")
	t.Cleanup(srv.Close)
	srv.Inject(clienttest.Fault{Status: 503, Header: http.Header{"Retry-After": {"0"}}})
	setenv(t, "OPENAI_API_KEY=sk-CANARY-bad", "OPENAI_BASE_URL="+srv.URL)
	text, code := examine(t, true, "-json", "-call")
	var d diagnosis
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if code != 1 || d.Call == nil || d.Call.Status != http.StatusUnauthorized || d.Call.Sends != 2 || d.Call.Refused != "env:OPENAI_API_KEY" {
		t.Fatalf("exit code %d, %+v", code, d.Call)
	}
	var sum time.Duration
	took := map[string]time.Duration{}
	for _, s := range d.Call.Steps {
		took[s.Name] = s.Took
		if s.Took < 0 {
			t.Errorf("step %s took %v", s.Name, s.Took)
		}
		switch s.Name {
		case "secret", "layers", "earlier", "connect", "first byte", "answer":
			sum += s.Took
		}
	}
	if took["earlier"] == 0 || took["first byte"] == 0 || sum > took["total"] {
		t.Errorf("%v in steps of %v: %v", sum, took["total"], took)
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
	if problem, do := mismatch("openaiworkload:kubernetes"); problem == "" || do != "unset AZURE_OPENAI_ENDPOINT" {
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
	if code := run(ctx, nil, output{to: &out}, &out); code != 1 {
		t.Errorf("exit code %d", code)
	}
}
