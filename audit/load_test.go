package audit_test

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/audit"
	"github.com/latchkey-go/latchkey/middleware"
)

// TestAMillionLinesDelayNoCall writes a million lines at 10,000 sends a second, and
// prints what that adds to a call, beside an observer that does nothing. It takes
// about four minutes: LATCHKEY_AUDIT_LOAD=1 asks for it.
func TestAMillionLinesDelayNoCall(t *testing.T) {
	lines, rate := 20_000, 40_000 // enough to show that none is lost
	if os.Getenv("LATCHKEY_AUDIT_LOAD") != "" {
		lines, rate = 1_000_000, 10_000
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	file, err := audit.OpenFile(path, &audit.FileOptions{MaxSize: -1})
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(t, audit.Options{Writer: file, SigningKey: signingKey(), Queue: lines})
	for name, observe := range map[string]func(context.Context, *middleware.Send){
		"no observer": func(context.Context, *middleware.Send) {},
		"audit":       l.Observe,
	} {
		took := load(t, lines, rate, observe)
		t.Logf("%s: p50 %v, p99 %v, p99.9 %v, longest %v", name, took[lines/2], took[lines*99/100], took[lines*999/1000], took[lines-1])
	}
	if n := l.Dropped(); n != 0 {
		t.Errorf("%d records are lost", n)
	}
	closeLog(t, l)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	report, err := audit.Verify(bufio.NewReader(f), &audit.VerifyOptions{Closed: true})
	if err != nil || report.Lines < int64(lines) {
		t.Errorf("%d lines of %d, %v", report.Lines, lines, err)
	}
}

// load makes sends from 100 goroutines, rate a second together, and returns how long
// each was held up, in order.
func load(t *testing.T, sends, rate int, observe func(context.Context, *middleware.Send)) []time.Duration {
	t.Helper()
	const callers = 100
	took := make([]time.Duration, sends)
	begin := time.Now()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := c; i < sends; i += callers {
				<-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate))))
				s := send(i)
				at := time.Now()
				observe(t.Context(), s)
				took[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took
}
