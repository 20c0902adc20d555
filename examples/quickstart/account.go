package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

// An account counts and prints. Its methods are safe for concurrent use.
type account struct {
	mu      sync.Mutex
	out     io.Writer
	begin   time.Time
	calls   int
	failed  int
	firstKO error
	reads   int
	slowest time.Duration
}

func newAccount(out io.Writer) *account { return &account{out: out, begin: time.Now()} }

func (a *account) say(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line(format, args...)
}

// line is called with mu held.
func (a *account) line(format string, args ...any) {
	fmt.Fprintf(a.out, "%5.1fs  %s\n", time.Since(a.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (a *account) status(unauthorized int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line("   %6d calls  %d failed  %d 401s absorbed  %d store reads", a.calls, a.failed, unauthorized, a.reads)
}

func (a *account) called(took time.Duration, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	a.slowest = max(a.slowest, took)
	if err != nil {
		a.failed++
		if a.firstKO == nil {
			a.firstKO = err
			a.line("   FAILED: %v", err)
		}
	}
}

func (a *account) read() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads++
}

// event hears from the cache.
func (a *account) event(e credential.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch e.Kind {
	case "rejected":
		a.line("   the service rejected the key of %s", stamp(e.Version))
	case "rotated":
		a.line("   now in use: the key of %s", stamp(e.Version))
	case "failed":
		a.line("   the store failed: %v", e.Err)
	}
}

// stamp shortens the version of a file, the time of its last change.
func stamp(version string) string {
	t, err := time.Parse(time.RFC3339Nano, version)
	if err != nil {
		return version
	}
	return t.Local().Format("15:04:05.000")
}

func (a *account) table(unauthorized int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(a.out)
	w := tabwriter.NewWriter(a.out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "calls\tfailed\t401s absorbed\tstore reads\tslowest call\t")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%v\t\n", a.calls, a.failed, unauthorized, a.reads, a.slowest.Round(time.Millisecond))
	_ = w.Flush()
	fmt.Fprintf(a.out, "\nThe slowest call waited out the gap of %v; each further store read is a poll within it, or the look\nthat a file gets every 10 seconds.\n", gap)
}

func (a *account) verdict() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.failed > 0:
		return fmt.Errorf("%d of %d calls failed, the first: %w", a.failed, a.calls, a.firstKO)
	case a.calls == 0:
		return errors.New("no call was made")
	}
	return nil
}
