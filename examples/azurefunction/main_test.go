package main_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

const (
	token1 = "eyJ.CANARY-token-1"
	token2 = "eyJ.CANARY-token-2"
)

// build compiles the handler.
func build(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "handler")
	if runtime.GOOS == "windows" {
		out += ".exe"
	}
	if text, err := exec.CommandContext(t.Context(), "go", "build", "-o", out, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, text)
	}
	return out
}

// A deployment is the handler under its host, with an identity and a service.
type deployment struct {
	host     *azuretest.FunctionsHost
	identity *azuretest.Identity
	server   *clienttest.Server
}

func deploy(t *testing.T, flavor clienttest.Flavor, key string) deployment {
	t.Helper()
	executable := build(t)
	azuretest.ClearEnv(t)
	d := deployment{identity: azuretest.NewIdentity(t, token1), server: clienttest.NewServer(key)}
	t.Cleanup(d.server.Close)
	d.server.SetFlavor(flavor)
	t.Setenv("AZURE_OPENAI_ENDPOINT", d.server.Origin)
	t.Setenv("AZURE_OPENAI_DEPLOYMENT", "gpt")
	d.host = azuretest.StartFunctions(t, executable)
	return d
}

func TestBothTriggersWorkWithTheManagedIdentity(t *testing.T) {
	d := deploy(t, clienttest.AzureOpenAI, token1)
	if status, answer := d.host.Forward(http.MethodPost, "/api/ask", "what is a latchkey?"); status != 200 || answer != "echo: what is a latchkey?" {
		t.Errorf("HTTP: %d, %q", status, answer)
	}
	for _, text := range []string{"a long text", `"a long text"`} {
		if got := d.host.Invoke("summarize", map[string]any{"text": text}); got.Status != 200 || got.Outputs["summary"] != "echo: a long text" {
			t.Errorf("queue: %+v", got)
		}
	}
	if status, _ := d.host.Forward(http.MethodPost, "/api/ask", ""); status != http.StatusBadRequest {
		t.Errorf("no question: %d", status)
	}
	if n := d.identity.Requests(); n != 1 {
		t.Errorf("%d tokens for three calls", n)
	}
}

func TestARevokedTokenIsReplacedInAnInvocation(t *testing.T) {
	d := deploy(t, clienttest.AzureOpenAI, token1)
	d.identity.SetToken(token2)
	d.server.Rotate(token2)
	if status, _ := d.host.Forward(http.MethodPost, "/api/ask", "hi"); status != 200 {
		t.Errorf("HTTP: %d", status)
	}
}

func TestALogTellsWhatToDoAndNoSecret(t *testing.T) {
	d := deploy(t, clienttest.AzureOpenAI, token1)
	fault := clienttest.AzurePermissionDenied.Fault()
	fault.Times = -1
	d.server.Inject(fault)
	if got := d.host.Invoke("summarize", map[string]any{"text": "x"}); got.Status != http.StatusInternalServerError {
		t.Errorf("the host would not show the message again: %+v", got)
	}
	said := false
	output := d.host.Output("not summarized")
	for line := range strings.Lines(output) {
		var record struct {
			Msg, Hint   string
			OperationID string `json:"operation_Id"`
		}
		if json.Unmarshal([]byte(line), &record) != nil {
			t.Error("a line of the log is not JSON")
		}
		said = said || record.Msg == "not summarized" && record.OperationID == azuretest.TraceID && strings.Contains(record.Hint, "Cognitive Services OpenAI User")
	}
	if !said {
		t.Error("no record with the trace and the role to assign")
	}
	if strings.Contains(output, "CANARY") {
		t.Error("the log shows a secret")
	}
}

// The files that the host reads fit the routes and each other.
func TestTheFunctionsAreDeclared(t *testing.T) {
	var host struct {
		CustomHandler struct {
			Description                 struct{ DefaultExecutablePath string }
			EnableForwardingHTTPRequest bool
		}
	}
	read(t, "host.json", &host)
	if host.CustomHandler.Description.DefaultExecutablePath != "handler" || !host.CustomHandler.EnableForwardingHTTPRequest {
		t.Errorf("host.json: %+v", host)
	}
	for function, trigger := range map[string]string{"ask": "httpTrigger", "summarize": "queueTrigger"} {
		var f struct{ Bindings []struct{ Type, Name string } }
		read(t, filepath.Join(function, "function.json"), &f)
		if len(f.Bindings) != 2 || f.Bindings[0].Type != trigger {
			t.Errorf("%s: %+v", function, f)
		}
	}
}

func read(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
