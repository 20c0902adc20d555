package throttle

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteTable writes the results of one scenario as a Markdown table, with the
// limit itself in the first row.
func WriteTable(w io.Writer, s Scenario, results []Result) error {
	limit := Ideal(s)
	columns := append(s.common(), s.columns(limit)...)
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s.\n\n| client |", s.Name, s.What)
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.head)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(columns)) + "\n")
	for _, r := range append([]Result{limit}, results...) {
		fmt.Fprintf(&b, "| %s |", r.Client)
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", c.cell(r))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("throttle: %w", err)
	}
	return nil
}

// WriteSummary writes one row for each scenario: what each client made of it.
func WriteSummary(w io.Writer, sheets []Sheet) error {
	var b strings.Builder
	for i, s := range sheets {
		all := append([]Result{Ideal(s.Scenario)}, s.Results...)
		if i == 0 {
			b.WriteString("| scenario |")
			for _, r := range all {
				fmt.Fprintf(&b, " %s |", r.Client)
			}
			b.WriteString("\n|---|" + strings.Repeat("--:|", len(all)) + "\n")
		}
		fmt.Fprintf(&b, "| %s |", s.Scenario.Name)
		for _, r := range all {
			f := s.Scenario.main(r)
			fmt.Fprintf(&b, " %d of %d, %.2f |", f.Failed, f.Calls, f.SendsPerCall())
		}
		b.WriteString("\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("throttle: %w", err)
	}
	return nil
}

type column struct {
	head string
	cell func(Result) string
}

func integer(n int) string             { return fmt.Sprint(n) }
func times(f float64) string           { return fmt.Sprintf("%.2f", f) }
func percent(f float64) string         { return fmt.Sprintf("%.0f %%", 100*f) }
func inSeconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// main are the figures of the first group, which the others only disturb.
func (s Scenario) main(r Result) Figures { return r.Groups[s.Groups[0].Name] }

// common returns the columns that each scenario has.
func (s Scenario) common() []column {
	return []column{
		{"calls", func(r Result) string { return integer(s.main(r).Calls) }},
		{"ok", func(r Result) string { return integer(s.main(r).OK) }},
		{"failed", func(r Result) string { return integer(s.main(r).Failed) }},
		{"sends", func(r Result) string { return integer(s.main(r).Sends) }},
		{"sends per call", func(r Result) string { return times(s.main(r).SendsPerCall()) }},
		{"s", func(r Result) string { return inSeconds(r.Time) }},
		{"p50 s", func(r Result) string { return inSeconds(s.main(r).P50) }},
		{"p99 s", func(r Result) string { return inSeconds(s.main(r).P99) }},
	}
}

// columns are those that only some scenarios have.
func (s Scenario) columns(limit Result) []column {
	var more []column
	if s.For == 0 && s.Groups[0].Deadline == 0 {
		more = append(more,
			column{"of the least sends", func(r Result) string { return times(ratio(float64(r.Sends), float64(limit.Sends))) }},
			column{"of the least time", func(r Result) string { return times(ratio(r.Time.Seconds(), limit.Time.Seconds())) }})
	} else {
		more = append(more, column{"of what can be had", func(r Result) string {
			return percent(s.Share(r))
		}})
	}
	if s.Groups[0].Deadline > 0 {
		more = append(more,
			column{"failed late", func(r Result) string { return integer(r.Late) }},
			column{"from 2 s on", func(r Result) string { return integer(r.Steady.Late) }})
	}
	if _, _, ok := s.dropped(); ok {
		more = append(more,
			column{"in the drop, sends : ok", func(r Result) string { return fmt.Sprintf("%d : %d", r.Drop.Sends, r.Drop.OK) }})
	}
	if s.Back > 0 {
		more = append(more,
			column{"full use again after s", func(r Result) string { return inSeconds(r.Recovery) }})
	} else if s.For > 0 && s.Steady > 0 {
		more = append(more,
			column{"steady p50 s", func(r Result) string { return inSeconds(r.Steady.P50) }},
			column{"steady p99 s", func(r Result) string { return inSeconds(r.Steady.P99) }})
	}
	if n := len(limit.Shares); n > 1 {
		more = append(more,
			column{"steady sends : ok", func(r Result) string { return fmt.Sprintf("%d : %d", r.Steady.Sends, r.Steady.Accepted) }},
			column{"shares", func(r Result) string {
				var all []string
				for _, share := range r.Shares {
					all = append(all, percent(share))
				}
				return strings.Join(all, ", ")
			}})
	}
	for _, g := range s.Groups[1:] {
		if g.Name == s.Groups[0].Name {
			continue
		}
		of := func(r Result) Figures { return r.Groups[g.Name] }
		more = append(more,
			column{g.Name + ": calls", func(r Result) string { return integer(of(r).Calls) }},
			column{"failed", func(r Result) string { return integer(of(r).Failed) }},
			column{"with the 429", func(r Result) string { return integer(of(r).Refused) }},
			column{"sends", func(r Result) string { return integer(of(r).Sends) }},
			column{"longest wait s", func(r Result) string { return inSeconds(of(r).Wait) }})
	}
	return more
}
