// Coldstart measures how long it takes from the start of a process to its first
// authorized answer: with latchkey, and with the obvious code. The key is in a
// Secrets Manager, everything goes over TLS, and each way takes 20 ms.
//
// For each program it prints the size, the round trips that it waited for in a
// row, and the time. See README.md of this module for how to read them.
package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

const (
	key  = "sk-CANARY-coldstart"
	name = "prod/openai"
)

// A program is a main package below testdata.
type program struct{ dir, what string }

func programs() []program {
	return []program{
		{"obvious", "LoadDefaultConfig, GetSecretValue, openai.NewClient"},
		{"sdk", "latchkey and openai.NewClient"},
		{"post", "latchkey and client.Post"},
		{"extension", "latchkey, client.Post, the Lambda extension"},
	}
}

// A result is what was seen of one program.
type result struct {
	program
	size  int64
	trips int             // the fewest of all runs: a busy machine adds some
	times []time.Duration // sorted
}

func (r *result) median() time.Duration { return r.times[len(r.times)/2] }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	runs := flag.Int("runs", 15, "runs of each program")
	delay := flag.Duration("delay", 20*time.Millisecond, "delay each way")
	flag.Parse()
	results, err := measure(ctx, *runs, *delay)
	if err == nil {
		err = table(os.Stdout, results)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

// measure runs the programs in turn, so that they share what else happens.
func measure(ctx context.Context, runs int, delay time.Duration) ([]*result, error) {
	dir, err := os.MkdirTemp("", "coldstart")
	if err != nil {
		return nil, fmt.Errorf("coldstart: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var results []*result
	for _, p := range programs() {
		r := &result{program: p, trips: 1 << 30}
		if r.size, err = build(ctx, dir, p.dir); err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	w, err := newWorld(dir, delay)
	if err != nil {
		return nil, err
	}
	defer w.close()
	for range runs {
		for _, r := range results {
			took, trips, err := w.run(ctx, filepath.Join(dir, r.dir))
			if err != nil {
				return nil, fmt.Errorf("coldstart: %s: %w", r.dir, err)
			}
			r.times = append(r.times, took)
			r.trips = min(r.trips, trips)
		}
	}
	for _, r := range results {
		slices.Sort(r.times)
	}
	return results, nil
}

func build(ctx context.Context, dir, program string) (int64, error) {
	exe := filepath.Join(dir, program)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", exe,
		"github.com/latchkey-go/latchkey/internal/bench/cmd/coldstart/testdata/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("coldstart: go build: %w: %s", err, out)
	}
	info, err := os.Stat(exe)
	if err != nil {
		return 0, fmt.Errorf("coldstart: %w", err)
	}
	return info.Size(), nil
}

// A world is the servers that the programs talk to.
type world struct {
	delay     time.Duration
	store     *httptest.Server
	api       *clienttest.Server
	extension *httptest.Server
	certs     string
}

func newWorld(dir string, delay time.Duration) (*world, error) {
	secrets := awstest.NewSecretsManager()
	secrets.Put(name, key)
	w := &world{delay: delay, store: httptest.NewTLSServer(secrets), api: clienttest.NewTLSServer(key)}
	if w.api.Err != nil {
		return nil, w.api.Err
	}
	// The extension runs already. It opens a connection to AWS and asks: three
	// round trips that its client waits for.
	w.extension = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		<-time.After(3 * 2 * delay)
		awstest.NewExtension(secrets).ServeHTTP(rw, r)
	}))
	w.certs = filepath.Join(dir, "certs.pem")
	trusted := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.store.Certificate().Raw}), w.api.CertPEM...)
	if err := os.WriteFile(w.certs, trusted, 0o600); err != nil {
		return nil, fmt.Errorf("coldstart: %w", err)
	}
	return w, nil
}

func (w *world) close() {
	w.store.Close()
	w.api.Close()
	w.extension.Close()
}

// run runs a program once and returns what it took to its answer.
func (w *world) run(ctx context.Context, exe string) (took time.Duration, trips int, err error) {
	shared := &wire{delay: w.delay}
	store, err := newLink(shared, w.store.Listener.Addr().String())
	if err != nil {
		return 0, 0, err
	}
	defer store.close()
	api, err := newLink(shared, strings.TrimPrefix(w.api.Origin, "https://"))
	if err != nil {
		return 0, 0, err
	}
	defer api.close()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = []string{
		"HOME=" + filepath.Dir(w.certs), "SSL_CERT_FILE=" + w.certs, "SECRET_ID=" + name,
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=https://" + store.addr(),
		"OPENAI_BASE_URL=https://" + api.addr() + "/v1/",
		"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT=" + w.extension.URL[strings.LastIndex(w.extension.URL, ":")+1:],
	}
	for name, value := range awstest.Caller().Env("eu-west-1") {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	begin := time.Now()
	out, err := cmd.Output()
	took = time.Since(begin)
	if err == nil && strings.TrimSpace(string(out)) != "echo: hello" {
		err = errors.New("another answer than expected")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, strings.ReplaceAll(stderr.String(), key, "[redacted]"))
	}
	return took, shared.now(), nil
}

// table writes what was seen, in Markdown.
func table(out io.Writer, results []*result) error {
	var b strings.Builder
	b.WriteString("| program | MB | round trips in a row | fastest ms | median ms | of the obvious | what |\n|---|--:|--:|--:|--:|--:|---|\n")
	first := results[0].median()
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %.1f | %d | %.0f | %.0f | %.2f | %s |\n", r.dir, float64(r.size)/1e6, r.trips,
			ms(r.times[0]), ms(r.median()), float64(r.median())/float64(first), r.what)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("coldstart: %w", err)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
