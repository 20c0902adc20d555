package bench_test

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

// providers is how much is recorded.
type providers struct {
	name    string
	tracers func() trace.TracerProvider
	meters  func() metric.MeterProvider
}

// discard is a processor that exports nothing.
type discard struct{}

func (discard) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (discard) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (discard) Shutdown(context.Context) error                  { return nil }
func (discard) ForceFlush(context.Context) error                { return nil }

func noTracers() trace.TracerProvider { return nooptrace.NewTracerProvider() }
func noMeters() metric.MeterProvider  { return noopmetric.NewMeterProvider() }

func meters() metric.MeterProvider {
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
}

func tracers(s sdktrace.Sampler) func() trace.TracerProvider {
	return func() trace.TracerProvider {
		return sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(discard{}), sdktrace.WithSampler(s))
	}
}

var recorded = []providers{
	{"nothing", noTracers, noMeters},
	{"metrics", noTracers, meters},
	{"metrics,unsampled", tracers(sdktrace.NeverSample()), meters},
	{"all", tracers(sdktrace.AlwaysSample()), meters},
}

// traced are two stacks that record, each with what it is compared to.
func traced(tb testing.TB, p providers) map[string]http.RoundTripper {
	base := newMemory("application/json", chatAnswer)
	tel, err := telemetry.New(&telemetry.Options{TracerProvider: p.tracers(), MeterProvider: p.meters()})
	must(tb, err)
	return map[string]http.RoundTripper{
		"none":     base,
		"otelhttp": otelhttp.NewTransport(base, otelhttp.WithTracerProvider(p.tracers()), otelhttp.WithMeterProvider(p.meters())),
		"latchkey": newClient(tb, client.Config{Transport: base}).HTTPClient().Transport,
		"latchkey+telemetry": newClient(tb, client.Config{
			Transport: base, Middleware: []middleware.Middleware{tel.Middleware()}, Observe: tel.Observe, ObserveIf: tel.Enabled,
		}).HTTPClient().Transport,
	}
}

// BenchmarkTelemetry is what spans and metrics add to a call that succeeds at once:
// otelhttp to a transport, and telemetry to the layers of latchkey.
func BenchmarkTelemetry(b *testing.B) {
	for _, p := range recorded {
		all := traced(b, p)
		for _, name := range []string{"none", "otelhttp", "latchkey", "latchkey+telemetry"} {
			b.Run("recorded="+p.name+"/stack="+name, func(b *testing.B) {
				req := newRequest(b, chatURL, chatPrompt)
				must(b, roundTrip(all[name], req))
				b.ReportAllocs()
				for b.Loop() {
					if err := roundTrip(all[name], req); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestTelemetryAddsFewAllocations holds telemetry to 60 % of what otelhttp adds, and
// to one allocation where nothing is recorded.
func TestTelemetryAddsFewAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool forgets at random under the race detector; the run without it counts")
	}
	for _, p := range recorded {
		count := map[string]float64{}
		for name, rt := range traced(t, p) {
			req := newRequest(t, chatURL, chatPrompt)
			count[name] = allocs(t, func() error { return roundTrip(rt, req) })
		}
		theirs, ours := count["otelhttp"]-count["none"], count["latchkey+telemetry"]-count["latchkey"]
		t.Logf("%s: otelhttp adds %v allocations, telemetry %v", p.name, theirs, ours)
		if ours > 0.6*theirs || p.name == "nothing" && ours > 1 {
			t.Errorf("%s: telemetry adds %v allocations, otelhttp %v", p.name, ours, theirs)
		}
	}
}
