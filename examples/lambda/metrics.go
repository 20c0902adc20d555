package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// Metrics go to CloudWatch without an agent and without a call: as lines of the log
// in the embedded metric format.
//
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
type metrics struct {
	out       io.Writer
	namespace string
	input     float64 // price of a million tokens
	output    float64

	mu      sync.Mutex
	current map[string]inUse // by source
}

// inUse is the version of a credential since some time.
type inUse struct {
	version string
	since   time.Time
}

// newMetrics reads METRICS_NAMESPACE, PRICE_INPUT and PRICE_OUTPUT. Without a
// namespace there are no metrics, and it returns nil.
func newMetrics(out io.Writer) (*metrics, error) {
	m := &metrics{out: out, namespace: os.Getenv("METRICS_NAMESPACE"), current: map[string]inUse{}}
	if m.namespace == "" {
		return nil, nil //nolint:nilnil // its methods do nothing then
	}
	for name, to := range map[string]*float64{"PRICE_INPUT": &m.input, "PRICE_OUTPUT": &m.output} {
		text := os.Getenv(name)
		if text == "" {
			continue
		}
		price, err := strconv.ParseFloat(text, 64)
		if err != nil || !(price >= 0) {
			return nil, fmt.Errorf("%s: want the price of a million tokens, for example 0.25", name)
		}
		*to = price
	}
	return m, nil
}

// The metrics, which template.yaml has alarms and a dashboard for.
const (
	sends          = "Sends"
	failedSends    = "FailedSends"
	keyRefused     = "CredentialRefused"
	oldVersionUsed = "OldVersionUsed"
	inputTokens    = "InputTokens"
	outputTokens   = "OutputTokens"
	spend          = "Spend"
	duration       = "Duration"
	rotations      = "Rotations"
	rejections     = "Rejections"
	readFailures   = "ReadFailures"
	staleServed    = "StaleServed"
	hoursToExpiry  = "HoursToExpiry"
)

// observe writes the metrics of a send.
func (m *metrics) observe(_ context.Context, s *middleware.Send) {
	if m == nil {
		return
	}
	values := map[string]float64{
		sends: 1, failedSends: 0, keyRefused: 0, oldVersionUsed: 0, duration: float64(s.Ended.Sub(s.Started).Milliseconds()),
	}
	if s.Status == 0 || s.Status >= 400 || s.Err != nil && !errors.Is(s.Err, context.Canceled) {
		values[failedSends] = 1
	}
	if s.Credential.Refused {
		values[keyRefused] = 1
	}
	if m.replaced(s) {
		values[oldVersionUsed] = 1
	}
	if u := s.Usage; u.Reported {
		values[inputTokens], values[outputTokens] = float64(u.Input), float64(u.Output)
		values[spend] = (float64(u.Input)*m.input + float64(u.Output)*m.output) / 1e6
	}
	m.write(s.Ended, s.Model, values)
}

// replaced reports whether the send went out with a version that had been replaced.
func (m *metrics) replaced(s *middleware.Send) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	current, ok := m.current[s.Credential.Source]
	return ok && current.version != s.Credential.Version && s.Started.After(current.since)
}

// event writes the metrics of what happened to the key.
func (m *metrics) event(e credential.Event) {
	if m == nil {
		return
	}
	values := map[string]float64{}
	switch e.Kind {
	case credential.EventLoaded, credential.EventRotated, credential.EventPromoted:
		m.mu.Lock()
		m.current[e.Source] = inUse{e.Version, e.Time}
		m.mu.Unlock()
		if e.Kind != credential.EventLoaded {
			values[rotations] = 1
		}
	case credential.EventRejected:
		values[rejections] = 1
	case credential.EventFailed:
		values[readFailures] = 1
	case credential.EventStaleServed:
		values[staleServed] = 1
	case credential.EventExpiring, credential.EventSkipped:
	}
	if !e.Expires.IsZero() {
		values[hoursToExpiry] = e.Expires.Sub(e.Time).Hours()
	}
	m.write(e.Time, "", values)
}

type emfMetric struct{ Name, Unit string }

// write writes one line. The values stand on their own and, if there is a model, by
// it as well.
func (m *metrics) write(at time.Time, model string, values map[string]float64) {
	if len(values) == 0 {
		return
	}
	dimensions := [][]string{{}}
	line := map[string]any{}
	if model != "" {
		dimensions = append(dimensions, []string{"Model"})
		line["Model"] = model
	}
	list := make([]emfMetric, 0, len(values))
	for name, value := range values {
		unit := "Count"
		switch name {
		case duration:
			unit = "Milliseconds"
		case spend, hoursToExpiry:
			unit = "None"
		}
		list = append(list, emfMetric{name, unit})
		line[name] = value
	}
	line["_aws"] = map[string]any{
		"Timestamp":         at.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{"Namespace": m.namespace, "Dimensions": dimensions, "Metrics": list}},
	}
	text, err := json.Marshal(line)
	if err != nil {
		return // a number that is none: nothing to tell
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _ = m.out.Write(append(text, '\n')) // as the log: there is nobody to tell
}
