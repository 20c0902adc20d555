package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/credential/auto"
)

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
)

// A page is the output for people.
type page struct {
	out   io.Writer
	color bool
}

func (p *page) paint(color, text string) string {
	if !p.color || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (p *page) print(d *diagnosis) {
	p.table(d.Report.Attempts)
	r := d.Report
	if r.Winner != "" || d.Endpoint != "" {
		p.line()
	}
	if r.Winner != "" {
		p.fact("credential", r.Winner+", "+article(r.Scheme))
		p.fact("version", or(r.Version, "none"))
		p.fact("expires", moment(r.Expires, "never"))
		p.fact("refresh", moment(r.NextRefresh, "never, but on a rejection"))
	}
	if d.Endpoint != "" {
		p.fact("endpoint", d.Endpoint)
	}
	if d.Call != nil {
		p.calls(d.Call)
	}
	p.line()
	switch {
	case !d.OK:
		problem, more, _ := strings.Cut(d.Problem, "\n")
		if more != "" {
			problem += ` each "do" above is a way out`
		}
		verb := "would fail"
		if d.Call != nil {
			verb = "fails"
		}
		p.line(p.paint(red, "A call "+verb+": ") + problem)
	case d.Call != nil:
		p.line(p.paint(green, "A call works."))
	default:
		p.line(p.paint(green, "A call would work") + ", as far as can be told without one; -call makes one.")
	}
}

func (p *page) table(rows []auto.Attempt) {
	source, looked := len("source"), len("looked for")
	for _, a := range rows {
		source, looked = max(source, utf8.RuneCountInString(a.Source)), max(looked, utf8.RuneCountInString(a.LookedFor))
	}
	row := func(color, name, result, took, at, found string) {
		p.line(p.paint(color, strings.TrimRight(fmt.Sprintf("%-*s  %-11s  %10s  %-*s  %s", source, name, result, took, looked, at, found), " ")))
	}
	row(faint, "source", "result", "took", "looked for", "found")
	for i, a := range rows {
		color := map[string]string{"used": green, "failed": red, "unavailable": yellow}[a.Result]
		took := "-"
		if a.Result == "used" || a.Took > 0 {
			took = millis(a.Took)
		}
		row(color, a.Source, a.Result, took, a.LookedFor, a.Found)
		if last := i+1 == len(rows); last || a.Do != "" || rows[i+1].Why != a.Why { // else it is for the next one as well
			p.note("  why  ", a.Why)
		}
		p.note("  do   ", a.Do)
	}
}

// note prints a text under a row, its further lines below the first.
func (p *page) note(mark, text string) {
	if text == "" {
		return
	}
	text = strings.ReplaceAll(text, "\t", "")
	p.line(p.paint(faint, mark) + strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", len(mark))))
}

func (p *page) calls(c *call) {
	sends := "1 send"
	if c.Sends != 1 {
		sends = fmt.Sprintf("%d sends; the times are the last one's", c.Sends)
	}
	status := "no answer"
	if c.Status != 0 {
		status = fmt.Sprint(c.Status)
	}
	p.line()
	p.line(fmt.Sprintf("GET models: %s, %s", status, sends))
	for _, s := range c.Steps {
		took := "-"
		if s.Happened {
			took = millis(s.Took)
		}
		p.line(strings.TrimRight(fmt.Sprintf("  %-10s  %10s  %s", s.Name, took, s.What), " "))
	}
}

func (p *page) fact(name, text string) { p.line(fmt.Sprintf("%-11s %s", name, text)) }

func (p *page) line(text ...string) { fmt.Fprintln(p.out, strings.Join(text, "")) }

func millis(d time.Duration) string { return fmt.Sprintf("%7.1f ms", float64(d)/1e6) }

func moment(t time.Time, zero string) string {
	if t.IsZero() {
		return zero
	}
	return t.UTC().Format(time.RFC3339) + ", in " + time.Until(t).Round(time.Second).String()
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func article(noun string) string {
	if strings.HasPrefix(noun, "a") {
		return "an " + noun
	}
	return "a " + noun
}
