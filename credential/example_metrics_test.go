package credential_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// An eventCounter counts events, and shows them in the text format of Prometheus
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
type eventCounter struct {
	mu     sync.Mutex
	counts map[string]int // by labels
}

// count is CacheOptions.OnEvent. Calls wait for it, so it does no more than count.
func (c *eventCounter) count(e credential.Event) {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	labels := fmt.Sprintf(`kind="%s",source="%s"`, e.Kind, escape.Replace(e.Source))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[labels]++
}

// ServeHTTP is for the path that Prometheus scrapes.
func (c *eventCounter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	counts := maps.Clone(c.counts)
	c.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintln(w, "# HELP credential_events_total What happened to credentials.")
	fmt.Fprintln(w, "# TYPE credential_events_total counter")
	for _, labels := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, "credential_events_total{%s} %d\n", labels, counts[labels])
	}
}

// Events as a metric of Prometheus, without a dependency. Package
// middleware/telemetry has such metrics, and more, for OpenTelemetry.
func Example_prometheus() {
	ctx := context.Background()
	store := credentialtest.NewStore("sk-CANARY-1") // stands for a source
	metrics := &eventCounter{}
	cache, err := credential.NewCache(store, &credential.CacheOptions{OnEvent: metrics.count})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := cache.Retrieve(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	store.Rotate("sk-CANARY-2")
	if _, err := cache.Replace(ctx, credential.Rejection{Value: v, StatusCode: 401}); err != nil {
		fmt.Println(err)
		return
	}

	server := httptest.NewServer(metrics) // http.Handle("/metrics", metrics)
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(text))
	// Output:
	// # HELP credential_events_total What happened to credentials.
	// # TYPE credential_events_total counter
	// credential_events_total{kind="loaded",source="store"} 1
	// credential_events_total{kind="rejected",source="store"} 1
	// credential_events_total{kind="rotated",source="store"} 1
}
