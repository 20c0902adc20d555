package telemetry_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

type tripFunc func(*http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func off() *telemetry.Options {
	return &telemetry.Options{TracerProvider: nooptrace.NewTracerProvider(), MeterProvider: noopmetric.NewMeterProvider()}
}

func request(t testing.TB) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.openai.com/v1/chat/completions", strings.NewReader(`{"model":"m"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

func TestNothingRecordedAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	tel, err := telemetry.New(off())
	if err != nil {
		t.Fatal(err)
	}
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	send := &middleware.Send{Status: 200}
	rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
		tel.Observe(req.Context(), send)
		return resp, nil
	}), tel.Middleware())
	req := request(t)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := rt.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWithoutProvidersTheRequestPassesAsItIs(t *testing.T) {
	for name, opts := range map[string]*telemetry.Options{"no-op": off(), "default": nil} {
		tel, err := telemetry.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		req := request(t)
		rt := middleware.Wrap(tripFunc(func(got *http.Request) (*http.Response, error) {
			if got != req {
				t.Errorf("%s: the request is another one", name)
			}
			return nil, io.EOF
		}), tel.Middleware())
		if _, err := rt.RoundTrip(req); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, want io.EOF", name, err)
		}
		if err := tel.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A refusing provider makes no instrument of one name.
type refusing struct {
	noopmetric.MeterProvider
	name string
}

type refusingMeter struct {
	noopmetric.Meter
	name string
}

var errRefused = errors.New("refused")

func (p refusing) Meter(string, ...metric.MeterOption) metric.Meter {
	return refusingMeter{name: p.name}
}

func (m refusingMeter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return noopmetric.Float64Histogram{}, m.refuse(name)
}

func (m refusingMeter) Int64Histogram(name string, _ ...metric.Int64HistogramOption) (metric.Int64Histogram, error) {
	return noopmetric.Int64Histogram{}, m.refuse(name)
}

func (m refusingMeter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return noopmetric.Int64Counter{}, m.refuse(name)
}

func (m refusingMeter) Float64ObservableGauge(name string, _ ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return noopmetric.Float64ObservableGauge{}, m.refuse(name)
}

func (m refusingMeter) Int64ObservableGauge(name string, _ ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	return noopmetric.Int64ObservableGauge{}, m.refuse(name)
}

func (m refusingMeter) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return noopmetric.Registration{}, m.refuse("callback")
}

func (m refusingMeter) refuse(name string) error {
	if name == m.name {
		return errRefused
	}
	return nil
}

func TestNewSaysThatAnInstrumentIsRefused(t *testing.T) {
	for _, name := range []string{
		"gen_ai.client.operation.duration", "gen_ai.client.token.usage", "latchkey.send.duration", "latchkey.limit.events",
		"latchkey.credential.age", "latchkey.credential.time_to_expiry", "latchkey.endpoint.healthy", "callback",
	} {
		if _, err := telemetry.New(&telemetry.Options{MeterProvider: refusing{name: name}}); !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := telemetry.New(&telemetry.Options{MeterProvider: refusing{}}); err != nil {
		t.Error(err)
	}
}

func TestAProviderIsAName(t *testing.T) {
	for name, ok := range map[string]bool{"groq": true, "two words": true, "a\nb": false, "caf\u00e9": false, strings.Repeat("x", 101): false} {
		opts := off()
		opts.Provider = name
		if _, err := telemetry.New(opts); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
