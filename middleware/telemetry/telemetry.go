package telemetry

import (
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
)

// Options are the options of [New]. Nil is the same as the zero value.
type Options struct {
	// TracerProvider makes the spans. Nil is the one that package otel has when
	// New is called, which hands on to one that is set later.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the instruments. Nil is that of package otel, too.
	MeterProvider metric.MeterProvider
	// Propagator puts the context of the span into the header of the request. Nil
	// puts nothing there: the service belongs to somebody else, who need not know
	// what calls belong together. Set it for a gateway of your own, to
	// propagation.TraceContext for example. Baggage goes out with propagation.Baggage
	// alone.
	Propagator propagation.TextMapPropagator
	// Content makes attributes of the span out of the request and the answer, as
	// JSON or as an event stream: of the first 64 KiB of each, as they were sent.
	// It is called once when the call ends, on the goroutine that ends it, if the
	// span is recorded; it must be safe for concurrent use and must not keep the
	// slices. The request is nil if it is not JSON. What it returns is exported as it is:
	// prompts and answers hold personal data, and at times secrets. Nil exports no
	// content.
	Content func(request, answer []byte) []attribute.KeyValue
	// Provider is gen_ai.provider.name of all calls. If it is empty the host tells:
	// "azure.ai.openai" for Azure and for paths with /openai/deployments/ in them,
	// "aws.bedrock" for Bedrock, and "openai" for all others.
	Provider string
}

// Telemetry exports what it is told of. Make one with [New] for each process, or
// for each client where they have different options; it may serve several clients.
// It is safe for concurrent use.
type Telemetry struct {
	tracer     trace.Tracer // nil if the provider is the no-op one
	propagator propagation.TextMapPropagator
	content    func(request, answer []byte) []attribute.KeyValue
	provider   string

	instruments
	names    names
	servers  servers
	starts   table[startKey, start]
	calls    table[callSetKey, []metric.RecordOption]
	sends    table[sendSetKey, []metric.RecordOption]
	events   table[eventSetKey, []metric.AddOption]
	finishes table[string, attribute.KeyValue]
	state    state
	pools    pools
}

// New returns a Telemetry. It fails if the provider refuses an instrument, or if
// Options.Provider is no name: longer than 100 bytes, or with a character in it
// that is not printable ASCII.
func New(opts *Options) (*Telemetry, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Provider != "" && !printable(o.Provider) {
		return nil, fmt.Errorf("telemetry: Provider is not a name: want at most %d bytes of printable ASCII", maxName)
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	t := &Telemetry{propagator: o.Propagator, content: o.Content, provider: o.Provider}
	if _, off := o.TracerProvider.(nooptrace.TracerProvider); !off {
		t.tracer = o.TracerProvider.Tracer(scopeName, trace.WithSchemaURL(schemaURL))
	}
	meter := o.MeterProvider.Meter(scopeName, metric.WithSchemaURL(schemaURL))
	if err := t.create(meter); err != nil {
		return nil, fmt.Errorf("telemetry: the meter provider refuses an instrument: %w", err)
	}
	if err := t.observe(meter); err != nil {
		return nil, fmt.Errorf("telemetry: the meter provider refuses an instrument: %w", err)
	}
	return t, nil
}
