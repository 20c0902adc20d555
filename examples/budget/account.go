package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// billion is what the amounts of limit.State are counted in.
const billion = 1e9

// A tally is what came of the calls of a tenant.
type tally struct {
	calls, refused int
	// Of the sends for them: answers that did not tell what they used, and what
	// the others have told.
	cut    int
	tokens int64
}

// sent is Config.Observe: it is told of each send when that has ended.
func (s *service) sent(ctx context.Context, send *middleware.Send) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tally[credential.TenantFrom(ctx)]
	if t == nil {
		return
	}
	switch {
	case send.Usage.Reported:
		t.tokens += send.Usage.Input + send.Usage.Output
	case send.Status == http.StatusOK:
		t.cut++
	}
}

// asked counts a question.
func (s *service) asked(t *tenant, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.tally[t.name]
	full := (*limit.Error)(nil)
	if errors.As(err, &full) || errors.Is(err, limit.ErrCounter) {
		n.refused++
		return
	}
	n.calls++
}

// A statement is the account of one tenant.
type statement struct {
	Tenant  string     `json:"tenant"`
	Calls   int        `json:"calls"`
	Refused int        `json:"refused"`
	Cut     int        `json:"cut"`
	Tokens  int64      `json:"tokens"`
	Budget  float64    `json:"budget"`
	Spent   float64    `json:"spent"` // what is held included
	Held    float64    `json:"held"`  // for answers that are under way
	Left    float64    `json:"left"`
	Reset   *time.Time `json:"reset,omitempty"` // none if nothing is spent
}

// of returns the account of a tenant: what the limiter has counted, and what the
// sends have told. With a shared counter it is what this process has used.
func (s *service) of(t *tenant) statement {
	out := statement{Tenant: t.name, Budget: t.daily, Left: t.daily}
	for _, state := range s.limits.State() {
		if state.Tenant != t.name {
			continue
		}
		out.Spent, out.Held = float64(state.Used)/billion, float64(state.Reserved)/billion
		out.Left = float64(state.Max-state.Used) / billion
		if !state.Reset.IsZero() {
			out.Reset = &state.Reset
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.tally[t.name]
	out.Calls, out.Refused, out.Cut, out.Tokens = n.calls, n.refused, n.cut, n.tokens
	return out
}

func (s *service) getAccount(w http.ResponseWriter, _ *http.Request, t *tenant) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.of(t)) // the tenant may have left
}

// account prints the accounts of all tenants.
func (s *service) account(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "tenant\tcalls\tcut\trefused\ttokens\tspent\tleft\tof\treset\t")
	for i := range s.tenants {
		a := s.of(&s.tenants[i])
		reset := "-"
		if a.Reset != nil {
			reset = a.Reset.Format("Jan 2 15:04 MST")
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", a.Tenant, a.Calls, a.Cut, a.Refused, a.Tokens, money(a.Spent), money(a.Left), money(a.Budget), reset)
	}
	_ = w.Flush() // out is the terminal
	if s.counter != nil {
		fmt.Fprintln(out, "This is what this process has spent; others that share the Redis spend of the same budgets.")
	}
}

// money shows an amount. What is below a cent matters here.
func money(amount float64) string { return "$" + strconv.FormatFloat(amount, 'f', 5, 64) }

// span shows a time in words, rounded up.
func span(d time.Duration) string {
	switch {
	case d <= time.Minute:
		return count(int((d+time.Second-1)/time.Second), "second")
	case d <= time.Hour:
		return count(int((d+time.Minute-1)/time.Minute), "minute")
	}
	return count(int((d+time.Hour-1)/time.Hour), "hour")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
