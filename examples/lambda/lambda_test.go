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

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

const (
	oldKey  = "sk-CANARY-old"
	newKey  = "sk-CANARY-new"
	invoked = 20 * time.Second // the time of an invocation
	warmed  = 5 * time.Second  // the longest cold start; see main.go
)

// build builds the example as it is deployed.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lambda")
	if err != nil {
		return "", err
	}
	exe := filepath.Join(dir, "bootstrap")
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", exe, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
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

// A world is what is around the function.
type world struct {
	t       *testing.T
	secrets *awstest.SecretsManager
	store   *httptest.Server
	api     *clienttest.Service
	service *httptest.Server
	runtime *awstest.Runtime
	lambda  *httptest.Server
	env     []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, secrets: awstest.NewSecretsManager(), api: clienttest.NewService(oldKey), runtime: awstest.NewRuntime()}
	w.secrets.Put("prod/openai", fmt.Sprintf(`{"apiKey":%q}`, oldKey))
	w.store = httptest.NewServer(w.secrets)
	w.service = httptest.NewServer(w.api)
	w.lambda = httptest.NewServer(w.runtime)
	for _, server := range []*httptest.Server{w.store, w.service, w.lambda} {
		t.Cleanup(server.Close)
	}
	none := filepath.Join(t.TempDir(), "none")
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + w.store.URL, "OPENAI_BASE_URL=" + w.service.URL + "/v1/",
		"SECRET_ID=prod/openai", "SECRET_FIELD=apiKey",
	}
	return w
}

// A process is the function, running.
type process struct {
	w   *world
	cmd *exec.Cmd
	log bytes.Buffer
	end chan error
}

