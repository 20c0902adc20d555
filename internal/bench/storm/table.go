package storm

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// A Row is the result of one contender in one mode.
type Row struct {
	Contender string
	Result    Result
}

// WriteTable writes the results of one mode as text.
func WriteTable(w io.Writer, m Mode, rows []Row) error {
	if _, err := fmt.Fprintf(w, "\n%s: %s\n", m.Name, m.What); err != nil {
		return fmt.Errorf("storm: %w", err)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "client\tcalls\tfailed\tlast failure\treads before\treads after\tmost at once\t401s\tsends/call\tmost sends\tnew conns\tp50\tp99\tmax")
	for _, row := range rows {
		r := row.Result
		_, _ = fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%d\t%d\t%d\t%d\t%.3f\t%d\t%d\t%s\t%s\t%s\n",
			row.Contender, r.Calls, r.Failed, short(r.LastFailure), r.ReadsBefore, r.ReadsAfter, r.MostReads, r.Denied,
			per(r.Sends, r.Calls), r.MostSends, r.NewConns, short(r.P50), short(r.P99), short(r.Max))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("storm: %w", err)
	}
	if !m.Heals {
		return writeLate(w, rows)
	}
	return nil
}

// writeLate tells what a key that stays wrong costs in the end.
func writeLate(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "client, after the grace\tcalls\tsends/call\tmost sends\treads in the first 3s\tp50\tp99\tmax")
	for _, row := range rows {
		l := row.Result.Late
		_, _ = fmt.Fprintf(t, "%s\t%d\t%.3f\t%d\t%d\t%s\t%s\t%s\n",
			row.Contender, l.Calls, per(l.Sends, l.Calls), l.MostSends, row.Result.ReadsIn3s, short(l.P50), short(l.P99), short(l.Max))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("storm: %w", err)
	}
	return nil
}

func per(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

func short(d time.Duration) string { return d.Round(time.Millisecond).String() }
