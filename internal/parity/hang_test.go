package parity_test

import (
	"context"
	"testing"
)

// TestACallThatHangsIsAFaultOfItsRow holds the table together when a side
// ignores its context.
func TestACallThatHangsIsAFaultOfItsRow(t *testing.T) {
	hanging := row{
		class: "A hang", name: "for ever", server: handle(slow(0)),
		calls: once(func(_ context.Context, s *side) result {
			if s.latchkey {
				<-make(chan struct{})
			}
			return result{status: 200}
		}),
	}
	if v := hanging.judge(t); len(v.faults) != 1 {
		t.Errorf("faults %q, want one", v.faults)
	}
	well := hanging
	well.calls = chatOnce
	if v := well.judge(t); len(v.faults) != 0 {
		t.Errorf("after it: faults %q, want none", v.faults)
	}
}
