package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// An account counts and prints. Its methods are safe for concurrent use.
type account struct {
	mu    sync.Mutex
	out   io.Writer
	begin time.Time

	// From the records of the sends.
	calls, sends, replays, retries int
	keys                           []*usage // in the order in which they were first used

	// From the callers, who alone know what became of a call.
	returned, failed int
	firstKO          error
	slowest          time.Duration

	reads int // of the store
}

// A usage is what became of the sends with one version of the key.
type usage struct {
	version         string
	served, refused int
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

func (a *account) status() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line("   %6d calls  %d failed  %d replays after a 401  %d retries  %d store reads", a.calls, a.failed, a.replays, a.retries, a.reads)
}

// sent is Config.Observe: it is told of each send when that has ended.
func (a *account) sent(_ context.Context, s *middleware.Send) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sends++
	switch {
	case s.Number == 1:
		a.calls++
	case strings.HasPrefix(string(s.Reason), "replay"):
		a.replays++
	default:
		a.retries++
	}
	key := a.key(s.Credential.Version)
	switch {
	case s.Credential.Refused:
		key.refused++
	case s.Status == http.StatusOK && s.Err == nil:
		key.served++
	}
}

// key is called with mu held.
func (a *account) key(version string) *usage {
	for _, k := range a.keys {
		if k.version == version {
			return k
		}
	}
	k := &usage{version: version}
	a.keys = append(a.keys, k)
	return k
}

// called is told of each call when it has returned.
func (a *account) called(took time.Duration, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.returned++
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
	case credential.EventRejected:
		a.line("   the service rejected the key of %s", stamp(e.Version))
	case credential.EventRotated:
		a.line("   now in use: the key of %s", stamp(e.Version))
	case credential.EventFailed:
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

func (a *account) table() {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(a.out)
	w := tabwriter.NewWriter(a.out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "calls\tfailed\tsends\treplays after a 401\tretries\tstore reads\tslowest call\t")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%v\t\n",
		a.calls, a.failed, a.sends, a.replays, a.retries, a.reads, a.slowest.Round(time.Millisecond))
	_ = w.Flush()
	fmt.Fprintln(a.out)
	fmt.Fprintln(w, "key of\tserved\trefused\t")
	for _, k := range a.keys {
		fmt.Fprintf(w, "%s\t%d\t%d\t\n", stamp(k.version), k.served, k.refused)
	}
	_ = w.Flush()
	fmt.Fprintf(a.out, "\nThe slowest call waited out the gap of %v; each further store read is a poll within it, or the look\nthat a file gets every 10 seconds.\n", gap)
}

func (a *account) verdict() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.failed > 0:
		return fmt.Errorf("%d of %d calls failed, the first: %w", a.failed, a.returned, a.firstKO)
	case a.returned == 0:
		return errors.New("no call was made")
	case a.calls != a.returned:
		return fmt.Errorf("%d calls returned, and %d first sends were observed", a.returned, a.calls)
	}
	return nil
}
