package azuretest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// startTime bounds how long a handler may take to listen. The real host waits
// for a minute.
const startTime = time.Minute

// A FunctionsHost does what the host of Azure Functions does to a custom
// handler: it starts the executable, waits until it listens, and sends it
// invocations.
// https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers
type FunctionsHost struct {
	url    string
	client *http.Client
	t      testing.TB
	seen   output
}

// An Invocation is the host's answer form of a function that is not forwarded.
type Invocation struct {
	Status      int             `json:"-"`
	Outputs     map[string]any  `json:"Outputs"`
	Logs        []string        `json:"Logs"`
	ReturnValue json.RawMessage `json:"ReturnValue"`
}

// output is what the handler printed. The process writes while a test reads.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps p.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// StartFunctions starts the executable with the environment of the test, and
// stops it at the end. The handler has to answer on its port within a minute.
func StartFunctions(t testing.TB, executable string) *FunctionsHost {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close() // the handler takes it
	h := &FunctionsHost{url: fmt.Sprintf("http://127.0.0.1:%d", port), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, t: t}
	cmd := exec.Command(executable)
	cmd.Env = append(os.Environ(), fmt.Sprintf("FUNCTIONS_CUSTOMHANDLER_PORT=%d", port), fmt.Sprintf("FUNCTIONS_HTTPWORKER_PORT=%d", port),
		"FUNCTIONS_CUSTOMHANDLER_WORKER_ID=azuretest", "FUNCTIONS_WORKER_RUNTIME=custom", "WEBSITE_SITE_NAME=azuretest")
	cmd.Stdout, cmd.Stderr = &h.seen, &h.seen
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // killed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	h.wait(ended)
	return h
}

// wait polls GET / until there is an answer, whatever it is.
func (h *FunctionsHost) wait(ended <-chan struct{}) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), startTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/", nil)
		if err != nil {
			h.t.Fatal(err)
		}
		if resp, err := h.client.Do(req); err == nil {
			_ = resp.Body.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			h.t.Fatal("the handler ended before it listened")
		case <-ctx.Done():
			h.t.Fatal("the handler does not listen on FUNCTIONS_CUSTOMHANDLER_PORT")
		}
	}
}

// Forward sends the request of an HTTP trigger as it came, as the host does
// with enableForwardingHttpRequest.
func (h *FunctionsHost) Forward(method, path, body string) (status int, answer string) {
	h.t.Helper()
	return h.send(method, path, "text/plain", body)
}

// Invoke sends an invocation of another trigger: data holds the bindings.
func (h *FunctionsHost) Invoke(function string, data map[string]any) Invocation {
	h.t.Helper()
	body, err := json.Marshal(map[string]any{"Data": data, "Metadata": map[string]any{"sys": map[string]any{"MethodName": function}, "DequeueCount": "1"}})
	if err != nil {
		h.t.Fatal(err)
	}
	status, answer := h.send(http.MethodPost, "/"+function, "application/json", string(body))
	out := Invocation{}
	if status < 300 {
		if err := json.Unmarshal([]byte(answer), &out); err != nil {
			h.t.Fatalf("%s did not answer in the form of the protocol", function)
		}
	}
	out.Status = status
	return out
}

// TraceID is the trace of every invocation, which Application Insights has as
// operation_Id.
const TraceID = "0af7651916cd43dd8448eb211c80319c"

func (h *FunctionsHost) send(method, path, contentType, body string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Azure-Functions-InvocationId", "7a6d2c0e-0000-4000-8000-000000000001")
	req.Header.Set("X-Azure-Functions-HostVersion", "4.1041.0.0")
	req.Header.Set("Traceparent", "00-"+TraceID+"-b7ad6b7169203331-01")
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// Output returns what the handler has printed, once want is in it: what it
// prints before an answer may arrive after that. It fails the test if want
// does not come.
func (h *FunctionsHost) Output(want string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), startTime)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		h.seen.mu.Lock()
		text := h.seen.buf.String()
		h.seen.mu.Unlock()
		if strings.Contains(text, want) {
			return text
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			h.t.Fatalf("the handler did not print %q", want)
		}
	}
}