// start runs the function under the Runtime API.
func (w *world) start(env ...string) *process {
	w.t.Helper()
	for name, value := range w.secrets.Identity.Env(w.secrets.Region) {
		env = append(env, name+"="+value)
	}
	return w.run(append(env, "AWS_LAMBDA_FUNCTION_NAME=test", "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(w.lambda.URL, "http://")))
}

func (w *world) run(env []string, args ...string) *process {
	w.t.Helper()
	exe, err := build()
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{w: w, cmd: exec.CommandContext(w.t.Context(), exe, args...), end: make(chan error, 1)}
	p.cmd.Env = append(append([]string(nil), w.env...), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { p.end <- p.cmd.Wait() }()
	return p
}

func (p *process) signal(sig os.Signal) {
	p.w.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.w.t.Fatal(err)
	}
}

// stop ends the process and returns its log, which must not show a secret.
func (p *process) stop() string {
	p.w.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.end
	log := p.log.String()
	if strings.Contains(log, "CANARY") {
		p.w.t.Fatal("the log shows a secret")
	}
	return log
}

type response struct {
	StatusCode int
	Headers    map[string]string
	Body       string
}

// invoke sends an event of the HTTP API with that body.
func (w *world) invoke(body string) (response, string) {
	w.t.Helper()
	payload, err := json.Marshal(map[string]any{"version": "2.0", "body": body})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*invoked)
	defer cancel()
	got, err := w.runtime.Invoke(ctx, payload, invoked)
	if err != nil {
		w.t.Fatal(err)
	}
	var r response
	if err := json.Unmarshal(got.Body, &r); err != nil || got.Failed {
		w.t.Fatalf("the invocation failed: %t, %v", got.Failed, err)
	}
	return r, got.RequestID
}

func (w *world) prompt(text string) {
	w.t.Helper()
	r, _ := w.invoke(fmt.Sprintf(`{"prompt":%q}`, text))
	if want := fmt.Sprintf(`{"text":"echo: %s"}`, text); r.StatusCode != 200 || r.Body != want {
		w.t.Errorf("status %d, %s; want 200, %s", r.StatusCode, r.Body, want)
	}
}

func TestTheFunctionAnswersAndLogsTheRequestID(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	w.prompt("hello")
	if n := w.secrets.Reads(); n != 1 {
		t.Errorf("%d reads of the secret, want 1", n)
	}
	for body, status := range map[string]int{"": 400, `{"prompt":""}`: 400, "[": 400} {
		if r, _ := w.invoke(body); r.StatusCode != status {
			t.Errorf("body %q: status %d, want %d", body, r.StatusCode, status)
		}
	}
	w.api.Accept() // no key is good any more
	w.api.Revoke(oldKey)
	r, id := w.invoke(`{"prompt":"hello"}`)
	if r.StatusCode != 503 {
		t.Errorf("status %d for a key that is dead, want 503", r.StatusCode)
	}
	log := p.stop()
	w.secrets.Fail(awstest.Fault{Status: 500, Times: -1})
	p = w.start()
	if r, _ := w.invoke(`{"prompt":"hello"}`); r.StatusCode != 503 {
		t.Errorf("status %d without the secret, want 503", r.StatusCode)
	}
	p.stop()
	for _, want := range []string{`"msg":"credential loaded"`, `"msg":"credential rejected"`, `"msg":"call failed"`, `"requestId":"` + id + `"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
}

// A sandbox stops between two invocations. Its connections die, the key is
// rotated, and it goes on.
func TestAStoppedFunctionAnswersAfterARotation(t *testing.T) {
	for name, inFlight := range map[string]bool{"idle": false, "with a read in flight": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.start("SECRET_TTL=1s")
			w.prompt("before")
			if inFlight {
				// A refresh takes longer than the invocation that began it waits.
				w.secrets.Fail(awstest.Fault{Hang: true, Times: 1})
				for w.secrets.Reads() < 2 {
					w.prompt("meanwhile")
				}
			}
			p.signal(syscall.SIGSTOP)
			w.store.CloseClientConnections()
			w.service.CloseClientConnections()
			w.secrets.Put("prod/openai", fmt.Sprintf(`{"apiKey":%q}`, newKey))
			w.api.Rotate(newKey)
			p.signal(syscall.SIGCONT)
			w.prompt("after")
			w.prompt("and again")
			p.stop()
		})
	}
}

func TestTheStreamingVariantStreams(t *testing.T) {
	w := newWorld(t)
	p := w.start("_HANDLER=stream")
	payload := []byte(`{"body":"{\"prompt\":\"hello there\"}"}`)
	for _, key := range []string{oldKey, newKey} {
		w.api.Rotate(key)
		w.secrets.Put("prod/openai", fmt.Sprintf(`{"apiKey":%q}`, key))
		got, err := w.runtime.Invoke(t.Context(), payload, invoked)
		if err != nil {
			t.Fatal(err)
		}
		prelude, body, _ := bytes.Cut(got.Body, make([]byte, 8))
		if !bytes.Contains(prelude, []byte(`"statusCode":200`)) || string(body) != "echo: hello there" {
			t.Errorf("%s, then %q", prelude, body)
		}
		if kind := got.Header.Get("Content-Type"); kind != "application/vnd.awslambda.http-integration-response" {
			t.Errorf("Content-Type %q is not one of a stream", kind)
		}
	}
	w.api.Inject(clienttest.Fault{CutAfter: 2, Path: "/completions"})
	got, err := w.runtime.Invoke(t.Context(), payload, invoked)
	if err != nil {
		t.Fatal(err)
	}
	if got.Trailer.Get("Lambda-Runtime-Function-Error-Type") == "" {
		t.Error("a stream that was cut passes for a complete one")
	}
	w.api.Revoke(newKey)
	if got, err = w.runtime.Invoke(t.Context(), payload, invoked); err != nil || !bytes.Contains(got.Body, []byte(`"statusCode":503`)) {
		t.Errorf("a call that fails from the start: %v; want the status 503", err)
	}
	p.stop()
}

func TestTheFunctionRunsOnALaptop(t *testing.T) {
	w := newWorld(t)
	id := w.secrets.Identity
	profile := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf("[profile dev]\nregion = %s\naws_access_key_id = %s\naws_secret_access_key = %s\naws_session_token = %s\n",
		w.secrets.Region, id.AccessKeyID, id.SecretAccessKey, id.SessionToken)
	if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		env   []string
		fails bool
		says  []string
	}{
		{"with a profile", []string{"AWS_CONFIG_FILE=" + profile, "AWS_PROFILE=dev"}, false, []string{"echo: hello laptop"}},
		{"without AWS", nil, true, []string{"no region, no credentials", "AWS_PROFILE"}},
		{"with a profile that is not there", []string{"AWS_PROFILE=nobody"}, true, []string{"nobody", "list-profiles"}},
		{"without a secret", []string{"SECRET_ID="}, true, []string{"SECRET_ID", "name"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := w.run(c.env, "hello", "laptop")
			err := <-p.end
			out := p.log.String()
			if strings.Contains(out, "CANARY") {
				t.Fatal("the output shows a secret")
			}
			if (err != nil) != c.fails {
				t.Errorf("%v: %s", err, out)
			}
			for _, want := range c.says {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in: %s", want, out)
				}
			}
		})
	}
}
