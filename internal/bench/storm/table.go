package storm

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A Row is the result of one contender in one mode.
type Row struct {
	Contender string
	Result    Result
}

// WriteTable writes the results of one mode as a Markdown table.
func WriteTable(w io.Writer, m Mode, rows []Row) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\nRotation: %s.\n\n", m.Name, m.What)
	heads(&b, "client", "calls", "failed", "last failure", "reads before", "reads after", "most at once", "401s", "sends/call", "most sends", "new conns", "p50", "p99", "max")
	for _, row := range rows {
		r := row.Result
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %d | %d | %d | %d | %.3f | %d | %d | %s | %s | %s |\n",
			row.Contender, r.Calls, r.Failed, short(r.LastFailure), r.ReadsBefore, r.ReadsAfter, r.MostReads, r.Denied,
			per(r.Sends, r.Calls), r.MostSends, r.NewConns, short(r.P50), short(r.P99), short(r.Max))
	}
	b.WriteString("\n")
	if !m.Heals {
		writeLate(&b, rows)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("storm: %w", err)
	}
	return nil
}

// writeLate tells what a key that stays wrong costs in the end.
func writeLate(b *strings.Builder, rows []Row) {
	heads(b, "client, after the grace", "calls", "sends/call", "most sends", "reads in the first 3s", "p50", "p99", "max")
	for _, row := range rows {
		l := row.Result.Late
		fmt.Fprintf(b, "| %s | %d | %.3f | %d | %d | %s | %s | %s |\n",
			row.Contender, l.Calls, per(l.Sends, l.Calls), l.MostSends, row.Result.ReadsIn3s, short(l.P50), short(l.P99), short(l.Max))
	}
	b.WriteString("\n")
}

func heads(b *strings.Builder, names ...string) {
	fmt.Fprintf(b, "| %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("--:|", len(names)-1))
}

func per(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

func short(d time.Duration) string { return d.Round(time.Millisecond).String() }
