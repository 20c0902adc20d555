//go:build unix

package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/openaitest"
)

const (
	secretName = "prod/openai"
	adminName  = "prod/openai-admin"
	adminKey   = "sk-admin-CANARY-0123456789"
	invoked    = 20 * time.Second // the time of an invocation
)

// build builds the example, but for CGO_ENABLED, by which the compiler would have to
// begin anew with the SDKs.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rotation-aws")
	if err != nil {
		return "", err
	}
	exe := filepath.Join(dir, "bootstrap")
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", exe, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return exe, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if exe, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(exe))
	}
	os.Exit(code)
}

// A world is what is around the function, which runs as a process.
type world struct {
	t       *testing.T
	secrets *awstest.SecretsManager
	openai  *openaitest.Service
	runtime *awstest.Runtime
	cmd     *exec.Cmd
	log     bytes.Buffer
	end     chan error
}

func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	w := &world{t: t, secrets: awstest.NewSecretsManager(), openai: openaitest.New(adminKey, nil, nil), runtime: awstest.NewRuntime(), end: make(chan error, 1)}
	w.secrets.RotationToken = "CANARY-rotation-token"
	w.secrets.Create(secretName)
	w.secrets.Put(adminName, fmt.Sprintf(`{"adminKey":%q}`, adminKey))
	store, openai, runtime := httptest.NewServer(w.secrets), httptest.NewServer(w.openai), httptest.NewServer(w.runtime)
	for _, server := range []*httptest.Server{store, openai, runtime} {
		t.Cleanup(server.Close)
	}
	exe, err := build()
	if err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "none")
	w.cmd = exec.CommandContext(t.Context(), exe)
	w.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + store.URL, "OPENAI_BASE_URL=" + openai.URL + "/v1/",
		"AWS_LAMBDA_FUNCTION_NAME=test", "AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(runtime.URL, "http://"),
		"SECRET_ID=" + w.secrets.ARN(secretName), "SECRET_FIELD=apiKey", "EXPIRY_TAG=expires",
		"ADMIN_SECRET_ID=" + w.secrets.ARN(adminName), "ADMIN_SECRET_FIELD=adminKey",
		"OPENAI_PROJECT=" + openaitest.Project, "OPENAI_SERVICE_ACCOUNT=" + openaitest.ServiceAccount, "OPENAI_SCOPES=api.model.request",
		"METRICS_NAMESPACE=stack", "ROTATE_EVERY=30d",
	}, env...)
	for name, value := range w.secrets.Identity.Env(w.secrets.Region) {
		w.cmd.Env = append(w.cmd.Env, name+"="+value)
	}
	w.cmd.Stdout, w.cmd.Stderr = &w.log, &w.log
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { w.end <- w.cmd.Wait() }()
	return w
}

// stop ends the process and returns its log, which must not show a secret.
func (w *world) stop() string {
	w.t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	<-w.end
	if strings.Contains(w.log.String(), "CANARY") {
		w.t.Fatal("the log shows a secret")
	}
	return w.log.String()
}

// function is the rotation function, as Secrets Manager and the schedule call it.
func (w *world) function(e awstest.RotationEvent) error {
	w.t.Helper()
	payload, err := json.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*invoked)
	defer cancel()
	got, err := w.runtime.Invoke(ctx, payload, invoked)
	if err != nil {
		w.t.Fatal(err)
	}
	if got.Failed {
		return fmt.Errorf("%s", got.Body)
	}
	return nil
}

func (w *world) key() string {
	w.t.Helper()
	var doc struct {
		Key string `json:"apiKey"`
	}
	if err := json.Unmarshal([]byte(w.secrets.Text(secretName, awstest.Current)), &doc); err != nil {
		w.t.Fatal("the current version is no document")
	}
	return doc.Key
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// From a secret without a value to the third key: the old one lives until the
// schedule finds that its overlap is over.
func TestTheFunctionRotatesAndTheScheduleRevokes(t *testing.T) {
	w := newWorld(t, "READERS_TTL=1ms", "OVERLAP=2ms")
	w.must(w.secrets.Rotate(secretName, true, w.function)) // when the stack is deployed
	for n := range 3 {
		w.must(w.secrets.Rotate(secretName, false, w.function))
		if alive := w.openai.Keys(openaitest.ServiceAccount); !w.openai.Accepts(w.key()) || len(alive) != min(n+1, 2) {
			t.Fatalf("%d keys live after rotation %d", len(alive), n)
		}
		if n > 0 {
			w.must(w.function(awstest.RotationEvent{Step: "retire"}))
		}
		if alive := w.openai.Keys(openaitest.ServiceAccount); !w.openai.Accepts(w.key()) || len(alive) != 1 {
			t.Fatalf("%d keys live after the schedule", len(alive))
		}
	}
	if _, err := time.Parse(time.RFC3339, w.secrets.TagOf(secretName, "expires")); err != nil {
		t.Error(err)
	}
	w.stop()
}

func TestTheOldKeyOutlivesTheRotation(t *testing.T) {
	w := newWorld(t)
	w.must(w.secrets.Rotate(secretName, false, w.function))
	old := w.key()
	w.must(w.secrets.Rotate(secretName, false, w.function))
	w.must(w.function(awstest.RotationEvent{Step: "retire"}))
	if !w.openai.Accepts(old) || !w.openai.Accepts(w.key()) || old == w.key() {
		t.Error("a key that readers may have does not work")
	}
	w.stop()
}

func TestAConfigurationThatLacksSomethingSaysWhat(t *testing.T) {
	for env, says := range map[string]string{
		"SECRET_ID=": "SECRET_ID", "ADMIN_SECRET_ID=": "ADMIN_SECRET_ID", "OPENAI_PROJECT=": "OPENAI_PROJECT", "OPENAI_SCOPES=": "OPENAI_SCOPES",
		"ROTATE_EVERY=often": "ROTATE_EVERY", "OVERLAP=1m": "OVERLAP", "KEY_NAME=a/b": "KEY_NAME",
	} {
		w := newWorld(t, env)
		if err := <-w.end; err == nil || !strings.Contains(w.log.String(), says) || strings.Contains(w.log.String(), "CANARY") {
			t.Errorf("%s: %v", env, err)
		}
	}
}
