package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/metric"
)

// instruments are those that are recorded to as things happen.
type instruments struct {
	duration, firstChunk, nextChunk, sendDuration, sendWait, read metric.Float64Histogram

	tokens                                               metric.Int64Histogram
	refusals, limitEvents, credentialEvents, routeEvents metric.Int64Counter
}

func (i *instruments) create(m metric.Meter) error {
	for _, h := range [...]struct {
		to         *metric.Float64Histogram
		name, what string
	}{
		{&i.duration, metricDuration, "GenAI operation duration."},
		{&i.firstChunk, metricFirstChunk, "Time to receive the first chunk of a stream."},
		{&i.nextChunk, metricNextChunk, "Time from one chunk of a stream to the next."},
		{&i.sendDuration, metricSendDuration, "Duration of one request on the wire: retries, replays and other endpoints count on their own."},
		{&i.sendWait, metricSendWait, "Time that a call stood still before a request: in line at a service that throttles, or in a back-off."},
		{&i.read, metricRead, "Duration of a read of a credential, with what came of it."},
	} {
		var err error
		if *h.to, err = m.Float64Histogram(h.name, metric.WithUnit("s"), metric.WithDescription(h.what), metric.WithExplicitBucketBoundaries(seconds()...)); err != nil {
			return err //nolint:wrapcheck // New says what it is
		}
	}
	var err error
	i.tokens, err = m.Int64Histogram(metricTokens, metric.WithUnit("{token}"), metric.WithDescription("Number of input and output tokens used."), metric.WithExplicitBucketBoundaries(tokenCounts()...))
	if err != nil {
		return err //nolint:wrapcheck // New says what it is
	}
	for _, c := range [...]struct {
		to               *metric.Int64Counter
		name, unit, what string
	}{
		{&i.refusals, metricRefusals, "{send}", "Sends that a limit has refused."},
		{&i.limitEvents, metricLimitEvents, "{event}", "Limits that have refused or were passed, each once a window, and failures of the shared counter."},
		{&i.credentialEvents, metricCredential, "{event}", "What happened to credentials: reads, rotations, rejections, stale values."},
		{&i.routeEvents, metricEndpoint, "{event}", "Endpoints that were left alone, asked again, recovered, or passed over for one call."},
	} {
		if *c.to, err = m.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.what)); err != nil {
			return err //nolint:wrapcheck // New says what it is
		}
	}
	return nil
}

// ofCalls reports whether an instrument is recorded to that a call is followed for.
func (i *instruments) ofCalls(ctx context.Context) bool {
	return i.duration.Enabled(ctx) || i.timesChunks(ctx)
}

func (i *instruments) timesChunks(ctx context.Context) bool {
	return i.firstChunk.Enabled(ctx) || i.nextChunk.Enabled(ctx)
}

// ofSends reports the same of a send.
func (i *instruments) ofSends(ctx context.Context) bool {
	return i.sendDuration.Enabled(ctx) || i.sendWait.Enabled(ctx) || i.tokens.Enabled(ctx) || i.refusals.Enabled(ctx)
}
