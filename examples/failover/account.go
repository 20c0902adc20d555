package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// An account counts and prints. Its methods are safe for concurrent use.
type account struct {
	mu     sync.Mutex
	out    io.Writer
	live   bool // the lines of the endpoints are rewritten in place
	drawn  int  // how many lines of them stand on the terminal
	begin  time.Time
	places []place
	states []string // of the places

	history [][]tally // by second and place
	total   []tally   // by place

	// From the callers, who alone know what became of a call.
	calls, failed int
	firstKO       error
	slowest       time.Duration
	sends, most   int // of all calls, of one
}

// A tally is what came of the sends to one place.
type tally struct{ served, refused, spilled int }

func newAccount(out io.Writer, live bool, list []place) *account {
	a := &account{out: out, live: live, places: list, begin: time.Now(), total: make([]tally, len(list))}
	for range list {
		a.states = append(a.states, "serving")
	}
	return a
}

// start sets the clock to zero.
func (a *account) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begin = time.Now()
}

func (a *account) elapsed() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.begin)
}

func (a *account) say(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line(format, args...)
}

// line prints a line above those of the endpoints. It is called with mu held.
func (a *account) line(format string, args ...any) {
	a.erase()
	fmt.Fprintf(a.out, "%5.1fs  %s\n", time.Since(a.begin).Seconds(), fmt.Sprintf(format, args...))
	if a.live {
		a.draw(a.second() - 1)
	}
}

// erase takes the lines of the endpoints off the terminal. It is called with mu
// held.
func (a *account) erase() {
	if a.drawn > 0 {
		fmt.Fprintf(a.out, "\x1b[%dA\x1b[J", a.drawn)
		a.drawn = 0
	}
}

// draw prints the lines of the endpoints for a second that is over. It is called
// with mu held.
func (a *account) draw(second int) {
	if second < 0 {
		return
	}
	for i, p := range a.places {
		t := a.at(second, i)
		note := a.states[i]
		if t.spilled > 0 && note == "serving" {
			note = fmt.Sprintf("serving, %d calls spilled", t.spilled)
		}
		fmt.Fprintf(a.out, "%5ds     %-8s %4d served  %4d refused   %s\n", second+1, p.name, t.served, t.refused, note)
	}
	if a.live {
		a.drawn = len(a.places)
	}
}

// second is the number of the one that is going on. It is called with mu held.
func (a *account) second() int { return int(time.Since(a.begin) / time.Second) }

// at returns the tally of a place in a second. It is called with mu held.
func (a *account) at(second, place int) *tally {
	for len(a.history) <= second {
		a.history = append(a.history, make([]tally, len(a.places)))
	}
	return &a.history[second][place]
}

// watch prints the lines of the endpoints once a second.
func (a *account) watch(ctx context.Context) {
	for n := 1; ; n++ {
		select {
		case <-time.After(time.Duration(n)*time.Second - a.elapsed()):
		case <-ctx.Done():
			return
		}
		a.mu.Lock()
		a.erase()
		a.draw(n - 1)
		a.mu.Unlock()
	}
}

// place returns the index of the place with a name, or -1.
func (a *account) place(name string) int {
	for i, p := range a.places {
		if p.name == name {
			return i
		}
	}
	return -1
}

// sent is Config.Observe: it is told of each send when that has ended.
func (a *account) sent(_ context.Context, s *middleware.Send) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sends++
	a.most = max(a.most, s.Number)
	i := a.place(s.Endpoint)
	if i < 0 {
		return
	}
	for _, t := range [...]*tally{a.at(a.second(), i), &a.total[i]} {
		if s.Status == http.StatusOK && s.Err == nil {
			t.served++
		} else {
			t.refused++
		}
	}
}

// routed is Config.OnRoute.
func (a *account) routed(e middleware.RouteEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.place(e.Route)
	if i < 0 {
		return
	}
	switch e.Kind {
	case "spilled":
		a.at(a.second(), i).spilled++
		a.total[i].spilled++
	case "cooling":
		wait := time.Until(e.Until).Round(100 * time.Millisecond)
		if a.states[i] != "left alone" {
			a.line("   %s is left alone for %v: %s", e.Route, wait, e.Reason)
		}
		a.states[i] = "left alone"
	case "probing":
		a.states[i] = "probing"
		a.line("   one call asks %s", e.Route)
	case "recovered":
		a.states[i] = "serving"
		a.line("   %s is back", e.Route)
	}
}

// called is told of each call when it has returned.
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

func (a *account) table() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drawn = 0
	fmt.Fprintln(a.out)
	w := tabwriter.NewWriter(a.out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "calls\tfailed\tsends\tmost sends of a call\tslowest call\t")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%v\t\n", a.calls, a.failed, a.sends, a.most, a.slowest.Round(time.Millisecond))
	_ = w.Flush() // out is the terminal
	fmt.Fprintln(a.out)
	fmt.Fprintln(w, "endpoint\tserved\trefused\tspilled\t")
	for i, p := range a.places {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t\n", p.name, a.total[i].served, a.total[i].refused, a.total[i].spilled)
	}
	_ = w.Flush()
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
