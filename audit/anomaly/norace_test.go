//go:build !race

package anomaly_test

import (
	"testing"
	"time"
)

const raceEnabled = false

func TestASendAllocatesNothing(t *testing.T) {
	w, s := steady(t)
	if n := testing.AllocsPerRun(1000, func() {
		s.Started = s.Started.Add(time.Second)
		w.Observe(t.Context(), s)
	}); n > 0 {
		t.Errorf("a send allocates %v times", n)
	}
}
