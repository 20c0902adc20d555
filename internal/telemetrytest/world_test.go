package telemetrytest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

const (
	firstKey  = "sk-CANARY-1-000000000000000000000000"
	secondKey = "sk-CANARY-2-000000000000000000000000"
)

// A world is a client, its services, and what is exported of it.
type world struct {
	first, second *clienttest.Service
	telemetry     *telemetry.Telemetry
	client        *http.Client
	base          string
	spans         *tracetest.InMemoryExporter
	reader        *sdkmetric.ManualReader
	mu            sync.Mutex
	key           string
}

func (w *world) setKey(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.key = key
}

// RoundTrip sends to the service of the host.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Host, "second") {
		return w.second.RoundTrip(req)
	}
	return w.first.RoundTrip(req)
}

func (w *world) source() credential.Source {
	return credential.SourceFunc(func(context.Context) (credential.Value, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return credential.Value{Secret: credential.NewSecret(w.key), Scheme: credential.APIKey, Source: "store", Version: "v" + w.key[10:11]}, nil
	})
}

// newWorld returns one for OpenAI, unless change makes it another.
func newWorld(t *testing.T, change func(w *world, cfg *client.Config, opts *telemetry.Options)) *world {
	t.Helper()
	w := &world{
		first: clienttest.NewService(firstKey), second: clienttest.NewService(firstKey), key: firstKey,
		spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader(),
	}
	opts := &telemetry.Options{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans)),
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader)),
	}
	cfg := client.Config{BaseURL: "https://api.openai.com/v1/", Source: w.source(), Transport: w, Cache: &credential.CacheOptions{}}
	if change != nil {
		change(w, &cfg, opts)
	}
	var err error
	if w.telemetry, err = telemetry.New(opts); err != nil {
		t.Fatal(err)
	}
	cfg.Middleware = append([]middleware.Middleware{w.telemetry.Middleware()}, cfg.Middleware...)
	cfg.ObserveIf = w.telemetry.Enabled
	cfg.Observe, cfg.OnRoute, cfg.Cache.OnEvent = w.telemetry.Observe, w.telemetry.OnRoute, w.telemetry.OnEvent
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.client, w.base = c.HTTPClient(), c.BaseURL()
	return w
}

// post sends a body and reads the answer.
func (w *world) post(t *testing.T, path, body string) (status int, answer string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return w.do(t, req)
}

func (w *world) do(t *testing.T, req *http.Request) (status int, answer string, err error) {
	t.Helper()
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, resp.Body)
	return resp.StatusCode, b.String(), err
}

// metrics are what is exported now, by name.
func (w *world) metrics(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := w.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	named := map[string]metricdata.Metrics{}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			named[m.Name] = m
		}
	}
	return named
}

// A point is one series of a metric.
type point struct {
	attrs  attribute.Set
	count  uint64
	sum    float64
	bounds []float64
}

func points(m metricdata.Metrics) []point {
	var out []point
	switch data := m.Data.(type) {
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			out = append(out, point{p.Attributes, p.Count, p.Sum, p.Bounds})
		}
	case metricdata.Histogram[int64]:
		for _, p := range data.DataPoints {
			out = append(out, point{p.Attributes, p.Count, float64(p.Sum), p.Bounds})
		}
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			out = append(out, point{attrs: p.Attributes, sum: float64(p.Value)})
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			out = append(out, point{attrs: p.Attributes, sum: p.Value})
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			out = append(out, point{attrs: p.Attributes, sum: float64(p.Value)})
		}
	}
	return out
}

func value(attrs []attribute.KeyValue, key attribute.Key) string {
	i := slices.IndexFunc(attrs, func(a attribute.KeyValue) bool { return a.Key == key })
	if i < 0 {
		return ""
	}
	return attrs[i].Value.String()
}

// span returns the only span.
func (w *world) span(t *testing.T) tracetest.SpanStub {
	t.Helper()
	spans := w.spans.GetSpans()
	if len(spans) != 1 {
		t.Fatalf("%d spans, want 1", len(spans))
	}
	return spans[0]
}
