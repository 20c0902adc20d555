package throttle_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/bench/throttle"
)

// sheets are results of the limit itself, for a client with a name that XML
// does not take as it is.
func sheets(names ...string) []throttle.Sheet {
	var all []throttle.Sheet
	for _, s := range throttle.Scenarios() {
		for _, name := range names {
			if s.Name == name {
				r := throttle.Ideal(s)
				r.Client = "<one> & two"
				all = append(all, throttle.Sheet{Scenario: s, Results: []throttle.Result{r}})
			}
		}
	}
	return all
}

func TestTheChartIsWellFormedAndFollowsTheScheme(t *testing.T) {
	for _, names := range [][]string{{"workers30", "workers50", "drop"}, {"workers30"}, {"drop", "fairness"}} {
		var b strings.Builder
		if err := throttle.WriteChart(&b, sheets(names...)); err != nil {
			t.Fatalf("%q: %v", names, err)
		}
		chart := b.String()
		d := xml.NewDecoder(strings.NewReader(chart))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%q: %v\n%s", names, err, chart)
			}
		}
		for _, want := range []string{"prefers-color-scheme: dark", "&lt;one&gt; &amp; two"} {
			if !strings.Contains(chart, want) {
				t.Errorf("%q: the chart has no %q", names, want)
			}
		}
		if strings.Contains(chart, "NaN") || strings.Contains(chart, "Inf") {
			t.Errorf("%q: the chart has a number that is none:\n%s", names, chart)
		}
	}
}

func TestAChartOfNothingIsAnError(t *testing.T) {
	for _, names := range [][]string{nil, {"fairness"}} {
		if err := throttle.WriteChart(io.Discard, sheets(names...)); err == nil {
			t.Errorf("%q: no error", names)
		}
	}
}
