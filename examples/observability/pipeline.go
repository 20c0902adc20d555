package main

import (
	"context"
	"slices"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// A pipeline takes the metrics of OpenTelemetry in memory, in the place of the SDK and
// of a collector, and keeps the sum of each.
type pipeline struct {
	noop.MeterProvider

	mu   sync.Mutex
	sums map[string]*metricRow
}

// A metricRow is what one metric has got.
type metricRow struct {
	Name  string
	Count int64
	Sum   float64
	Unit  string
}

func newPipeline() *pipeline { return &pipeline{sums: map[string]*metricRow{}} }

// Meter returns a meter that feeds the pipeline.
func (p *pipeline) Meter(string, ...metric.MeterOption) metric.Meter { return meter{pipeline: p} }

func (p *pipeline) add(name, unit string, value float64, set attribute.Set) {
	if kind, ok := set.Value("gen_ai.token.type"); ok {
		name += " " + kind.AsString()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r := row(p.sums, name)
	r.Name, r.Unit = name, unit
	r.Count++
	r.Sum += value
}

func (p *pipeline) rows() (rows []metricRow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.sums {
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b metricRow) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

// A meter makes the instruments that are counted here, and leaves the others to noop.
type meter struct {
	noop.Meter

	pipeline *pipeline
}

func (m meter) Int64Counter(name string, opts ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return counter{to: m.pipeline, name: name, unit: metric.NewInt64CounterConfig(opts...).Unit()}, nil
}

func (m meter) Int64Histogram(name string, opts ...metric.Int64HistogramOption) (metric.Int64Histogram, error) {
	return whole{to: m.pipeline, name: name, unit: metric.NewInt64HistogramConfig(opts...).Unit()}, nil
}

func (m meter) Float64Histogram(name string, opts ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return histogram{to: m.pipeline, name: name, unit: metric.NewFloat64HistogramConfig(opts...).Unit()}, nil
}

type counter struct {
	noop.Int64Counter

	to         *pipeline
	name, unit string
}

func (c counter) Enabled(context.Context) bool { return true }

func (c counter) Add(_ context.Context, n int64, opts ...metric.AddOption) {
	c.to.add(c.name, c.unit, float64(n), metric.NewAddConfig(opts).Attributes())
}

type whole struct {
	noop.Int64Histogram

	to         *pipeline
	name, unit string
}

func (h whole) Enabled(context.Context) bool { return true }

func (h whole) Record(_ context.Context, n int64, opts ...metric.RecordOption) {
	h.to.add(h.name, h.unit, float64(n), metric.NewRecordConfig(opts).Attributes())
}

type histogram struct {
	noop.Float64Histogram

	to         *pipeline
	name, unit string
}

func (h histogram) Enabled(context.Context) bool { return true }

func (h histogram) Record(_ context.Context, v float64, opts ...metric.RecordOption) {
	h.to.add(h.name, h.unit, v, metric.NewRecordConfig(opts).Attributes())
}
