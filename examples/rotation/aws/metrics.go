package main

import (
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/rotation"
)

// The metrics, which template.yaml has alarms for.
const (
	rotations = "Rotations"
	failures  = "RotationFailures"
	revoked   = "KeysRevoked"
	hoursLate = "HoursLate"
)

// measure returns the metrics of a step.
func measure(r *rotation.Report, err error) map[string]float64 {
	values := map[string]float64{failures: 0, rotations: 0, revoked: float64(r.Orphans)}
	if slices.Contains(r.Steps, rotation.Promote) {
		values[rotations] = 1
	}
	if slices.Contains(r.Steps, rotation.Retire) && r.Unrevoked == "" {
		values[revoked]++
	}
	if err != nil {
		values[failures] = 1
	}
	return values
}

// metrics go to CloudWatch as lines of the log in the embedded metric format.
//
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
type metrics struct {
	out       io.Writer
	namespace string // empty: no metrics
}

type emfMetric struct{ Name, Unit string }

func (m *metrics) write(at time.Time, values map[string]float64) {
	if m.namespace == "" {
		return
	}
	line := map[string]any{}
	var list []emfMetric
	for name, value := range values {
		unit := "Count"
		if name == hoursLate {
			unit = "None"
		}
		list = append(list, emfMetric{name, unit})
		line[name] = value
	}
	line["_aws"] = map[string]any{
		"Timestamp":         at.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{"Namespace": m.namespace, "Dimensions": [][]string{{}}, "Metrics": list}},
	}
	if text, err := json.Marshal(line); err == nil {
		_, _ = m.out.Write(append(text, '\n')) // as the log: there is nobody to tell
	}
}
